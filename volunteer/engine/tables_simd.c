// What is looked up in tables, with WASM SIMD: softmax weights and the
// activation. See attention.c and activation.c for what is computed.
//
// WASM shifts all lanes by one amount, so lanes are multiplied by powers of two
// instead, which a float's bits give: powers below 1 become 0.
#include <wasm_simd128.h>

#include "engine/twins.h"

enum {
    LANES = 4,
    SHIFT_MAX = 100, // past which all is 0, and a float still has an exponent
    WEIGHT_SHIFT = 16,
    STEP_BITS = 9, // of the activation table, as in activation.c
    LIMIT = FORMAT_ACT_RANGE << FORMAT_ACT_Q,
};

// 2^(top - s) in each lane, for s of 0 .. SHIFT_MAX.
static v128_t power_below(int32_t top, v128_t s)
{
    v128_t exponent = wasm_i32x4_sub(wasm_i32x4_splat(127 + top), s);

    return wasm_i32x4_trunc_sat_f32x4(wasm_i32x4_shl(exponent, 23));
}

// p of four positions, 0 for those past the first n.
static v128_t weights4(const int32_t *s, int32_t max, const int32_t *exp2,
                       int32_t n)
{
    v128_t d = wasm_i32x4_sub(wasm_i32x4_splat(max), wasm_v128_load(s));
    v128_t at = wasm_v128_and(d, wasm_i32x4_splat(FORMAT_EXP2_LEN - 1));
    v128_t value = wasm_i32x4_make(exp2[wasm_i32x4_extract_lane(at, 0)],
                                   exp2[wasm_i32x4_extract_lane(at, 1)],
                                   exp2[wasm_i32x4_extract_lane(at, 2)],
                                   exp2[wasm_i32x4_extract_lane(at, 3)]);
    v128_t shift =
        wasm_i32x4_add(wasm_u32x4_shr(d, FORMAT_SCORE_Q), wasm_i32x4_splat(16));
    v128_t power =
        power_below(33, wasm_u32x4_min(shift, wasm_i32x4_splat(SHIFT_MAX)));
    // value / 2^(shift - 1) is the high half of value * 2^(33 - shift)
    v128_t y = wasm_i32x4_shuffle(wasm_i64x2_extmul_low_i32x4(value, power),
                                  wasm_i64x2_extmul_high_i32x4(value, power), 1,
                                  3, 5, 7);

    y = wasm_i32x4_shr(wasm_i32x4_add(y, wasm_i32x4_splat(1)), 1);
    return wasm_v128_and(
        y, wasm_i32x4_gt(wasm_i32x4_splat(n), wasm_i32x4_make(0, 1, 2, 3)));
}

// 16 values of 0 .. 127 to bytes.
static void store_bytes(uint8_t *out, const v128_t v[4])
{
    wasm_v128_store(
        out, wasm_u8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(v[0], v[1]),
                                     wasm_i16x8_narrow_i32x4(v[2], v[3])));
}

uint32_t engine_weights_simd(uint8_t *low, uint8_t *high, const int32_t *s,
                             int32_t max, const int32_t *exp2,
                             const uint8_t *v_exp, uint8_t e_max, uint32_t n)
{
    v128_t sum = wasm_i32x4_splat(0);

    for (uint32_t t = 0; t < KV_PAGE; t += 4 * LANES) {
        v128_t lows[4], highs[4];

        for (uint32_t i = 0; i < 4; i++) {
            uint32_t at = t + LANES * i;
            v128_t p = weights4(s + at, max, exp2, (int32_t)n - (int32_t)at);
            v128_t exp = wasm_u32x4_extend_low_u16x8(
                wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(v_exp + at)));
            // Stale exponents, of positions past n, may be above e_max.
            v128_t shift =
                wasm_i32x4_max(wasm_i32x4_sub(wasm_i32x4_splat(e_max), exp),
                               wasm_i32x4_splat(0));

            sum = wasm_i32x4_add(sum, p);
            // p < 2^14: (p * 2^(16 - shift) + 2^15) / 2^16
            p = wasm_i32x4_mul(p, power_below(WEIGHT_SHIFT, shift));
            p = wasm_u32x4_shr(
                wasm_i32x4_add(p, wasm_i32x4_splat(1 << (WEIGHT_SHIFT - 1))),
                WEIGHT_SHIFT);
            lows[i] = wasm_v128_and(p, wasm_i32x4_splat(127));
            highs[i] = wasm_u32x4_shr(p, 7);
        }
        store_bytes(low + t, lows);
        store_bytes(high + t, highs);
    }
    sum = wasm_i32x4_add(sum, wasm_i32x4_shuffle(sum, sum, 2, 3, 0, 1));
    return (uint32_t)wasm_i32x4_extract_lane(sum, 0) +
           (uint32_t)wasm_i32x4_extract_lane(sum, 1);
}

// Entries i and i+1 of two lanes: t[i0], t[i0 + 1], t[i1], t[i1 + 1].
static v128_t two_pairs(const int32_t *table, int32_t i0, int32_t i1)
{
    return wasm_v128_load64_lane(table + i1, wasm_v128_load64_zero(table + i0),
                                 1);
}

static v128_t act4(v128_t u, const int32_t *table)
{
    const v128_t limit = wasm_i32x4_splat(LIMIT);
    const v128_t below = wasm_i32x4_splat(-LIMIT);
    v128_t inside =
        wasm_i32x4_max(wasm_i32x4_min(u, wasm_i32x4_splat(LIMIT - 1)), below);
    v128_t at = wasm_i32x4_add(inside, limit);
    v128_t i = wasm_u32x4_shr(at, STEP_BITS);
    v128_t f = wasm_v128_and(at, wasm_i32x4_splat((1 << STEP_BITS) - 1));
    v128_t a = two_pairs(table, wasm_i32x4_extract_lane(i, 0),
                         wasm_i32x4_extract_lane(i, 1));
    v128_t b = two_pairs(table, wasm_i32x4_extract_lane(i, 2),
                         wasm_i32x4_extract_lane(i, 3));
    v128_t y = wasm_i32x4_shuffle(a, b, 0, 2, 4, 6);
    v128_t d = wasm_i32x4_sub(wasm_i32x4_shuffle(a, b, 1, 3, 5, 7), y);

    d = wasm_i32x4_shr(wasm_i32x4_mul(d, f), STEP_BITS - 1);
    d = wasm_i32x4_shr(wasm_i32x4_add(d, wasm_i32x4_splat(1)), 1);
    y = wasm_v128_bitselect(u, wasm_i32x4_add(y, d), wasm_i32x4_ge(u, limit));
    return wasm_v128_andnot(y, wasm_i32x4_lt(u, below));
}

void engine_act_simd(int32_t *out, const int32_t *u, const int32_t *table,
                     uint32_t n)
{
    uint32_t i = 0;

    for (; i + LANES <= n; i += LANES)
        wasm_v128_store(out + i, act4(wasm_v128_load(u + i), table));
    engine_act_ref(out + i, u + i, table, n - i);
}
