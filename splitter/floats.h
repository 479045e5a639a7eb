// floats.h - stored numbers of a checkpoint to floats.
#ifndef SPLITTER_FLOATS_H
#define SPLITTER_FLOATS_H

#include <stddef.h>
#include <stdint.h>

#include "splitter/safetensors.h"

// Bytes of an element of F32, F16 or BF16.
static inline size_t floats_size(enum safetensors_dtype dtype)
{
    return dtype == SAFETENSORS_F32 ? 4 : 2;
}

// n elements at p (little-endian, any alignment) to out. Exact: every value of
// the three types is a float; NaN and infinities stay what they are.
void floats_read(enum safetensors_dtype dtype, const uint8_t *p, size_t n,
                 float *out);

#endif
