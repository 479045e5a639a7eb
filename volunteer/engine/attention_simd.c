// Attention over one KV tile with WASM SIMD: bytes widened to 16 bits, whose
// products i32x4.dot_i16x8_s adds in pairs. The weights of 14 bits fit there
// whole. See kernels.h for what is computed.
#include <wasm_simd128.h>

#include "engine/twins.h"

enum { SCORE_BITS = 27, LANES = 4, NEAR_BITS = 10 };

// Lanes 0+1, 2+3 of a, then of b.
static v128_t add_pairs(v128_t a, v128_t b)
{
    return wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6),
                          wasm_i32x4_shuffle(a, b, 1, 3, 5, 7));
}

// dot * 2^shift, saturated to +-2^27, for |dot| < 2^21 and any shift.
static int32_t scaled(int32_t dot, int32_t shift)
{
    const int32_t max = 1 << SCORE_BITS;
    int32_t s = engine_shift(dot, shift);

    return s > max ? max : s < -max ? -max : s;
}

// The same for four lanes. Where the shifts are -10 .. 0, as they mostly are,
// dot * 2^(10 + shift) fits 31 bits, and is divided by 2^10; WASM has no shift
// by lanes, so a float's bits make the power.
static v128_t scaled4(v128_t dot, v128_t shift)
{
    v128_t up = wasm_i32x4_add(shift, wasm_i32x4_splat(NEAR_BITS));

    if (wasm_v128_any_true(wasm_u32x4_gt(up, wasm_i32x4_splat(NEAR_BITS)))) {
        int32_t lane[LANES], by[LANES];

        wasm_v128_store(lane, dot);
        wasm_v128_store(by, shift);
        for (int i = 0; i < LANES; i++)
            lane[i] = scaled(lane[i], by[i]);
        return wasm_v128_load(lane);
    }
    v128_t power = wasm_i32x4_trunc_sat_f32x4(
        wasm_i32x4_shl(wasm_i32x4_add(up, wasm_i32x4_splat(127)), 23));
    v128_t y = wasm_i32x4_mul(dot, power);

    return wasm_i32x4_shr(
        wasm_i32x4_add(y, wasm_i32x4_splat(1 << (NEAR_BITS - 1))), NEAR_BITS);
}

int32_t engine_scores_simd(int32_t *s, const int8_t *q, int32_t shift,
                           const struct kv_tile *tile, uint32_t D, uint32_t n)
{
    const v128_t least = wasm_i32x4_splat(-(1 << SCORE_BITS));
    const v128_t lane = wasm_i32x4_make(0, 1, 2, 3);
    v128_t max = least;

    for (uint32_t t = 0; t < n; t += LANES) {
        const int8_t *k =
            tile->k + (size_t)(t / 16) * D * 16 + (size_t)(t % 16) * 4;
        v128_t low = wasm_i32x4_splat(0), high = low;
        v128_t exp = wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(
            wasm_v128_load32_zero(tile->k_exp + t)));

        for (uint32_t i = 0; i < D; i += 4, k += 64) {
            v128_t keys = wasm_v128_load(k);
            v128_t four =
                wasm_i16x8_extend_low_i8x16(wasm_v128_load32_splat(q + i));

            low = wasm_i32x4_add(
                low,
                wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(keys), four));
            high = wasm_i32x4_add(
                high,
                wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(keys), four));
        }
        v128_t y = scaled4(add_pairs(low, high),
                           wasm_i32x4_add(exp, wasm_i32x4_splat(shift)));
        v128_t there =
            wasm_i32x4_gt(wasm_i32x4_splat((int32_t)n - (int32_t)t), lane);

        wasm_v128_store(s + t, y);
        max = wasm_i32x4_max(max, wasm_v128_bitselect(y, least, there));
    }
    max = wasm_i32x4_max(max, wasm_i32x4_shuffle(max, max, 2, 3, 0, 1));
    max = wasm_i32x4_max(max, wasm_i32x4_shuffle(max, max, 1, 0, 3, 2));
    return wasm_i32x4_extract_lane(max, 0);
}

void engine_mix_simd(int32_t *acc, const uint8_t *low, const uint8_t *high,
                     const struct kv_tile *tile, uint32_t D, uint32_t n)
{
    v128_t p[KV_PAGE / 4]; // p0 p1 p2 p3 p0 p1 p2 p3 of four positions
    uint32_t n_quads = (n + 3) / 4;

    for (uint32_t j = 0; j < n_quads; j++) {
        v128_t l = wasm_u16x8_extend_low_u8x16(
            wasm_v128_load32_splat(low + 4 * (size_t)j));
        v128_t h = wasm_u16x8_extend_low_u8x16(
            wasm_v128_load32_splat(high + 4 * (size_t)j));

        p[j] = wasm_i16x8_add(l, wasm_i16x8_shl(h, 7));
    }
    // Eight dimensions at a time; a lane of `sum` holds two of four positions.
    for (uint32_t i = 0; i < D; i += 2 * LANES) {
        const int8_t *v = tile->v + (size_t)i * 4;
        v128_t sum[4] = {wasm_i32x4_splat(0), wasm_i32x4_splat(0),
                         wasm_i32x4_splat(0), wasm_i32x4_splat(0)};

        for (uint32_t j = 0; j < n_quads; j++, v += (size_t)D * 4) {
            v128_t a = wasm_v128_load(v), b = wasm_v128_load(v + 16);

            sum[0] = wasm_i32x4_add(
                sum[0],
                wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(a), p[j]));
            sum[1] = wasm_i32x4_add(
                sum[1],
                wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(a), p[j]));
            sum[2] = wasm_i32x4_add(
                sum[2],
                wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(b), p[j]));
            sum[3] = wasm_i32x4_add(
                sum[3],
                wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(b), p[j]));
        }
        for (uint32_t h = 0; h < 2; h++) {
            int32_t *out = acc + i + LANES * h;

            wasm_v128_store(
                out, wasm_i32x4_add(wasm_v128_load(out),
                                    add_pairs(sum[2 * h], sum[2 * h + 1])));
        }
    }
}
