#include "base/toll.h"

void toll_begin(const void *challenge, size_t len, uint8_t out[TOLL_LEN])
{
    sha256(challenge, len, out);
    for (size_t i = SHA256_LEN; i < TOLL_LEN; i++)
        out[i] = 0;
}

bool toll_is_paid(const uint8_t toll[TOLL_LEN], unsigned bits)
{
    uint8_t hash[SHA256_LEN];

    sha256(toll, TOLL_LEN, hash);
    for (unsigned i = 0; i < bits; i++)
        if (hash[i / 8] >> (7 - i % 8) & 1)
            return false;
    return true;
}

bool toll_search(uint8_t toll[TOLL_LEN], uint32_t tries, unsigned bits)
{
    for (; tries; tries--) {
        if (toll_is_paid(toll, bits))
            return true;
        for (size_t i = SHA256_LEN; i < TOLL_LEN && ++toll[i] == 0; i++)
            ;
    }
    return false;
}
