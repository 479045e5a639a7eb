// Fingerprints are SipHash-2-4-128, and every bit of seed and row counts.
#include <string.h>

#include "check.h"
#include "redundancy/fingerprint.h"

// The first rows of the reference implementation's table: key 00 01 .. 0f,
// input 00 01 .. of the row's length.
static void hash_gives_known_values(void)
{
    static const uint8_t known[2][REDUN_PRINT_LEN] = {
        {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14,
         0xc7, 0x55, 0x02, 0x93},
        {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11,
         0x9b, 0x22, 0xfc, 0x45},
    };
    const uint8_t data[1] = {0};

    for (size_t n = 0; n < 2; n++) {
        uint8_t out[REDUN_PRINT_LEN];

        redun_siphash(out, UINT64_C(0x0706050403020100),
                      UINT64_C(0x0f0e0d0c0b0a0908), data, n);
        CHECK(memcmp(out, known[n], sizeof out) == 0);
    }
}

static void every_bit_counts(void)
{
    enum { N = 41 };
    uint8_t row[N] = {1, 2, 3}, want[REDUN_PRINT_LEN], out[REDUN_PRINT_LEN];

    redun_print(want, 5, row, N);
    redun_print(out, 5, row, N);
    CHECK(memcmp(out, want, sizeof out) == 0);
    for (int bit = 0; bit < N * 8; bit++) {
        row[bit / 8] ^= (uint8_t)(1 << bit % 8);
        redun_print(out, 5, row, N);
        CHECK(memcmp(out, want, sizeof out) != 0);
        row[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (int bit = 0; bit < 64; bit++) {
        redun_print(out, 5 ^ UINT64_C(1) << bit, row, N);
        CHECK(memcmp(out, want, sizeof out) != 0);
    }
    redun_print(out, 5, row, N - 1);
    CHECK(memcmp(out, want, sizeof out) != 0);
}

int main(void)
{
    hash_gives_known_values();
    every_bit_counts();
    return 0;
}
