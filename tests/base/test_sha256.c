// sha256: published digests, padding at every length, and any cut into pieces.
#include "base/sha256.h"

#include <stdio.h>
#include <string.h>

#include "check.h"

static void check_hex(const uint8_t digest[SHA256_LEN], const char *want)
{
    char hex[2 * SHA256_LEN + 1];

    for (int i = 0; i < SHA256_LEN; i++)
        CHECK_EQ(snprintf(hex + 2 * i, 3, "%02x", digest[i]), 2);
    if (strcmp(hex, want) != 0)
        fprintf(stderr, "digest %s, not %s\n", hex, want);
    CHECK(strcmp(hex, want) == 0);
}

static void equals_the_published_digests(void)
{
    static const struct {
        const char *text, *hex;
    } rows[] = {
        {"",
         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc",
         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
         "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    uint8_t digest[SHA256_LEN];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sha256(rows[i].text, strlen(rows[i].text), digest);
        check_hex(digest, rows[i].hex);
    }
}

static void hashes_a_million_letters(void)
{
    struct sha256 s;
    uint8_t digest[SHA256_LEN];
    uint8_t chunk[1000];

    memset(chunk, 'a', sizeof chunk);
    sha256_init(&s);
    for (int i = 0; i < 1000; i++)
        sha256_update(&s, chunk, sizeof chunk);
    sha256_final(&s, digest);
    check_hex(
        digest,
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void any_cut_gives_the_same_digest(void)
{
    uint8_t data[200];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + 3);
    for (size_t len = 0; len <= sizeof data; len++) {
        uint8_t whole[SHA256_LEN];

        sha256(data, len, whole);
        for (size_t cut = 0; cut <= len; cut += 13) {
            struct sha256 s;
            uint8_t pieces[SHA256_LEN];

            sha256_init(&s);
            sha256_update(&s, data, cut);
            sha256_update(&s, NULL, 0);
            sha256_update(&s, data + cut, len - cut);
            sha256_final(&s, pieces);
            CHECK(memcmp(whole, pieces, SHA256_LEN) == 0);
        }
    }
}

int main(void)
{
    equals_the_published_digests();
    hashes_a_million_letters();
    any_cut_gives_the_same_digest();
    return 0;
}
