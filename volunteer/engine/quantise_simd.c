// quantise_row.c with WASM SIMD: a group of 64 values is 16 vectors.
#include <string.h>
#include <wasm_simd128.h>

#include "engine/twins.h"

enum { LANES = 4, VECTORS = FORMAT_GROUP / LANES };

static uint32_t largest_abs(const v128_t v[VECTORS])
{
    v128_t m = wasm_i32x4_splat(0);

    for (int i = 0; i < VECTORS; i++)
        m = wasm_u32x4_max(m, wasm_i32x4_abs(v[i]));
    m = wasm_u32x4_max(m, wasm_i32x4_shuffle(m, m, 2, 3, 0, 1));
    m = wasm_u32x4_max(m, wasm_i32x4_shuffle(m, m, 1, 0, 3, 2));
    return (uint32_t)wasm_i32x4_extract_lane(m, 0);
}

// v / 2^shift, rounded half up.
static void round_shift(v128_t v[VECTORS], uint32_t shift)
{
    if (shift == 0)
        return;
    for (int i = 0; i < VECTORS; i++)
        v[i] = wasm_i32x4_shr(wasm_i32x4_add(wasm_i32x4_shr(v[i], shift - 1),
                                             wasm_i32x4_splat(1)),
                              1);
}

// Four vectors, narrowed and clamped to +-127.
static v128_t narrow(const v128_t v[4])
{
    v128_t y = wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(v[0], v[1]),
                                       wasm_i16x8_narrow_i32x4(v[2], v[3]));

    return wasm_i8x16_max(y, wasm_i8x16_splat(-127));
}

static int32_t sum_lanes(v128_t s)
{
    s = wasm_i32x4_add(s, wasm_i32x4_shuffle(s, s, 2, 3, 0, 1));
    s = wasm_i32x4_add(s, wasm_i32x4_shuffle(s, s, 1, 0, 3, 2));
    return wasm_i32x4_extract_lane(s, 0);
}

uint8_t engine_quantise_simd(int8_t *q, uint8_t *e, int32_t *corr,
                             const int32_t *v, uint32_t n)
{
    uint8_t e_max = 0;

    for (uint32_t from = 0; from < n; from += FORMAT_GROUP, e++, corr++) {
        uint32_t len = n - from < FORMAT_GROUP ? n - from : FORMAT_GROUP;
        v128_t x[VECTORS];
        v128_t sum = wasm_i32x4_splat(0);

        memset(x, 0, sizeof x);
        memcpy(x, v + from, len * sizeof *v);

        uint32_t bits = engine_bits(largest_abs(x));
        uint32_t shift = bits > 7 ? bits - 7 : 0;

        round_shift(x, shift);
        for (int i = 0; i < VECTORS; i += 4) {
            v128_t y = narrow(x + i);

            wasm_v128_store(q + from + LANES * i, y);
            sum = wasm_i32x4_add(sum, wasm_i32x4_extadd_pairwise_i16x8(
                                          wasm_i16x8_extadd_pairwise_i8x16(y)));
        }
        *e = (uint8_t)shift;
        *corr = sum_lanes(sum) * FORMAT_WEIGHT_BIAS;
        if (shift > e_max)
            e_max = (uint8_t)shift;
    }
    return e_max;
}
