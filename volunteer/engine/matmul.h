// matmul.h - the integer matrix product: what every backend must compute.
//
// Key:  T  rows of activations (token positions)
//       K  columns reduced, in G = ceil(K / 64) groups, padded with zeros
//       N  rows of the packed matrix = outputs, in NB = ceil(N / 16) blocks
//
// For row t and output n, with all intermediate values exact:
//
//   dot_g = sum over the 64 columns of group g of a[t][k] * w[n][k]
//                                     |dot_g| <= 64 * 127 * 63 < 2^19
//   acc   = sum over g of (dot_g * m[n][g]) >> (e_max[t] - e[t][g] + spare)
//                                     each product at most 2^26.97
//   out   = sat(sat(acc * 2^(e_max[t] + spare + row_e[n])) + b[n])
//
// >> is arithmetic; spare = max(0, ceil(log2 G) - 4), so |acc| < 2^31; the
// power of two is engine_shift (rounding half up where negative); sat clamps to
// +-FORMAT_VALUE_MAX. Sums are order-free: any blocking gives these bytes.
//
// Stored weights are biased by 64: sum(a * (w + 64)) = dot_g + corr[t][g].
#ifndef ENGINE_MATMUL_H
#define ENGINE_MATMUL_H

#include <string.h>

#include "engine/fixed.h"
#include "splitter/format.h"

// A packed matrix, as bound: views into a shard. Alignment 64.
struct matmul_weight {
    const uint8_t *w; // (NB, G, 1024) biased, 1..127
    const uint8_t *m; // (NB, G, 16)
    const int32_t *e; // (NB * 16)
    const int32_t *b; // (NB * 16)
    uint32_t n_rows;  // N
    uint32_t n_cols;  // K
    uint32_t n_blocks;
    uint32_t n_groups;
};

// One group of up to 8 rows of activations, as the kernels read it that add
// products in 16 bits. Sums of a * (w + 64) over 8 columns do not fit there,
// but 16-bit adding wraps, and fix takes the bias out again before anybody
// looks: what is left is the sum of a * w, which fits where the row is tame. A
// group that is not is all zeros here, and adds nothing; kernels take it from
// matmul_input's q afterwards.
//
// Row t is row t % 8 of panels (t / 8) * G .. + G - 1.
enum { MATMUL_PANEL_ROWS = 8 };
struct matmul_panel {
    struct {
        int8_t q[MATMUL_PANEL_ROWS][16]; // columns 16 * part and on
        // -64 * (sum of the q of columns 4i + 2h and 4i + 2h + 1), i < 4, by h,
        // modulo 2^16
        int16_t fix[MATMUL_PANEL_ROWS][2];
    } part[4];
    int32_t shift[MATMUL_PANEL_ROWS]; // e_max - e + spare
    // 1: not tame, the |q| of some fix add up to more than MATMUL_TAME_MAX; q
    // and fix are 0
    uint8_t wide[MATMUL_PANEL_ROWS];
};

enum { MATMUL_TAME_MAX = INT16_MAX / FORMAT_WEIGHT_MAX };

// Makes row r add nothing.
static inline void matmul_panel_clear(struct matmul_panel *panel, uint32_t r)
{
    for (int part = 0; part < 4; part++) {
        memset(panel->part[part].q[r], 0, sizeof panel->part[part].q[r]);
        memset(panel->part[part].fix[r], 0, sizeof panel->part[part].fix[r]);
    }
}

// The same as the kernels read it that add four products at once: what is
// broadcast lies beside the others that go with the same weights.
struct matmul_quads {
    int32_t q[FORMAT_GROUP / 4][MATMUL_PANEL_ROWS]; // columns 4i .. 4i + 3
    int32_t corr[MATMUL_PANEL_ROWS];                // 64 * sum of the group's q
    int32_t shift[MATMUL_PANEL_ROWS];               // e_max - e + spare
};

// Lay row t, of G groups and quantised, into its panels (as in matmul_input):
// each fn lays one of the two kinds. q is aligned to 64.
typedef void matmul_lay_fn(void *panels, uint32_t t, const int8_t *q,
                           const uint8_t *e, uint8_t e_max, uint32_t G);

// Quantised activations, row-major; made by quantise_row. Alignment 64.
struct matmul_input {
    const int8_t *q;      // (T, G * 64), -127..127
    const uint8_t *e;     // (T, G) exponents 0..23: value = q << e
    const int32_t *corr;  // (T, G) 64 * sum of the group's q
    const uint8_t *e_max; // (T) largest e of the row
    uint32_t n_rows;      // T
    // (ceil(T / 8), G) of the kind that the kernels' `lay` lays; NULL if they
    // have none or T is 1
    const void *panels;
};

// spare of the formula above: 0..6.
static inline uint32_t matmul_spare(uint32_t n_groups)
{
    return n_groups <= 16 ? 0 : 32 - (uint32_t)__builtin_clz(n_groups - 1) - 4;
}

// The last step of the formula: acc to out, where shift is
// e_max + spare + row_e.
static inline int32_t matmul_finish(int32_t acc, int32_t shift, int32_t bias)
{
    return engine_sat(engine_shift(acc, shift) + bias);
}

// Computes outputs of blocks block .. block_end-1 for all T rows:
// out[t * ld + n] for n in 16*block .. 16*block_end-1, padding rows included.
// ld is at least 16 * n_blocks. out aligned to 64, and ld a multiple of 16.
typedef void matmul_fn(int32_t *out, size_t ld, const struct matmul_input *in,
                       const struct matmul_weight *weight, uint32_t block,
                       uint32_t block_end);

matmul_fn matmul_ref;
matmul_lay_fn matmul_lay_ref;   // struct matmul_panel
matmul_lay_fn matmul_lay_quads; // struct matmul_quads

#endif
