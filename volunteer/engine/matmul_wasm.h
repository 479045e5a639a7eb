// matmul_wasm.h - what the WASM matrix products share: the walk over blocks,
// rows and groups, mantissas, and the last step. They differ in how one group
// is summed, which each hands in as `dots`.
//
// A tile is R rows by V vectors of four weight rows; its sums are dot[r * V +
// v].
#ifndef ENGINE_MATMUL_WASM_H
#define ENGINE_MATMUL_WASM_H

#include <wasm_simd128.h>

#include "engine/twins.h"

enum { TILE_ROWS = 4, TILE_SUMS = 8 }; // rows and vectors a tile, at most

#define FULLY_INLINED static inline __attribute__((always_inline))

// Set dot to the sums, without bias, of R rows and 4 * V weight rows over one
// group. w is the first weight row's place in the tile, q the first row's
// group, the rows `step` apart; corr the first row's, the rows `groups` apart.
typedef void dots_fn(v128_t *dot, const uint8_t *w, const int8_t *q,
                     size_t step, const int32_t *corr, size_t groups, int R,
                     int V);

static inline v128_t clamp4(v128_t v)
{
    v = wasm_i32x4_min(v, wasm_i32x4_splat(FORMAT_VALUE_MAX));
    return wasm_i32x4_max(v, wasm_i32x4_splat(-FORMAT_VALUE_MAX));
}

// The last step for n_lanes outputs of one row. WASM shifts all lanes by one
// amount, so v >> (s - 1) is the high half of v * 2^(33 - s), which is exact
// for s = -shift of 3 and more; other shifts are rare and go one by one.
static inline void finish(int32_t *out, const v128_t *acc, int32_t row_shift,
                          const int32_t *e, const int32_t *b, int n_vectors)
{
    const v128_t one = wasm_i32x4_splat(1);

    for (int v = 0; v < n_vectors; v++, out += 4, e += 4, b += 4) {
        v128_t shift =
            wasm_i32x4_add(wasm_v128_load(e), wasm_i32x4_splat(row_shift));

        if (wasm_v128_any_true(wasm_i32x4_gt(shift, wasm_i32x4_splat(-3)))) {
            int32_t lane[4];

            wasm_v128_store(lane, acc[v]);
            for (int i = 0; i < 4; i++)
                out[i] = matmul_finish(lane[i], row_shift + e[i], b[i]);
            continue;
        }
        // 2^(33 + shift), or 0 where that is below 1, as a float's bits give it
        v128_t power = wasm_i32x4_shl(
            wasm_i32x4_add(shift, wasm_i32x4_splat(127 + 33)), 23);
        power = wasm_i32x4_trunc_sat_f32x4(
            wasm_v128_and(power, wasm_i32x4_gt(shift, wasm_i32x4_splat(-34))));
        v128_t low = wasm_i64x2_extmul_low_i32x4(acc[v], power);
        v128_t high = wasm_i64x2_extmul_high_i32x4(acc[v], power);
        v128_t y = wasm_i32x4_shuffle(low, high, 1, 3, 5, 7);

        y = wasm_i32x4_shr(wasm_i32x4_add(y, one), 1);
        y = wasm_i32x4_add(clamp4(y), wasm_v128_load(b));
        wasm_v128_store(out, clamp4(y));
    }
}

// R rows from t on against 4 * V rows of block b, from row `first` on.
FULLY_INLINED void tile(int32_t *out, size_t ld, const struct matmul_input *in,
                        uint32_t t, const struct matmul_weight *weight,
                        uint32_t b, uint32_t first, const int R, const int V,
                        dots_fn *dots)
{
    const uint32_t G = weight->n_groups;
    const uint32_t spare = matmul_spare(G);
    const size_t step = (size_t)G * FORMAT_GROUP;
    const uint8_t *w = weight->w + (size_t)b * G * FORMAT_TILE + first * 4;
    const uint8_t *m = weight->m + (size_t)b * G * FORMAT_BLOCK + first;
    v128_t acc[TILE_SUMS];

    for (int i = 0; i < R * V; i++)
        acc[i] = wasm_i32x4_splat(0);
    for (uint32_t g = 0; g < G; g++) {
        v128_t dot[TILE_SUMS];

        dots(dot, w + (size_t)g * FORMAT_TILE,
             in->q + t * step + (size_t)g * FORMAT_GROUP, step,
             in->corr + (size_t)t * G + g, G, R, V);
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) {
            v128_t mant = wasm_u32x4_extend_low_u16x8(
                wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(
                    m + (size_t)g * FORMAT_BLOCK + 4 * v)));
#pragma clang loop unroll(full)
            for (int r = 0; r < R; r++) {
                size_t row = t + (size_t)r;
                uint32_t s = in->e_max[row] - in->e[row * G + g] + spare;
                v128_t p = wasm_i32x4_mul(dot[r * V + v], mant);

                acc[r * V + v] =
                    wasm_i32x4_add(acc[r * V + v], wasm_i32x4_shr(p, s));
            }
        }
    }
    size_t n = (size_t)b * FORMAT_BLOCK + first;
    for (int r = 0; r < R; r++)
        finish(out + (size_t)r * ld, acc + r * V,
               in->e_max[t + (uint32_t)r] + (int32_t)spare, weight->e + n,
               weight->b + n, V);
}

// R rows from t on against all of block b, V vectors at a time.
FULLY_INLINED void tiles(int32_t *out, size_t ld, const struct matmul_input *in,
                         uint32_t t, const struct matmul_weight *weight,
                         uint32_t b, const int R, const int V, dots_fn *dots)
{
    for (uint32_t first = 0; first < FORMAT_BLOCK; first += 4 * (uint32_t)V)
        tile(out + t * ld + (size_t)b * FORMAT_BLOCK + first, ld, in, t, weight,
             b, first, R, V, dots);
}

// The whole product, in tiles of R rows by V vectors, then of 2 by 2, and a
// last single row by V1. The shapes keep all sums in the 16 registers of x86
// and leave some for the compiler; the inner loop must not be unrolled, or V8
// loads too far ahead and spills (measured: a third of the speed).
FULLY_INLINED void walk(int32_t *out, size_t ld, const struct matmul_input *in,
                        const struct matmul_weight *weight, uint32_t block,
                        uint32_t block_end, const int R, const int V,
                        const int V1, dots_fn *dots)
{
    for (uint32_t b = block; b < block_end; b++) {
        uint32_t t = 0;

        for (; t + (uint32_t)R <= in->n_rows; t += (uint32_t)R)
            tiles(out, ld, in, t, weight, b, R, V, dots);
        for (; t + 2 <= in->n_rows; t += 2)
            tiles(out, ld, in, t, weight, b, 2, 2, dots);
        if (t < in->n_rows)
            tiles(out, ld, in, t, weight, b, 1, V1, dots);
    }
}

#endif
