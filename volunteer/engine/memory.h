// memory.h - zeroed memory, aligned as kernels want it. Freed with free().
#ifndef ENGINE_MEMORY_H
#define ENGINE_MEMORY_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_ALIGN = 64 };

// n items of size bytes; NULL if there is no memory or the product is too
// large. Never of 0 bytes.
static inline void *memory_new(size_t n, size_t size)
{
    size_t bytes;
    void *p;

    if (size && n > (SIZE_MAX - MEMORY_ALIGN) / size)
        return NULL;
    bytes = (n * size + MEMORY_ALIGN) / MEMORY_ALIGN * MEMORY_ALIGN;
    p = aligned_alloc(MEMORY_ALIGN, bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

#endif
