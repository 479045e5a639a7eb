// libc.c - what Emscripten's C library expects of its host. The module brings
// it along, so that the page has nothing to provide.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

void __wasm_call_ctors(void);
void initialize(void);
int emscripten_resize_heap(size_t bytes);
void *emscripten_memcpy_big(void *dest, const void *src, size_t n);

// Exported: to be called once, before anything else.
__attribute__((export_name("_initialize"))) void initialize(void)
{
    __wasm_call_ctors();
}

// Called by malloc: grow to at least that size. 1 if it worked.
int emscripten_resize_heap(size_t bytes)
{
    enum { PAGE = 65536 };
    size_t pages = __builtin_wasm_memory_size(0);
    size_t want = bytes / PAGE + (bytes % PAGE != 0);

    return want <= pages ||
           __builtin_wasm_memory_grow(0, want - pages) != SIZE_MAX;
}

#if !defined(__wasm_bulk_memory__)
#error "without bulk memory the next function would call itself"
#endif

// memcpy of 8 KiB and more: one instruction. The library's own version, in a
// page, would call JavaScript.
void *emscripten_memcpy_big(void *dest, const void *src, size_t n)
{
    return __builtin_memcpy(dest, src, n);
}
