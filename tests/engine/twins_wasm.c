// twins_wasm.c - the engine's checks as a WebAssembly module for test_wasm.mjs.
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "redundancy/prints.h"
#include "twins_check.h"

enum { TEXT_LEN = 128 };

// What went wrong, one line (digest: with n_workers over a pool of pool.h, or
// NULL and 1); empty if all is well. NULL: this module has no such kernels.
// The caller frees nothing: a module is used for one call.
const char *wasm_twins(enum engine_isa isa);
const char *wasm_digest(enum engine_isa isa, engine_parallel_fn *parallel,
                        void *ctx, uint32_t n_workers);
const char *wasm_prints(enum engine_isa isa); // of no instruction set

__attribute__((export_name("twins"))) const char *
wasm_twins(enum engine_isa isa)
{
    const struct engine_kernels *k = engine_kernels_pick(isa);
    char *text = calloc(1, TEXT_LEN);

    if (!k || !text)
        return NULL;
    const char *why = twins_check(k, text, TEXT_LEN);
    return why ? why : "";
}

__attribute__((export_name("digest"))) const char *
wasm_digest(enum engine_isa isa, engine_parallel_fn *parallel, void *ctx,
            uint32_t n_workers)
{
    struct engine_options options = {.kernels = engine_kernels_pick(isa),
                                     .parallel = parallel,
                                     .parallel_ctx = ctx,
                                     .n_workers = n_workers};
    uint8_t digest[SHA256_LEN];
    char *text = calloc(1, TEXT_LEN);

    if (!options.kernels || !text)
        return NULL;
    enum err err = digest_run(&options, digest);
    if (err)
        return err_text(err);
    digest_text(digest, text);
    return strcmp(text, digest_committed) == 0 ? "" : text;
}

__attribute__((export_name("prints"))) const char *
wasm_prints(enum engine_isa isa)
{
    uint8_t digest[SHA256_LEN];
    char *text = calloc(1, TEXT_LEN);

    (void)isa;
    if (!text)
        return NULL;
    prints_digest(digest);
    digest_text(digest, text);
    return strcmp(text, prints_committed) == 0 ? "" : text;
}
