#include "redundancy/fingerprint.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t v, int bits)
{
    return v << bits | v >> (64 - bits);
}

static void sip_rounds(struct sip *s, int n)
{
    while (n-- > 0) {
        s->v0 += s->v1;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v2 = rotate(s->v2, 32);
    }
}

static void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_rounds(s, 2);
    s->v0 ^= word;
}

static void sip_finish(struct sip *s, uint8_t out[8])
{
    uint64_t v;

    sip_rounds(s, 4);
    v = s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> 8 * i);
}

void redun_siphash(uint8_t out[REDUN_PRINT_LEN], uint64_t k0, uint64_t k1,
                   const uint8_t *data, size_t n)
{
    struct sip s = {k0 ^ UINT64_C(0x736f6d6570736575),
                    k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
                    k0 ^ UINT64_C(0x6c7967656e657261),
                    k1 ^ UINT64_C(0x7465646279746573)};
    uint64_t word = 0;

    for (size_t i = 0; i < n; i++) {
        word |= (uint64_t)data[i] << 8 * (i % 8);
        if (i % 8 == 7) {
            sip_word(&s, word);
            word = 0;
        }
    }
    sip_word(&s, word | (uint64_t)(n & 255) << 56);
    s.v2 ^= 0xee;
    sip_finish(&s, out);
    s.v1 ^= 0xdd;
    sip_finish(&s, out + 8);
}

void redun_print(uint8_t out[REDUN_PRINT_LEN], uint64_t seed,
                 const uint8_t *row, size_t n)
{
    redun_siphash(out, seed, UINT64_C(0x544e495250314e59), row, n);
}
