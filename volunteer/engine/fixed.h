// fixed.h - the few integer operations that everything is made of, each with
// one meaning on every backend. No operator here shifts by more than 31 (63 for
// 64-bit values) or by a negative amount, and no right operand is trusted.
#ifndef ENGINE_FIXED_H
#define ENGINE_FIXED_H

#include <assert.h>
#include <stdint.h>

#include "splitter/format.h"

// Clamp to +-(2^30 - 1).
static inline int32_t engine_sat(int32_t v)
{
    return v > FORMAT_VALUE_MAX    ? FORMAT_VALUE_MAX
           : v < -FORMAT_VALUE_MAX ? -FORMAT_VALUE_MAX
                                   : v;
}

static inline int32_t engine_sat64(int64_t v)
{
    return v > FORMAT_VALUE_MAX    ? FORMAT_VALUE_MAX
           : v < -FORMAT_VALUE_MAX ? -FORMAT_VALUE_MAX
                                   : (int32_t)v;
}

// v / 2^s, rounded half up; s >= 0. From 32 on the answer is 0.
static inline int32_t engine_round_shift(int32_t v, uint32_t s)
{
    if (s == 0)
        return v;
    if (s >= 32)
        return 0;
    return ((v >> (s - 1)) + 1) >> 1;
}

// v * 2^s, saturated to +-(2^30 - 1); s >= 0.
static inline int32_t engine_left_shift(int32_t v, uint32_t s)
{
    if (v == 0)
        return 0;
    if (s >= 31)
        return v < 0 ? -FORMAT_VALUE_MAX : FORMAT_VALUE_MAX;
    return engine_sat64((int64_t)v * ((int64_t)1 << s));
}

// v * 2^s for s of either sign, saturated to +-(2^30 - 1).
static inline int32_t engine_shift(int32_t v, int32_t s)
{
    return s >= 0 ? engine_left_shift(v, (uint32_t)s)
                  : engine_sat(engine_round_shift(v, (uint32_t)-s));
}

// a * b / 2^s, exact, rounded once half up, saturated; s is 0 .. 62.
static inline int32_t engine_mul_shift(int32_t a, int32_t b, uint32_t s)
{
    int64_t p = (int64_t)a * b;

    assert(s <= 62);
    if (s > 0)
        p = ((p >> (s - 1)) + 1) >> 1;
    return engine_sat64(p);
}

// Bits of v: 0 for 0, else 1 + floor(log2 v).
static inline uint32_t engine_bits(uint32_t v)
{
    return v == 0 ? 0 : 32 - (uint32_t)__builtin_clz(v);
}

static inline uint32_t engine_bits64(uint64_t v)
{
    uint32_t high = (uint32_t)(v >> 32);

    return high ? 32 + engine_bits(high) : engine_bits((uint32_t)v);
}

// |v|; right for INT32_MIN too.
static inline uint32_t engine_abs(int32_t v)
{
    return v < 0 ? 0u - (uint32_t)v : (uint32_t)v;
}

// n / d rounded half up; d > 0.
static inline uint64_t engine_div(uint64_t n, uint32_t d)
{
    uint64_t q = n / d;
    uint32_t rest = (uint32_t)(n % d);

    assert(d > 0);
    return q + (rest >= d - rest);
}

// floor(sqrt(v)), 0 .. 65535.
static inline uint32_t engine_sqrt(uint32_t v)
{
    uint32_t root = 0;

    for (uint32_t bit = 1u << 15; bit; bit >>= 1)
        if ((root + bit) * (root + bit) <= v)
            root += bit;
    return root;
}

#endif
