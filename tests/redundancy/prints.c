#include "prints.h"

#include "redundancy/project.h"

enum { DIM_MAX = 4100, ROW_MAX = DIM_MAX + (DIM_MAX + 31) / 32, TIMES = 40 };

const char prints_committed[2 * SHA256_LEN + 1] =
    "99ab3ff4b350df430901eb94fde0387402fb16245e7f233e5036978b4b404d10";

// SplitMix64 (Steele, Lea and Flood 2014).
static uint32_t draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32);
}

// By i: random rows, small ones, all zeros, all of one limit, exponents that
// no frame may have.
static void row_fill(uint8_t *row, uint32_t dim, uint32_t i, uint64_t *state)
{
    uint32_t n = dim + (dim + REDUN_GROUP - 1) / REDUN_GROUP;

    for (uint32_t k = 0; k < n; k++) {
        uint32_t r = draw(state);

        if (k >= dim)
            row[k] = (uint8_t)(i % 5 == 4 ? r : r % (REDUN_EXP_MAX + 1));
        else if (i % 5 == 1)
            row[k] = (uint8_t)(r % 5 - 2);
        else if (i % 5 == 2)
            row[k] = 0;
        else if (i % 5 == 3)
            row[k] = i % 2 ? 127 : 128;
        else
            row[k] = (uint8_t)r;
    }
}

void prints_digest(uint8_t out[SHA256_LEN])
{
    static const uint32_t dims[] = {1, 31, 32, 33, 96, 768, DIM_MAX};
    uint64_t state = 7;
    struct sha256 hash;

    sha256_init(&hash);
    for (uint32_t d = 0; d < sizeof dims / sizeof *dims; d++)
        for (uint32_t i = 0; i < TIMES; i++) {
            uint32_t dim = dims[d];
            uint8_t row[ROW_MAX], print[REDUN_PRINT_LEN];
            uint64_t seed = (uint64_t)draw(&state) << 32 | draw(&state);

            row_fill(row, dim, i, &state);
            redun_project(print, seed, draw(&state), row, dim);
            sha256_update(&hash, print, sizeof print);
            redun_print(print, seed, row,
                        dim + (dim + REDUN_GROUP - 1) / REDUN_GROUP);
            sha256_update(&hash, print, sizeof print);
        }
    sha256_final(&hash, out);
}
