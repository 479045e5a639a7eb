// project.h - fingerprints that tolerate the rounding of int8: 16 bytes a row,
// compared by distance.
//
// A row's values q * 2^(e - e0) are projected on eight vectors of +1 and -1
// that follow from the seed. A difference of one in some mantissas moves the
// projections a little, wrong work moves them a lot; who does not know the seed
// cannot tell which changes do not show. All integers, so C, WASM and WGSL give
// the same bytes. Made where classes differ; within class exact the hash of
// fingerprint.h is compared.
#ifndef REDUN_PROJECT_H
#define REDUN_PROJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redundancy/fingerprint.h"

enum {
    REDUN_PROJECTIONS = 8,
    REDUN_GROUP = 32,     // mantissas that share an exponent
    REDUN_SHIFT_MAX = 24, // |e - e0| counts up to this
};

// The fingerprint of a row of dim values (a multiple of REDUN_GROUP) in wire
// form: dim mantissas, then dim / REDUN_GROUP exponents. e0: the boundary's
// reference exponent. Eight int16, little-endian, saturated.
void redun_project(uint8_t out[REDUN_PRINT_LEN], uint64_t seed, int e0,
                   const uint8_t *row, size_t dim);

// The mean squared difference of n pairs of such fingerprints,
// times 256, rounded down; 0 if n is 0.
uint64_t redun_distance(const uint8_t *a, const uint8_t *b, size_t n);

// The limit of redun_distance for rows of dim values, n of them in the stint.
uint64_t redun_distance_max(size_t dim, size_t n);

// Do n pairs agree within the tolerance?
static inline bool redun_agrees(const uint8_t *a, const uint8_t *b, size_t n,
                                size_t dim)
{
    return redun_distance(a, b, n) <= redun_distance_max(dim, n);
}

#endif
