// Tolerant fingerprints: known bytes, exact integers, honest rounding passes
// and wrong work does not.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "prints.h"
#include "redundancy/project.h"
#include "redundancy/tolerance.h"

enum { DIM = 768, GROUPS = DIM / REDUN_GROUP, ROW = DIM + GROUPS, ROWS = 32 };

static uint64_t state = 1;

static uint32_t below(uint32_t n)
{
    state =
        state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 32) * n >> 32);
}

// Bell-shaped mantissas whose groups' exponents are 1 or 0.
static void row_fill(uint8_t *row)
{
    for (int i = 0; i < DIM; i++) {
        int v = 0;

        for (int k = 0; k < 4; k++)
            v += (int)below(64);
        row[i] = (uint8_t)(int8_t)(v - 126);
    }
    for (int g = 0; g < GROUPS; g++)
        row[DIM + g] = (uint8_t)below(2);
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

static void every_build_makes_the_same_bytes(void)
{
    uint8_t digest[SHA256_LEN];
    char text[2 * SHA256_LEN + 1];

    prints_digest(digest);
    for (int i = 0; i < SHA256_LEN; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    if (strcmp(text, prints_committed) != 0)
        fprintf(stderr, "the digest is %s\n", text);
    CHECK(strcmp(text, prints_committed) == 0);
}

// A single value shows as plus or minus itself, in steps of 1 (the square
// root of the width being 2^2 and more), and the last byte tells its scale.
static void values_show_in_units_of_their_row(void)
{
    static const struct {
        int q, e, scale, want;
    } cases[] = {
        {5, 0, 0, 5},        {100, 0, 0, 100},       {-128, 0, 0, 128},
        {64, 8, 4 * 8, 64},  {127, 24, 4 * 24, 127}, {32, 5, 4 * 4, 64},
        {1, 24, 4 * 18, 64}, {0, 24, 0, 0},          {1, 3, 0, 8}};

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        uint8_t row[REDUN_GROUP + 1] = {0}, out[REDUN_PRINT_LEN];

        row[7] = (uint8_t)(int8_t)cases[c].q;
        row[REDUN_GROUP] = (uint8_t)cases[c].e;
        redun_project(out, 77, 3, row, REDUN_GROUP);
        CHECK_EQ(out[REDUN_PROJECTIONS], cases[c].scale);
        for (int p = 0; p < REDUN_PROJECTIONS; p++)
            CHECK(out[p] == (uint8_t)cases[c].want ||
                  out[p] == (uint8_t)-cases[c].want);
    }
}

// Two groups: units of one and of 4^e, whose mean tells the last byte.
static void the_scale_is_the_mean_unit(void)
{
    static const struct {
        int e, scale;
    } cases[] = {
        {0, 0}, {1, 2}, {2, 4 * 1 + 1}, {3, 4 * 2 + 1}, {20, 4 * 19 + 1}};

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        uint8_t row[2 * (REDUN_GROUP + 1)] = {0}, out[REDUN_PRINT_LEN];

        row[0] = 127;
        row[2 * REDUN_GROUP] = (uint8_t)cases[c].e;
        redun_project(out, 1, 0, row, 2 * REDUN_GROUP);
        CHECK_EQ(out[REDUN_PROJECTIONS], cases[c].scale);
    }
}

static void the_seed_and_the_position_decide_the_signs(void)
{
    uint8_t row[ROW], a[REDUN_PRINT_LEN], b[REDUN_PRINT_LEN];

    row_fill(row);
    redun_project(a, 1, 5, row, DIM);
    redun_project(b, 2, 5, row, DIM);
    CHECK(memcmp(a, b, sizeof a) != 0);
    redun_project(b, 1, 6, row, DIM);
    CHECK(memcmp(a, b, sizeof a) != 0);
    redun_project(b, 1, 5, row, DIM);
    CHECK(memcmp(a, b, sizeof a) == 0);
    CHECK_EQ(redun_distance(a, b, 1, DIM).largest, 0);
    CHECK_EQ(redun_distance(a, b, 0, DIM).mean, 0);
}

// A row whose units differ by one exponent is still compared, value by value.
static void scales_one_apart_are_compared(void)
{
    uint8_t row[ROW], doubled[ROW], a[REDUN_PRINT_LEN], b[REDUN_PRINT_LEN];

    row_fill(row);
    memset(row + DIM, 1, GROUPS);
    for (int i = 0; i < DIM; i++)
        row[i] = (uint8_t)((int8_t)row[i] / 3 * 2);
    memcpy(doubled, row, ROW);
    row[0] = 100; // the first group needs its exponent
    redun_project(a, 9, 0, row, DIM);
    redun_project(b, 9, 0, doubled, DIM);
    CHECK_EQ(a[REDUN_PROJECTIONS] / 4, b[REDUN_PROJECTIONS] / 4);
    // By hand: one scale up, all sums halved.
    memcpy(b, a, sizeof a);
    b[REDUN_PROJECTIONS] = (uint8_t)(b[REDUN_PROJECTIONS] + 4);
    for (int p = 0; p < REDUN_PROJECTIONS; p++)
        b[p] = (uint8_t)((int8_t)a[p] >> 1);
    CHECK(redun_distance(a, b, 1, DIM).largest < 64);
    CHECK(redun_distance(b, a, 1, DIM).largest < 64);
    b[REDUN_PROJECTIONS] = (uint8_t)(b[REDUN_PROJECTIONS] + 4);
    CHECK(redun_distance(a, b, 1, DIM).largest > 20 * 256);
    CHECK(redun_distance(b, a, 1, DIM).largest > 20 * 256);
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
            redun_project(a + r * REDUN_PRINT_LEN, seed, (uint32_t)r, row, DIM);
            redun_project(b + r * REDUN_PRINT_LEN, seed, (uint32_t)r, other,
                          DIM);
        }
        struct redun_stretch stretch = {(size_t)rows, DIM, 1, true};

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

// One row far off is found by itself, among many that agree.
static void a_single_row_is_found(void)
{
    uint8_t a[ROWS * REDUN_PRINT_LEN], b[ROWS * REDUN_PRINT_LEN], row[ROW];
    struct redun_stretch stretch = {ROWS, DIM, 1, false};

    for (uint32_t r = 0; r < ROWS; r++) {
        row_fill(row);
        redun_project(a + r * REDUN_PRINT_LEN, 4, r, row, DIM);
        if (r == 20)
            row_fill(row);
        redun_project(b + r * REDUN_PRINT_LEN, 4, r, row, DIM);
    }
    CHECK(!redun_agrees(a, b, &stretch));
    memcpy(b + 20 * REDUN_PRINT_LEN, a + 20 * REDUN_PRINT_LEN, REDUN_PRINT_LEN);
    CHECK(redun_agrees(a, b, &stretch));
}

// A little wrong in each row from some on, behind so many that are not that the
// mean of all is small.
static void honest_rows_hide_no_others(void)
{
    enum { HONEST = 4 * ROWS, ALL = HONEST + 2 * ROWS };
    static uint8_t a[ALL * REDUN_PRINT_LEN], b[ALL * REDUN_PRINT_LEN];
    uint8_t row[ROW], other[ROW];

    for (uint32_t n = HONEST + ROWS; n <= ALL; n += ROWS / 2) {
        struct redun_stretch stretch = {n, DIM, 1, false};
        struct redun_distance far, max = redun_limits(&stretch);

        for (uint32_t r = 0; r < n; r++) {
            row_fill(row);
            memcpy(other, row, ROW);
            if (r >= HONEST)
                row_wrong(other, row, 2);
            redun_project(a + r * REDUN_PRINT_LEN, 6, r, row, DIM);
            redun_project(b + r * REDUN_PRINT_LEN, 6, r, other, DIM);
        }
        far = redun_distance(a, b, n, DIM);
        CHECK(far.largest <= max.largest && far.mean <= max.mean);
        CHECK(!redun_agrees(a, b, &stretch));
        stretch.n = HONEST;
        CHECK(redun_agrees(a, b, &stretch));
    }
}

// Longer stretches, shorter spans and later ones are held to less.
static void limits_fall_with_the_rows(void)
{
    static const size_t lengths[REDUN_LENGTHS] = REDUN_LENGTHS_FROM;

    for (uint32_t layers = 1; layers <= REDUN_LAYERS_MAX; layers++)
        for (size_t i = 0; i < REDUN_LENGTHS; i++) {
            struct redun_stretch s = {lengths[i], DIM, layers, false};
            struct redun_distance limit = redun_limits(&s);

            CHECK(limit.mean <= limit.largest);
            s.embeds = true;
            CHECK(redun_limits(&s).mean >= limit.mean);
            s.embeds = false;
            if (i > 0) {
                s.n = lengths[i - 1];
                CHECK(redun_limits(&s).mean > limit.mean);
                s.n = lengths[i];
            }
            if (layers < REDUN_LAYERS_MAX) {
                s.n_layers++;
                CHECK(redun_limits(&s).mean > limit.mean);
            }
        }
}

int main(void)
{
    every_build_makes_the_same_bytes();
    values_show_in_units_of_their_row();
    the_scale_is_the_mean_unit();
    the_seed_and_the_position_decide_the_signs();
    scales_one_apart_are_compared();
    limits_fall_with_the_rows();
    honest_rounding_passes();
    wrong_work_does_not();
    a_single_row_is_found();
    honest_rows_hide_no_others();
    return 0;
}
