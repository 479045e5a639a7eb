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
    REDUN_LAYERS_MAX = 4, // of a span whose rows may differ
};

// A seed for rows whose reference exponent is e0 (0 .. REDUN_SHIFT_MAX): its
// lowest byte names it, the others are the given seed's. So a frame tells both.
static inline uint64_t redun_seed_of(uint64_t seed, int e0)
{
    return (seed & ~UINT64_C(255)) | (uint64_t)e0;
}

// The reference exponent that a seed names.
static inline int redun_seed_reference(uint64_t seed)
{
    int e0 = (int)(seed & 255);

    return e0 < REDUN_SHIFT_MAX ? e0 : REDUN_SHIFT_MAX;
}

// How large the units of a stint's rows are. A group's unit is 2^e, e being the
// exponent that its largest value needs (a larger one counts no more, so who
// made the rows cannot make all differences look small).
struct redun_scale {
    int e0;        // the least with 4^e0 not below the mean square unit
    uint32_t unit; // the mean square unit, in 1/256 of 4^e0
};

// Of n rows as below, back to back, whose exponents are 0 .. REDUN_SHIFT_MAX.
struct redun_scale redun_scale_of(const uint8_t *rows, size_t n, size_t dim);

// The fingerprint of a row of dim values in wire form: dim mantissas, then one
// exponent for each REDUN_GROUP of them. e0: the reference
// exponent. Eight int16, little-endian, saturated.
void redun_project(uint8_t out[REDUN_PRINT_LEN], uint64_t seed, int e0,
                   const uint8_t *row, size_t dim);

// The mean squared difference of n pairs of such fingerprints,
// times 256, rounded down; 0 if n is 0.
uint64_t redun_distance(const uint8_t *a, const uint8_t *b, size_t n);

// What is compared.
struct redun_stretch {
    size_t n;          // rows
    size_t dim;        // of a row
    uint32_t n_layers; // of the span, 1 .. REDUN_LAYERS_MAX
    uint32_t unit;     // of the rows' scale
};

// The limit of redun_distance.
uint64_t redun_distance_max(const struct redun_stretch *stretch);

// Do n pairs agree within the tolerance?
static inline bool redun_agrees(const uint8_t *a, const uint8_t *b,
                                const struct redun_stretch *stretch)
{
    return redun_distance(a, b, stretch->n) <= redun_distance_max(stretch);
}

#endif
