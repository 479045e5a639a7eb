// Packing rows of floats: every weight within half a step of its group, where
// it belongs, and the limits as pack.h says.
#include <math.h>
#include <string.h>

#include "check.h"
#include "splitter/pack.h"

enum { COLS = 130, GROUPS = 3, ROWS = 16 }; // the last group has two columns

struct block {
    float rows[ROWS * COLS];
    uint8_t tiles[GROUPS * FORMAT_TILE];
    uint8_t mantissas[GROUPS * FORMAT_BLOCK];
    int32_t exps[ROWS];
};

static int weight(const struct block *b, uint32_t r, uint32_t k)
{
    uint32_t i = k % FORMAT_GROUP;

    return b->tiles[k / FORMAT_GROUP * FORMAT_TILE + i / 4 * 64 + r * 4 +
                    i % 4] -
           FORMAT_WEIGHT_BIAS;
}

static double step(const struct block *b, uint32_t r, uint32_t k)
{
    return ldexp(b->mantissas[k / FORMAT_GROUP * FORMAT_BLOCK + r], b->exps[r]);
}

static enum err pack(struct block *b, uint32_t n)
{
    memset(b->tiles, 0, sizeof b->tiles);
    memset(b->mantissas, 0, sizeof b->mantissas);
    return pack_block(b->rows, n, COLS, b->tiles, b->mantissas, b->exps);
}

// Rows from 2^-17 to 2^13, groups of very different size.
static void weights_are_within_half_a_step(void)
{
    static struct block b;

    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t k = 0; k < COLS; k++)
            b.rows[r * COLS + k] =
                ldexpf(sinf((float)(r * 131 + k * 17 + 1)),
                       (int)(2 * r) - 17 - (k / FORMAT_GROUP == 1 ? 5 : 0));
    CHECK_EQ(pack(&b, ROWS), ERR_OK);
    for (uint32_t r = 0; r < ROWS; r++) {
        int largest_mantissa = 0;

        for (uint32_t k = 0; k < GROUPS * FORMAT_GROUP; k++) {
            int w = weight(&b, r, k);
            double want = k < COLS ? (double)b.rows[r * COLS + k] : 0;

            CHECK(w >= -FORMAT_WEIGHT_MAX && w <= FORMAT_WEIGHT_MAX);
            CHECK(fabs(w * step(&b, r, k) - want) <=
                  step(&b, r, k) * (0.5 + 1e-9));
        }
        for (uint32_t g = 0; g < GROUPS; g++)
            if (b.mantissas[g * FORMAT_BLOCK + r] > largest_mantissa)
                largest_mantissa = b.mantissas[g * FORMAT_BLOCK + r];
        CHECK(largest_mantissa >= 128); // or precision is given away
    }
}

// A mantissa that would round up to 256 takes the next power of two.
static void rounding_up_to_256_raises_the_exponent(void)
{
    static struct block b;

    b.rows[0] = 63 * 255;
    CHECK_EQ(pack(&b, 1), ERR_OK);
    CHECK_EQ(b.mantissas[0], 255);
    CHECK_EQ(b.exps[0], 0);
    b.rows[0] = 63 * 255.5F;
    CHECK_EQ(pack(&b, 1), ERR_OK);
    CHECK_EQ(b.mantissas[0], 128);
    CHECK_EQ(b.exps[0], 1);
    CHECK_EQ(weight(&b, 0, 0), FORMAT_WEIGHT_MAX);
}

static void rows_past_n_and_tiny_rows_are_zeros(void)
{
    static struct block b;

    b.rows[0] = 1;
    b.rows[COLS] = 62 * ldexpf(1, -24);
    b.rows[2 * COLS] = 1; // past n
    CHECK_EQ(pack(&b, 2), ERR_OK);
    for (uint32_t r = 1; r < ROWS; r++) {
        CHECK_EQ(b.exps[r], 0);
        for (uint32_t k = 0; k < GROUPS * FORMAT_GROUP; k++)
            CHECK_EQ(weight(&b, r, k), 0);
        for (uint32_t g = 0; g < GROUPS; g++)
            CHECK_EQ(b.mantissas[g * FORMAT_BLOCK + r], 1);
    }
}

static void weights_that_are_too_large_are_refused(void)
{
    static struct block b;

    b.rows[3] = -ldexpf(63 * 255, 32);
    CHECK_EQ(pack(&b, 1), ERR_OK);
    CHECK_EQ(weight(&b, 0, 3), -FORMAT_WEIGHT_MAX);
    b.rows[3] = -ldexpf(63 * 256, 32);
    CHECK_EQ(pack(&b, 1), ERR_RANGE);
}

int main(void)
{
    weights_are_within_half_a_step();
    rounding_up_to_256_raises_the_exponent();
    rows_past_n_and_tiny_rows_are_zeros();
    weights_that_are_too_large_are_refused();
    return 0;
}
