// norm.c with WASM SIMD: four values a vector, their 64-bit products in two.
#include <string.h>
#include <wasm_simd128.h>

#include "engine/norm.h"
#include "engine/twins.h"

enum { LANES = 4 };

static const int64_t LIFT = INT64_C(1) << 62; // above any product here

static v128_t deviation(v128_t x, int32_t mean, uint32_t s)
{
    const v128_t max = wasm_i32x4_splat((1 << NORM_BITS) - 1);
    v128_t d = wasm_i32x4_sub(x, wasm_i32x4_splat(mean));

    if (s > 0)
        d = wasm_i32x4_shr(
            wasm_i32x4_add(wasm_i32x4_shr(d, s - 1), wasm_i32x4_splat(1)), 1);
    return wasm_i32x4_max(wasm_i32x4_min(d, max), wasm_i32x4_neg(max));
}

// p / 2^s in each 64-bit lane, rounded half up. Shifted from above zero,
// because x86 has no arithmetic shift of 64 bits.
static v128_t round_shift64(v128_t p, uint32_t s)
{
    int64_t half = s ? INT64_C(1) << (s - 1) : 0;

    p = wasm_u64x2_shr(wasm_i64x2_add(p, wasm_i64x2_splat(LIFT + half)), s);
    return wasm_i64x2_sub(p, wasm_i64x2_splat(LIFT >> s));
}

static v128_t clamp64(v128_t v)
{
    const v128_t max = wasm_i64x2_splat(FORMAT_VALUE_MAX);
    const v128_t min = wasm_i64x2_splat(-FORMAT_VALUE_MAX);

    v = wasm_v128_bitselect(max, v, wasm_i64x2_gt(v, max));
    return wasm_v128_bitselect(min, v, wasm_i64x2_gt(min, v));
}

// Low halves of 64-bit lanes, of a, then of b.
static v128_t low_halves(v128_t a, v128_t b)
{
    return wasm_i32x4_shuffle(a, b, 0, 2, 4, 6);
}

static v128_t four(const int32_t *x, const int32_t *gain, int32_t mean,
                   uint32_t s, struct norm_factor f)
{
    v128_t d = deviation(wasm_v128_load(x), mean, s);
    v128_t inv = wasm_i32x4_splat(f.inv), g = wasm_v128_load(gain);
    v128_t norm = low_halves(
        round_shift64(wasm_i64x2_extmul_low_i32x4(d, inv), f.shift),
        round_shift64(wasm_i64x2_extmul_high_i32x4(d, inv), f.shift));

    return low_halves(
        clamp64(
            round_shift64(wasm_i64x2_extmul_low_i32x4(norm, g), FORMAT_NORM_Q)),
        clamp64(round_shift64(wasm_i64x2_extmul_high_i32x4(norm, g),
                              FORMAT_NORM_Q)));
}

static uint32_t largest_abs(const int32_t *x, uint32_t n, int32_t mean)
{
    v128_t m = wasm_i32x4_splat(0);
    uint32_t max = 0, i = 0, lane[LANES];

    for (; i + LANES <= n; i += LANES)
        m = wasm_u32x4_max(
            m, wasm_i32x4_abs(wasm_i32x4_sub(wasm_v128_load(x + i),
                                             wasm_i32x4_splat(mean))));
    wasm_v128_store(lane, m);
    for (int l = 0; l < LANES; l++)
        max = lane[l] > max ? lane[l] : max;
    for (; i < n; i++)
        max = engine_abs(x[i] - mean) > max ? engine_abs(x[i] - mean) : max;
    return max;
}

static v128_t squares(v128_t x, int32_t mean, uint32_t s)
{
    v128_t d = deviation(x, mean, s);

    return wasm_i64x2_add(wasm_i64x2_extmul_low_i32x4(d, d),
                          wasm_i64x2_extmul_high_i32x4(d, d));
}

static uint64_t sum_of_squares(const int32_t *x, uint32_t n, int32_t mean,
                               uint32_t s)
{
    v128_t sum = wasm_i64x2_splat(0);
    int32_t last[LANES];
    uint32_t i = 0;

    for (; i + LANES <= n; i += LANES)
        sum = wasm_i64x2_add(sum, squares(wasm_v128_load(x + i), mean, s));
    for (uint32_t l = 0; l < LANES; l++)
        last[l] = i + l < n ? x[i + l] : mean;
    sum = wasm_i64x2_add(sum, squares(wasm_v128_load(last), mean, s));
    return (uint64_t)wasm_i64x2_extract_lane(sum, 0) +
           (uint64_t)wasm_i64x2_extract_lane(sum, 1);
}

static v128_t with_bias(v128_t y, const int32_t *bias)
{
    y = wasm_i32x4_add(y, wasm_v128_load(bias));
    y = wasm_i32x4_min(y, wasm_i32x4_splat(FORMAT_VALUE_MAX));
    return wasm_i32x4_max(y, wasm_i32x4_splat(-FORMAT_VALUE_MAX));
}

void engine_norm_simd(int32_t *out, const int32_t *x, const int32_t *gain,
                      const int32_t *bias, uint32_t n, uint64_t eps,
                      bool centre)
{
    int32_t mean = centre ? norm_mean(x, n) : 0;
    uint32_t bits = engine_bits(largest_abs(x, n, mean));
    uint32_t s = bits > NORM_BITS ? bits - NORM_BITS : 0;
    struct norm_factor f =
        norm_factor(sum_of_squares(x, n, mean, s), n, eps, s);
    uint32_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        v128_t y = four(x + i, gain + i, mean, s, f);

        wasm_v128_store(out + i, bias ? with_bias(y, bias + i) : y);
    }
    if (i < n) {
        int32_t part[4][LANES] = {{0}};
        size_t len = (n - i) * sizeof *x;

        memcpy(part[0], x + i, len);
        memcpy(part[1], gain + i, len);
        if (bias)
            memcpy(part[2], bias + i, len);
        wasm_v128_store(part[3],
                        with_bias(four(part[0], part[1], mean, s, f), part[2]));
        memcpy(out + i, part[3], len);
    }
}
