// norm.c - LayerNorm and RMSNorm of one row, in integers.
//
//   d   = x - mean(x), or x (RMSNorm)                        |d| < 2^31
//   d'  = d / 2^s, the least s >= 0 that gives |d'| < 2^24
//   v   = mean(d'^2) + eps / 2^(2s)                          v < 2^49
//   m   = v * 2^(-2k) with m in [2^30, 2^32)                 -15 <= k <= 10
//   inv = 2^31 / sqrt(m)                                     2^15 .. 2^16
//   n   = d' * inv / 2^(15 + k)                              Q16, |n| < 2^25
//   out = n * gain / 2^16 + bias
//
// Divisions are rounded half up on the magnitude, shifts half up.
#include "engine/norm.h"

int32_t norm_mean(const int32_t *x, uint32_t n)
{
    int64_t sum = 0;
    uint64_t mean;

    for (uint32_t i = 0; i < n; i++)
        sum += x[i];
    mean = engine_div(sum < 0 ? 0 - (uint64_t)sum : (uint64_t)sum, n);
    return sum < 0 ? -(int32_t)mean : (int32_t)mean;
}

// d of the formula above, |x| and |mean| being less than 2^30.
static int32_t deviation(int32_t x, int32_t mean, uint32_t s)
{
    const int32_t max = (1 << NORM_BITS) - 1;
    int32_t d = engine_round_shift(x - mean, s);

    return d > max ? max : d < -max ? -max : d; // rounding may reach 2^24
}

// v / 2^s rounded half up, 0 from 64 on.
static uint64_t round_shift64(uint64_t v, uint32_t s)
{
    if (s == 0)
        return v;
    return s >= 64 ? 0 : ((v >> (s - 1)) + 1) >> 1;
}

struct norm_factor norm_factor(uint64_t sum, uint32_t n, uint64_t eps,
                               uint32_t s)
{
    uint64_t v = engine_div(sum, n) + round_shift64(eps, 2 * s);

    if (v == 0)
        v = 1;
    // k: half of what v's length is over 31 or 32 bits.
    int32_t k = ((int32_t)engine_bits64(v) - 31) >> 1;
    uint32_t m = k >= 0 ? (uint32_t)(v >> (2 * k)) : (uint32_t)(v << (-2 * k));
    uint32_t root = engine_sqrt(m); // 2^15 .. 2^16 - 1

    assert(k >= -15 && k <= 10 && root >= 1u << 15);
    return (struct norm_factor){
        .inv = (int32_t)engine_div(UINT64_C(1) << 31, root),
        .shift = (uint32_t)(15 + k),
    };
}

void engine_norm_ref(int32_t *out, const int32_t *x, const int32_t *gain,
                     const int32_t *bias, uint32_t n, uint64_t eps, bool centre)
{
    int32_t mean = centre ? norm_mean(x, n) : 0;
    uint32_t max = 0;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < n; i++)
        if (engine_abs(x[i] - mean) > max)
            max = engine_abs(x[i] - mean);

    uint32_t bits = engine_bits(max);
    uint32_t s = bits > NORM_BITS ? bits - NORM_BITS : 0;

    for (uint32_t i = 0; i < n; i++) {
        int64_t d = deviation(x[i], mean, s);

        sum += (uint64_t)(d * d);
    }

    struct norm_factor f = norm_factor(sum, n, eps, s);

    for (uint32_t i = 0; i < n; i++) {
        int32_t norm =
            engine_mul_shift(deviation(x[i], mean, s), f.inv, f.shift);
        int32_t y = engine_mul_shift(norm, gain[i], FORMAT_NORM_Q);

        out[i] = bias ? engine_sat(y + bias[i]) : y;
    }
}
