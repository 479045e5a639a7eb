// project.h - fingerprints that tolerate the rounding of int8: 16 bytes a row,
// compared by distance.
//
// A row's values, in units of its own scale, are projected on fifteen vectors
// of +1 and -1 that follow from the seed and the row's position. A difference
// of one in some mantissas moves the projections a little, wrong work moves
// them a lot; who does not know the seed cannot tell which changes do not show.
// Each row has vectors of its own, so that a difference that all rows share is
// not measured along the same few directions again and again. All integers, so
// C, WASM and WGSL give the same bytes. Made where classes differ; within class
// exact the hash of fingerprint.h is compared.
//
//   e_g    the exponent that group g of 32 mantissas needs (a larger one counts
//          no more: that of the largest value in 7 bits), 0 .. 24
//   unit   mean of 4^e_g over the row's groups
//   e      the largest with 4^e <= unit
//   y_p    sum over i of sign(p, i) * q_i * 2^(e_g - e), in steps of
//          2^(floor(floor(log2 dim) / 2) - 2), rounded half up
//
//    0 15  y_p modulo 256
//   15  1  4 * e + f: unit is at least (4 + 3 f) / 4 * 4^e, f = 0 .. 3
//
// What wraps is not lost: an honest difference is small against 256, and a
// large one stays large with any luck but that of the seed.
#ifndef REDUN_PROJECT_H
#define REDUN_PROJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redundancy/fingerprint.h"

enum {
    REDUN_PROJECTIONS = 15,
    REDUN_GROUP = 32,      // mantissas that share an exponent
    REDUN_EXP_MAX = 24,    // of a group
    REDUN_DIM_MAX = 65536, // of a row
    REDUN_LAYERS_MAX = 4,  // of a span whose rows may differ
    REDUN_RUN = 32,        // rows that must agree by themselves,
    REDUN_APART = 16,      // one such run beginning so far behind another
};

// The fingerprint of the row at a position, of dim values (1 .. REDUN_DIM_MAX)
// in wire form: dim mantissas, then one exponent for each REDUN_GROUP of them;
// exponents past REDUN_EXP_MAX count as that.
void redun_project(uint8_t out[REDUN_PRINT_LEN], uint64_t seed,
                   uint32_t position, const uint8_t *row, size_t dim);

// How far n pairs of rows are apart: squared differences a value, in 1/256 of
// the unit of b's row. b is the checker's, so who made the rows has no say in
// what they are measured by.
struct redun_distance {
    uint64_t largest; // of a row
    uint64_t mean;    // the square of the mean root: a few rows that are far
                      // hide less of what all rows have in common
};

// All 0 if n is 0.
struct redun_distance redun_distance(const uint8_t *a, const uint8_t *b,
                                     size_t n, size_t dim);

// What is compared.
struct redun_stretch {
    size_t n;          // rows
    size_t dim;        // of a row
    uint32_t n_layers; // of the span, 1 .. REDUN_LAYERS_MAX
    bool embeds;       // the span has the model's first layer
};

// The limits of its distance; see tolerance.h.
struct redun_distance redun_limits(const struct redun_stretch *stretch);

// Do n pairs agree within the tolerance? As a whole, and so must each run of
// REDUN_RUN rows, one every REDUN_APART and the last ones: in a long line many
// honest rows would hide those of a volunteer that took it over.
bool redun_agrees(const uint8_t *a, const uint8_t *b,
                  const struct redun_stretch *stretch);

#endif
