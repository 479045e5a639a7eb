// twins_wasm.c - twins_check as a WebAssembly module for test_wasm.mjs.
#include "twins_check.h"

// 0: equal; 1: a kernel differs; 2: this module has no such kernels. Compare
// isa (enum engine_isa); what differs is written to why, of why_len bytes.
__attribute__((export_name("check"))) int twins_wasm(int isa, char *why,
                                                     size_t why_len);
int twins_wasm(int isa, char *why, size_t why_len)
{
    const struct engine_kernels *k = engine_kernels_pick((enum engine_isa)isa);

    return !k ? 2 : twins_check(k, why, why_len) != NULL;
}
