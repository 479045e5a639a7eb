// The matrix product with WASM relaxed SIMD for machines without a dot product
// of their own, where the relaxed one would be five instructions: products of
// pairs in 16 bits. As in matmul_avx2.c, those of 16 columns are added in 16
// bits before they are widened, unless a group is wide.
#include "engine/matmul_wasm.h"

enum { PAIR = 2, VECTORS = FORMAT_BLOCK / 4 };

// matmul_pairs.S tells.
void matmul_pairs_run(v128_t acc[PAIR * VECTORS], const uint8_t *w,
                      const uint8_t *m, const struct matmul_panel *panel,
                      uint32_t row, const int32_t *corr, uint32_t n,
                      const int8_t *q);

// Where matmul_pairs.S looks.
_Static_assert(sizeof(struct matmul_panel) == 680 &&
                   offsetof(struct matmul_panel, part[1]) == 160 &&
                   offsetof(struct matmul_panel, part[0].fix) == 128 &&
                   offsetof(struct matmul_panel, shift) == 640 &&
                   offsetof(struct matmul_panel, wide) == 672 &&
                   FORMAT_TILE == 1024 && FORMAT_BLOCK == 16,
               "the layout of panels and tiles");

FULLY_INLINED void dots(v128_t *dot, const uint8_t *w, const int8_t *q,
                        size_t step, const int32_t *corr, size_t groups,
                        const int R, const int V)
{
    const v128_t ones = wasm_i16x8_splat(1);

#pragma clang loop unroll(full)
    for (int i = 0; i < R * V; i++)
        dot[i] = wasm_i32x4_splat(-corr[(size_t)(i / V) * groups]);
#pragma clang loop unroll(disable)
    for (int k = 0; k < FORMAT_GROUP; k += 4)
#pragma clang loop unroll(full)
        for (int r = 0; r < R; r++) {
            v128_t a = wasm_v128_load32_splat(q + (size_t)r * step + k);

#pragma clang loop unroll(full)
            for (int v = 0; v < V; v++) {
                v128_t four = wasm_v128_load(w + 16 * k + 16 * v);

                dot[r * V + v] = wasm_i32x4_add(
                    dot[r * V + v],
                    wasm_i32x4_dot_i16x8(
                        wasm_i16x8_relaxed_dot_i8x16_i7x16(a, four), ones));
            }
        }
}

// What a block's rows multiply by at the end, as far as it does not depend on
// the row of activations.
struct powers {
    v128_t above[VECTORS]; // 2^(e - least), or 0 where that is too large
    int32_t least, largest;
};

static struct powers powers_of(const int32_t *e)
{
    struct powers p = {.least = e[0], .largest = e[0]};
    int32_t above[FORMAT_BLOCK];

    for (int n = 1; n < FORMAT_BLOCK; n++) {
        p.least = e[n] < p.least ? e[n] : p.least;
        p.largest = e[n] > p.largest ? e[n] : p.largest;
    }
    for (int n = 0; n < FORMAT_BLOCK; n++)
        above[n] = e[n] - p.least < 31 ? 1 << (e[n] - p.least) : 0;
    for (int v = 0; v < VECTORS; v++)
        p.above[v] = wasm_v128_load(above + 4 * v);
    return p;
}

// finish for a whole block: where 2^(33 + shift) is an integer that fits for
// all of it, that is one shift for all.
static void finish_block(int32_t *out, const v128_t acc[VECTORS],
                         int32_t row_shift, const struct matmul_weight *weight,
                         size_t n, const struct powers *powers)
{
    const v128_t one = wasm_i32x4_splat(1);
    int32_t least = 33 + row_shift + powers->least;

    if (least < 0 || 33 + row_shift + powers->largest > 30) {
        finish(out, acc, row_shift, weight->e + n, weight->b + n, VECTORS);
        return;
    }
#pragma clang loop unroll(full)
    for (int v = 0; v < VECTORS; v++) {
        v128_t power = wasm_i32x4_shl(powers->above[v], (uint32_t)least);
        v128_t low = wasm_i64x2_extmul_low_i32x4(acc[v], power);
        v128_t high = wasm_i64x2_extmul_high_i32x4(acc[v], power);
        v128_t y = wasm_i32x4_shuffle(low, high, 1, 3, 5, 7);

        y = clamp4(wasm_i32x4_shr(wasm_i32x4_add(y, one), 1));
        y = wasm_i32x4_add(y, wasm_v128_load(weight->b + n + 4 * v));
        wasm_v128_store(out + 4 * v, clamp4(y));
    }
}

// Rows t (even) and t + 1 against block b.
static void pair(int32_t *out, size_t ld, const struct matmul_input *in,
                 uint32_t t, const struct matmul_weight *weight, uint32_t b,
                 const struct powers *powers)
{
    const uint32_t G = weight->n_groups;
    const struct matmul_panel *panel = in->panels;
    const size_t n = (size_t)b * FORMAT_BLOCK;
    v128_t acc[PAIR * VECTORS];

    panel += (size_t)(t / MATMUL_PANEL_ROWS) * G;
    for (int i = 0; i < PAIR * VECTORS; i++)
        acc[i] = wasm_i32x4_splat(0);
    matmul_pairs_run(acc, weight->w + (size_t)b * G * FORMAT_TILE,
                     weight->m + n * G, panel, t % MATMUL_PANEL_ROWS,
                     in->corr + (size_t)t * G, G,
                     in->q + (size_t)t * G * FORMAT_GROUP);
    for (uint32_t r = 0; r < PAIR; r++)
        finish_block(out + (t + r) * ld + n, acc + r * VECTORS,
                     in->e_max[t + r] + (int32_t)matmul_spare(G), weight, n,
                     powers);
}

void matmul_relaxed_pairs(int32_t *out, size_t ld,
                          const struct matmul_input *in,
                          const struct matmul_weight *weight, uint32_t block,
                          uint32_t block_end)
{
    for (uint32_t b = block; b < block_end; b++) {
        struct powers powers = powers_of(weight->e + (size_t)b * FORMAT_BLOCK);
        uint32_t t = 0;

        for (; t + PAIR <= in->n_rows; t += PAIR)
            pair(out, ld, in, t, weight, b, &powers);
        if (t < in->n_rows)
            tiles(out, ld, in, t, weight, b, 1, VECTORS, dots);
    }
}

// The sums of v's 32-bit lanes, by 16-bit half, in each of them.
static v128_t add_lanes(v128_t v)
{
    v = wasm_i16x8_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
    return wasm_i16x8_add(v, wasm_i32x4_shuffle(v, v, 1, 0, 3, 2));
}

void matmul_lay_pairs(void *panels, uint32_t t, const int8_t *q,
                      const uint8_t *e, uint8_t e_max, uint32_t G)
{
    const v128_t limit = wasm_i16x8_splat(MATMUL_TAME_MAX);
    const v128_t bias = wasm_i16x8_splat(-FORMAT_WEIGHT_BIAS);
    const uint32_t r = t % MATMUL_PANEL_ROWS;
    const int32_t spare = (int32_t)matmul_spare(G);
    struct matmul_panel *panel = panels;

    panel += (size_t)(t / MATMUL_PANEL_ROWS) * G;
    for (uint32_t g = 0; g < G; g++, panel++) {
        v128_t wide = wasm_i32x4_splat(0);

        for (int part = 0; part < 4; part++, q += 16) {
            v128_t v = wasm_v128_load(q);
            v128_t sum = add_lanes(wasm_i16x8_extadd_pairwise_i8x16(v));
            v128_t abs =
                add_lanes(wasm_i16x8_extadd_pairwise_i8x16(wasm_i8x16_abs(v)));

            wide = wasm_v128_or(wide, wasm_i16x8_gt(abs, limit));
            wasm_v128_store(panel->part[part].q[r], v);
            wasm_v128_store32_lane(panel->part[part].fix[r],
                                   wasm_i16x8_mul(sum, bias), 0);
        }
        panel->shift[r] = e_max - e[g] + spare;
        panel->wide[r] = wasm_v128_any_true(wide);
        if (panel->wide[r])
            matmul_panel_clear(panel, r);
    }
}
