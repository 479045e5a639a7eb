#include "redundancy/project.h"

#include "redundancy/tolerance.h"

enum {
    FRACTION = 8,            // bits below the reference exponent
    BATCH = REDUN_PRINT_LEN, // values whose signs one hash gives
    LIMIT = INT16_MAX,
    UNIT_MAX = 256,
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

// The exponent that group g of a row needs: without the zeros in front.
static int needed(const uint8_t *row, size_t dim, size_t g)
{
    size_t end = (g + 1) * REDUN_GROUP;
    int e = signed_byte(row[dim + g]), max = 0;

    for (size_t i = g * REDUN_GROUP; i < end && i < dim; i++) {
        int m = signed_byte(row[i]);

        m = m < 0 ? -m : m;
        max = m > max ? m : max;
    }
    for (; e > 0 && max < 64; max *= 2)
        e--;
    return e < 0 ? 0 : e;
}

// Is the mean of 4^e, of n groups of which count[e] have e, at most 4^e0?
static bool covers(const uint64_t count[REDUN_SHIFT_MAX + 1], uint64_t n,
                   int e0)
{
    uint64_t sum = 0;

    for (int e = 0; e <= REDUN_SHIFT_MAX; e++) {
        int shift = 2 * (e - e0);

        if (count[e] == 0)
            continue;
        if (shift >= 32 || (shift >= 0 && count[e] << shift > n - sum))
            return false;
        sum += shift >= 0 ? count[e] << shift : count[e] >> -shift;
        if (sum > n)
            return false;
    }
    return true;
}

static int clamp_shift(int e)
{
    if (e > REDUN_SHIFT_MAX)
        return REDUN_SHIFT_MAX;
    return e < -REDUN_SHIFT_MAX ? -REDUN_SHIFT_MAX : e;
}

struct redun_scale redun_scale_of(const uint8_t *rows, size_t n, size_t dim)
{
    uint64_t count[REDUN_SHIFT_MAX + 1] = {0}, sum = 0;
    size_t n_groups = (dim + REDUN_GROUP - 1) / REDUN_GROUP;
    struct redun_scale scale = {0, 1};

    if (n == 0)
        return scale;
    for (size_t r = 0; r < n; r++)
        for (size_t g = 0; g < n_groups; g++)
            count[clamp_shift(needed(rows + r * (dim + n_groups), dim, g))]++;
    while (scale.e0 < REDUN_SHIFT_MAX && !covers(count, n * n_groups, scale.e0))
        scale.e0++;
    for (int e = 0; e <= REDUN_SHIFT_MAX; e++) {
        int shift = 2 * (e - scale.e0);

        sum += shift >= 0 ? count[e] << 8 << shift : count[e] << 8 >> -shift;
    }
    sum /= n * n_groups;
    scale.unit = sum < 1 ? 1 : sum > UNIT_MAX ? UNIT_MAX : (uint32_t)sum;
    return scale;
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

uint64_t redun_distance_max(const struct redun_stretch *stretch)
{
    static const uint32_t limits[REDUN_LAYERS_MAX][4] = REDUN_LIMITS;
    size_t n = stretch->n;
    int length = n < 4 ? 0 : n < 16 ? 1 : n < 32 ? 2 : 3;

    return (uint64_t)limits[stretch->n_layers - 1][length] * stretch->dim *
           stretch->unit / UNIT_MAX;
}
