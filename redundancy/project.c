#include "redundancy/project.h"

#include "redundancy/tolerance.h"

enum {
    FRACTION = 8, // bits below the row's scale
    STEP = 2,     // the root of a row's width counts 2^STEP steps or more
    BATCH = 8,    // values whose signs one hash gives
    SPAN = 9,     // exponents below the largest that count for the unit
    AT_SCALE = REDUN_PROJECTIONS,
};

static int signed_byte(uint8_t b)
{
    return b < 128 ? b : b - 256;
}

static uint32_t log2_floor(size_t v)
{
    uint32_t bits = 0;

    while (v >>= 1)
        bits++;
    return bits;
}

// Bits that sums are shifted by: 6 .. 14.
static uint32_t step_bits(size_t dim)
{
    return FRACTION - STEP + log2_floor(dim) / 2;
}

static int exponent(const uint8_t *row, size_t dim, size_t g)
{
    int e = row[dim + g];

    return e > REDUN_EXP_MAX ? REDUN_EXP_MAX : e;
}

// The exponent that group g of a row needs: without the zeros in front.
static int needed(const uint8_t *row, size_t dim, size_t g)
{
    size_t end = (g + 1) * REDUN_GROUP;
    int e = exponent(row, dim, g), max = 0;

    for (size_t i = g * REDUN_GROUP; i < end && i < dim; i++) {
        int m = signed_byte(row[i]);

        m = m < 0 ? -m : m;
        max = m > max ? m : max;
    }
    for (; e > 0 && max < 64; max *= 2)
        e--;
    return e;
}

// The last byte of a row's fingerprint.
static uint8_t scale_of(const uint8_t *row, size_t dim)
{
    uint32_t n = (uint32_t)((dim + REDUN_GROUP - 1) / REDUN_GROUP);
    uint32_t sum = 0; // of 4^(e_g - largest + SPAN): at most 2^(2 SPAN + 11)
    int largest = 0, e = 0;
    uint32_t f = 0;

    for (size_t g = 0; g < n; g++) {
        int own = needed(row, dim, g);

        largest = own > largest ? own : largest;
    }
    for (size_t g = 0; g < n; g++) {
        int below = largest - needed(row, dim, g);

        sum += below <= SPAN ? UINT32_C(1) << 2 * (SPAN - below) : 0;
    }
    while (e < SPAN && n << 2 * (e + 1) <= sum)
        e++;
    while (f < 3 && (n << 2 * e) * (7 + 3 * f) <= 4 * sum)
        f++;
    return (uint8_t)(4 * (uint32_t)(largest - SPAN + e) + f);
}

// q * 2^shift in units of 2^-FRACTION, rounded half up; modulo 2^32.
static uint32_t value_of(int q, int shift)
{
    shift += FRACTION;
    if (q == 0) // the only one whose shift may be past 31
        return 0;
    if (shift >= 0)
        return (uint32_t)q << shift;
    return shift < -15 ? 0 : (uint32_t)(((q >> (-shift - 1)) + 1) >> 1);
}

static void signs_of(uint8_t signs[REDUN_PRINT_LEN], uint64_t seed,
                     uint32_t position, uint32_t batch)
{
    uint8_t at[8];

    for (uint32_t i = 0; i < 4; i++) {
        at[i] = (uint8_t)(batch >> 8 * i);
        at[4 + i] = (uint8_t)(position >> 8 * i);
    }
    redun_siphash(signs, seed, UINT64_C(0x544e495250324e59), at, sizeof at);
}

void redun_project(uint8_t out[REDUN_PRINT_LEN], uint64_t seed,
                   uint32_t position, const uint8_t *row, size_t dim)
{
    uint32_t sums[REDUN_PROJECTIONS] = {0}; // modulo 2^32
    uint32_t bits = step_bits(dim);
    uint8_t scale = scale_of(row, dim);
    uint8_t signs[REDUN_PRINT_LEN];

    for (size_t i = 0; i < dim; i++) {
        int shift = exponent(row, dim, i / REDUN_GROUP) - scale / 4;
        uint32_t v = value_of(signed_byte(row[i]), shift);
        const uint8_t *sign = signs + i % BATCH * 2;

        if (i % BATCH == 0)
            signs_of(signs, seed, position, (uint32_t)(i / BATCH));
        for (uint32_t p = 0; p < REDUN_PROJECTIONS; p++)
            sums[p] += sign[p / 8] >> p % 8 & 1 ? v : 0 - v;
    }
    for (size_t p = 0; p < REDUN_PROJECTIONS; p++)
        out[p] = (uint8_t)((sums[p] + (UINT32_C(1) << (bits - 1))) >> bits);
    out[AT_SCALE] = scale;
}

// The squared differences of a pair of rows together, in steps of b's scale,
// times 4. Scales that are one apart may be those of rows that are close.
static uint64_t squares(const uint8_t *a, const uint8_t *b)
{
    int apart = a[AT_SCALE] / 4 - b[AT_SCALE] / 4;
    uint64_t sum = 0;

    if (apart < -1 || apart > 1)
        return UINT64_C(4) * REDUN_PROJECTIONS * 128 * 128;
    for (size_t p = 0; p < REDUN_PROJECTIONS; p++) {
        uint32_t x = apart > 0 ? 2u * a[p] : a[p];
        uint32_t y = apart < 0 ? 2u * b[p] : b[p];
        int d = signed_byte((uint8_t)(x - y));

        sum += (uint64_t)(d * d);
    }
    return apart < 0 ? sum : 4 * sum;
}

// The squared difference a value of a pair of rows, in 1/256 of b's unit.
static uint64_t apart(const uint8_t *a, const uint8_t *b, size_t dim)
{
    // A step squared and the 1/256, less the 4 of squares().
    uint32_t up = 2 * step_bits(dim) + 8 - 2 * FRACTION;
    uint32_t unit = 4 + 3 * (b[AT_SCALE] % 4u); // its own 4 is that of squares

    return (squares(a, b) << up) / ((uint64_t)unit * REDUN_PROJECTIONS * dim);
}

// floor(sqrt(v)), v below 2^40.
static uint64_t root_of(uint64_t v)
{
    uint64_t root = 0;

    for (uint64_t bit = UINT64_C(1) << 19; bit; bit >>= 1)
        if ((root + bit) * (root + bit) <= v)
            root += bit;
    return root;
}

struct redun_distance redun_distance(const uint8_t *a, const uint8_t *b,
                                     size_t n, size_t dim)
{
    struct redun_distance d = {0, 0};
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t row = apart(a, b, dim);

        d.largest = row > d.largest ? row : d.largest;
        sum += root_of(row << 16);
        a += REDUN_PRINT_LEN;
        b += REDUN_PRINT_LEN;
    }
    d.mean = n ? sum / n * (sum / n) >> 16 : 0;
    return d;
}

struct redun_distance redun_limits(const struct redun_stretch *stretch)
{
    static const size_t lengths[REDUN_LENGTHS] = REDUN_LENGTHS_FROM;
    static const uint32_t limits[2][REDUN_LAYERS_MAX][REDUN_LENGTHS] =
        REDUN_LIMITS;
    const uint32_t *of = limits[stretch->embeds][stretch->n_layers - 1];
    int l = 0;

    while (l + 1 < REDUN_LENGTHS && stretch->n >= lengths[l + 1])
        l++;
    return (struct redun_distance){of[0], of[l]};
}

// The rows together, and each by itself.
static bool near(const uint8_t *a, const uint8_t *b,
                 const struct redun_stretch *stretch)
{
    struct redun_distance far = redun_distance(a, b, stretch->n, stretch->dim);
    struct redun_distance max = redun_limits(stretch);

    return far.largest <= max.largest && far.mean <= max.mean;
}

bool redun_agrees(const uint8_t *a, const uint8_t *b,
                  const struct redun_stretch *stretch)
{
    struct redun_stretch run = *stretch;
    size_t n = stretch->n, last = n > REDUN_RUN ? n - REDUN_RUN : 0;
    bool good = near(a, b, stretch);

    run.n = REDUN_RUN;
    for (size_t at = 0; good && at < last; at += REDUN_APART)
        good = near(a + at * REDUN_PRINT_LEN, b + at * REDUN_PRINT_LEN, &run);
    return good && (n <= REDUN_RUN || near(a + last * REDUN_PRINT_LEN,
                                           b + last * REDUN_PRINT_LEN, &run));
}
