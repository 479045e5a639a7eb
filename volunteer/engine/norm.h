// norm.h - the scalar steps of norm.c, which its twins share.
#ifndef ENGINE_NORM_H
#define ENGINE_NORM_H

#include "engine/kernels.h"

enum { NORM_BITS = 24 }; // of a deviation before it is squared

// The mean of n values, rounded half up on the magnitude.
int32_t norm_mean(const int32_t *x, uint32_t n);

// A deviation times inv / 2^shift is its normalised value in Q16.
struct norm_factor {
    int32_t inv;    // 2^15 .. 2^16
    uint32_t shift; // 0 .. 25
};

// From the sum of n squared deviations, which were shifted right by s.
struct norm_factor norm_factor(uint64_t sum, uint32_t n, uint64_t eps,
                               uint32_t s);

#endif
