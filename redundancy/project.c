#include "redundancy/project.h"

#include "redundancy/tolerance.h"

enum {
    FRACTION = 8,            // bits below the reference exponent
    BATCH = REDUN_PRINT_LEN, // values whose signs one hash gives
    LIMIT = INT16_MAX,
};

static int signed_byte(uint8_t b)
{
    return b < 128 ? b : b - 256;
}

// q * 2^(e - e0) in units of 2^-FRACTION, rounded half up.
static int64_t value_of(int q, int e)
{
    int shift = e + FRACTION;

    if (shift >= 0)
        return (int64_t)q * (INT64_C(1) << shift);
    return shift < -20 ? 0 : (q + (INT64_C(1) << (-shift - 1))) >> -shift;
}

static int clamp_shift(int e)
{
    if (e > REDUN_SHIFT_MAX)
        return REDUN_SHIFT_MAX;
    return e < -REDUN_SHIFT_MAX ? -REDUN_SHIFT_MAX : e;
}

static int32_t rounded(int64_t sum)
{
    int64_t v = (sum + (1 << (FRACTION - 1))) >> FRACTION;

    if (v > LIMIT)
        return LIMIT;
    return v < -LIMIT ? -LIMIT : (int32_t)v;
}

void redun_project(uint8_t out[REDUN_PRINT_LEN], uint64_t seed, int e0,
                   const uint8_t *row, size_t dim)
{
    int64_t sums[REDUN_PROJECTIONS] = {0};
    uint8_t signs[BATCH];

    for (size_t i = 0; i < dim; i++) {
        int e = signed_byte(row[dim + i / REDUN_GROUP]);
        int64_t v = value_of(signed_byte(row[i]), clamp_shift(e - e0));

        if (i % BATCH == 0) {
            uint8_t column[4] = {(uint8_t)i, (uint8_t)(i >> 8),
                                 (uint8_t)(i >> 16), (uint8_t)(i >> 24)};

            redun_siphash(signs, seed, UINT64_C(0x544e495250324e59), column,
                          sizeof column);
        }
        for (int p = 0; p < REDUN_PROJECTIONS; p++)
            sums[p] += signs[i % BATCH] >> p & 1 ? v : -v;
    }
    for (size_t p = 0; p < REDUN_PROJECTIONS; p++) {
        uint32_t v = (uint32_t)rounded(sums[p]);

        out[2 * p] = (uint8_t)v;
        out[2 * p + 1] = (uint8_t)(v >> 8);
    }
}

static int32_t projection(const uint8_t *print, size_t p)
{
    return (int16_t)((uint16_t)print[2 * p] | (uint16_t)print[2 * p + 1] << 8);
}

uint64_t redun_distance(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint64_t sum = 0;

    if (!n)
        return 0;

    for (size_t i = 0; i < n; i++) {
        for (size_t p = 0; p < REDUN_PROJECTIONS; p++) {
            int64_t d = projection(a + i * REDUN_PRINT_LEN, p) -
                        projection(b + i * REDUN_PRINT_LEN, p);

            sum += (uint64_t)(d * d);
        }
    }
    return sum * (256 / REDUN_PROJECTIONS) / n;
}

uint64_t redun_distance_max(size_t dim, size_t n)
{
    uint64_t limit = n < 4    ? REDUN_LIMIT_1
                     : n < 16 ? REDUN_LIMIT_4
                              : REDUN_LIMIT_16;

    return limit * dim;
}
