// Tolerant fingerprints: known bytes, exact integers, honest rounding passes
// and wrong work does not.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "redundancy/project.h"

enum { DIM = 768, GROUPS = DIM / REDUN_GROUP, ROW = DIM + GROUPS, ROWS = 32 };

static uint64_t state = 1;

static uint32_t below(uint32_t n)
{
    state =
        state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 32) * n >> 32);
}

// Bell-shaped mantissas whose groups' exponents are 0 or -1.
static void row_fill(uint8_t *row)
{
    for (int i = 0; i < DIM; i++) {
        int v = 0;

        for (int k = 0; k < 4; k++)
            v += (int)below(64);
        row[i] = (uint8_t)(int8_t)(v - 126);
    }
    for (int g = 0; g < GROUPS; g++)
        row[DIM + g] = (uint8_t)(below(2) ? 0 : -1);
}

static int8_t bounded(int v)
{
    return (int8_t)(v > 127 ? 127 : v < -127 ? -127 : v);
}

// Every fourth mantissa or so off by one.
static void row_rounded(uint8_t *out, const uint8_t *row)
{
    memcpy(out, row, ROW);
    for (int i = 0; i < DIM; i++)
        if (below(4) == 0)
            out[i] = (uint8_t)bounded((int8_t)row[i] + (below(2) ? 1 : -1));
}

// Each mantissa wrong by about percent of the row's usual size, 45.
static void row_wrong(uint8_t *out, const uint8_t *row, int percent)
{
    memcpy(out, row, ROW);
    for (int i = 0; i < DIM; i++) {
        int noise = 0;

        for (int k = 0; k < 12; k++)
            noise += (int)below(1001);
        noise = (noise - 6000) * 45 * percent / 100000;
        out[i] = (uint8_t)bounded((int8_t)row[i] + noise);
    }
}

static void makes_known_bytes(void)
{
    static const uint8_t known[REDUN_PRINT_LEN] = {
        0xb8, 0xfa, 0x02, 0xfa, 0x09, 0xfc, 0xbf, 0xfe,
        0x4d, 0xff, 0x1f, 0x01, 0xc8, 0xfe, 0xa6, 0x05};
    uint8_t row[ROW], out[REDUN_PRINT_LEN];

    state = 1;
    row_fill(row);
    redun_project(out, UINT64_C(0x0123456789abcdef), 0, row, DIM);
    CHECK(memcmp(out, known, sizeof out) == 0);
}

// A single value shows as plus or minus itself in all projections.
static void scales_by_the_reference_exponent(void)
{
    static const struct {
        int q, e, e0, want;
    } cases[] = {{5, 0, 0, 5},        {5, 3, 0, 40},       {5, 3, 3, 5},
                 {80, -4, 0, 5},      {127, 24, 0, 32767}, {127, 8, 0, 32512},
                 {-128, 9, 0, 32767}, {1, -24, 0, 0},      {100, -1, 23, 0}};

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        uint8_t row[REDUN_GROUP + 1] = {0}, out[REDUN_PRINT_LEN];

        row[7] = (uint8_t)(int8_t)cases[c].q;
        row[REDUN_GROUP] = (uint8_t)(int8_t)cases[c].e;
        redun_project(out, 77, cases[c].e0, row, REDUN_GROUP);
        for (int p = 0; p < REDUN_PROJECTIONS; p++) {
            int v = (int16_t)(out[2 * p] | out[2 * p + 1] << 8);

            CHECK_EQ(abs(v), cases[c].want);
        }
    }
}

static void a_seed_decides_the_signs(void)
{
    uint8_t row[ROW], a[REDUN_PRINT_LEN], b[REDUN_PRINT_LEN];

    row_fill(row);
    redun_project(a, 1, 0, row, DIM);
    redun_project(b, 2, 0, row, DIM);
    CHECK(memcmp(a, b, sizeof a) != 0);
    redun_project(b, 1, 0, row, DIM);
    CHECK(memcmp(a, b, sizeof a) == 0);
    CHECK_EQ(redun_distance(a, b, 1), 0);
}

enum how { ROUNDED, WRONG, REPLAYED };

// How many of n stints of so many rows are rejected.
static int rejected(int n, int rows, enum how how, int percent)
{
    uint8_t a[ROWS * REDUN_PRINT_LEN], b[ROWS * REDUN_PRINT_LEN];
    uint8_t row[ROW], other[ROW];
    int bad = 0;

    for (int i = 0; i < n; i++) {
        uint64_t seed = (uint64_t)below(UINT32_MAX) << 32 | below(UINT32_MAX);

        for (int r = 0; r < rows; r++) {
            row_fill(row);
            if (how == ROUNDED)
                row_rounded(other, row);
            else if (how == WRONG)
                row_wrong(other, row, percent);
            else
                row_fill(other);
            redun_project(a + r * REDUN_PRINT_LEN, seed, 0, row, DIM);
            redun_project(b + r * REDUN_PRINT_LEN, seed, 0, other, DIM);
        }
        // Half of the groups have half the unit: a mean square of 5/8.
        struct redun_stretch stretch = {(size_t)rows, DIM, 1, 160};

        bad += !redun_agrees(a, b, &stretch);
    }
    return bad;
}

static void honest_rounding_passes(void)
{
    CHECK_EQ(rejected(500, 1, ROUNDED, 0), 0);
    CHECK_EQ(rejected(100, 8, ROUNDED, 0), 0);
    CHECK_EQ(rejected(30, 32, ROUNDED, 0), 0);
}

static void wrong_work_does_not(void)
{
    CHECK_EQ(rejected(30, 32, WRONG, 5), 30);
    CHECK_EQ(rejected(100, 8, WRONG, 8), 100);
    CHECK_EQ(rejected(300, 1, REPLAYED, 0), 300);
}

// n rows of one group, its mantissas m, at exponent e.
static struct redun_scale scale_of(int m, int e, size_t n)
{
    uint8_t rows[4 * (REDUN_GROUP + 1)];

    for (size_t r = 0; r < n; r++) {
        memset(rows + r * (REDUN_GROUP + 1), m, REDUN_GROUP);
        rows[r * (REDUN_GROUP + 1) + REDUN_GROUP] = (uint8_t)e;
    }
    return redun_scale_of(rows, n, REDUN_GROUP);
}

static void the_scale_is_what_values_need(void)
{
    static const struct {
        int m, e, e0;
    } cases[] = {{127, 0, 0}, {64, 5, 5}, {32, 5, 4},    {1, 24, 18},
                 {0, 24, 0},  {1, 3, 0},  {-127, 24, 24}};
    uint8_t rows[2 * (REDUN_GROUP + 1)] = {0};
    struct redun_scale s;

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        s = scale_of(cases[c].m, cases[c].e, 4);
        CHECK_EQ(s.e0, cases[c].e0);
        CHECK_EQ(s.unit, 256);
    }
    // One of two groups needs 4, the other nothing.
    rows[0] = 127;
    rows[REDUN_GROUP] = 4;
    s = redun_scale_of(rows, 2, REDUN_GROUP);
    CHECK_EQ(s.e0, 4);
    CHECK_EQ(s.unit, 128);
    CHECK_EQ(redun_scale_of(rows, 0, REDUN_GROUP).e0, 0);
}

static void a_seed_names_the_reference(void)
{
    for (int e0 = 0; e0 <= REDUN_SHIFT_MAX; e0++)
        CHECK_EQ(redun_seed_reference(redun_seed_of(UINT64_MAX, e0)), e0);
    CHECK_EQ(redun_seed_reference(UINT64_MAX), REDUN_SHIFT_MAX);
    CHECK_EQ(redun_seed_of(UINT64_MAX, 3) >> 8, UINT64_MAX >> 8);
}

// Longer stretches and shorter spans are held to less.
static void limits_fall_with_the_rows(void)
{
    static const size_t lengths[] = {1, 4, 16, 32};

    for (uint32_t layers = 1; layers <= REDUN_LAYERS_MAX; layers++)
        for (size_t i = 0; i < 4; i++) {
            struct redun_stretch s = {lengths[i], DIM, layers, 256};
            uint64_t limit = redun_distance_max(&s);

            s.unit = 128;
            CHECK_EQ(redun_distance_max(&s), limit / 2);
            s.unit = 256;
            if (i > 0) {
                s.n = lengths[i - 1];
                CHECK(redun_distance_max(&s) > limit);
                s.n = lengths[i];
            }
            if (layers < REDUN_LAYERS_MAX) {
                s.n_layers++;
                CHECK(redun_distance_max(&s) > limit);
            }
        }
}

int main(void)
{
    the_scale_is_what_values_need();
    a_seed_names_the_reference();
    limits_fall_with_the_rows();
    makes_known_bytes();
    scales_by_the_reference_exponent();
    a_seed_decides_the_signs();
    honest_rounding_passes();
    wrong_work_does_not();
    return 0;
}
