// The proof of work: what is found pays, what is changed does not.
#include "base/toll.h"

#include <string.h>

#include "check.h"

static unsigned zero_bits(const uint8_t toll[TOLL_LEN])
{
    uint8_t hash[SHA256_LEN];
    unsigned n = 0;

    sha256(toll, TOLL_LEN, hash);
    while (n < 256 && !(hash[n / 8] & 0x80 >> n % 8))
        n++;
    return n;
}

static void what_is_found_pays(void)
{
    uint64_t tries = 0;

    for (unsigned bits = 0; bits <= 14; bits++) {
        char challenge[16];
        uint8_t toll[TOLL_LEN], start[TOLL_LEN];
        int len = snprintf(challenge, sizeof challenge, "challenge %u", bits);

        toll_begin(challenge, (size_t)len, toll);
        memcpy(start, toll, sizeof start);
        while (!toll_search(toll, 100, bits))
            tries += 100;
        CHECK(zero_bits(toll) >= bits);
        CHECK_EQ(memcmp(toll, start, SHA256_LEN), 0);
        CHECK(toll_is_paid(toll, bits));
        CHECK(!toll_is_paid(toll, zero_bits(toll) + 1));
        toll[0] ^= 1; // of another challenge
        CHECK_EQ(toll_is_paid(toll, bits), zero_bits(toll) >= bits);
    }
    CHECK(tries > 3000); // 32767 expected: it is work
}

// In pieces of any size the same nonce is found, and none is left out.
static void pieces_make_no_difference(void)
{
    uint8_t whole[TOLL_LEN], parts[TOLL_LEN];

    toll_begin("x", 1, whole);
    memcpy(parts, whole, sizeof parts);
    CHECK(toll_search(whole, UINT32_MAX, 10));
    while (!toll_search(parts, 1, 10))
        ;
    CHECK_EQ(memcmp(whole, parts, TOLL_LEN), 0);
    CHECK(toll_search(whole, 1, 10)); // it is not passed over
}

static void the_nonce_counts_through_all_its_bytes(void)
{
    uint8_t toll[TOLL_LEN];

    toll_begin("y", 1, toll);
    memset(toll + SHA256_LEN, 0xff, 3);
    CHECK(!toll_search(toll, 1, 256));
    CHECK_EQ(toll[SHA256_LEN], 0);
    CHECK_EQ(toll[SHA256_LEN + 2], 0);
    CHECK_EQ(toll[SHA256_LEN + 3], 1);
    memset(toll + SHA256_LEN, 0xff, TOLL_NONCE_LEN);
    CHECK(!toll_search(toll, 1, 256));
    CHECK_EQ(toll[TOLL_LEN - 1], 0);
    CHECK(!toll_search(toll, 0, 0)); // not tried
}

int main(void)
{
    what_is_found_pays();
    pieces_make_no_difference();
    the_nonce_counts_through_all_its_bytes();
    return 0;
}
