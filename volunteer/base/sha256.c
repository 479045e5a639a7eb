#include "base/sha256.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdbool.h>
#endif

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotr(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           (uint32_t)p[3];
}

// One round, v[0..7] being a .. h; names as in FIPS 180-4, section 6.2.2. The
// eight variables stay where they are: their names move by one a round.
static inline void round_at(uint32_t v[8], unsigned t, uint32_t kw)
{
    const unsigned a = 0 - t, e = 4 - t;
    uint32_t x = v[e & 7], y = v[a & 7];
    uint32_t b = v[(a + 1) & 7], c = v[(a + 2) & 7];
    uint32_t f = v[(e + 1) & 7], g = v[(e + 2) & 7];
    uint32_t s1 = rotr(x, 6) ^ rotr(x, 11) ^ rotr(x, 25);
    uint32_t s0 = rotr(y, 2) ^ rotr(y, 13) ^ rotr(y, 22);
    uint32_t t1 = v[(e + 3) & 7] + s1 + (g ^ (x & (f ^ g))) + kw;

    v[(a + 3) & 7] += t1;
    v[(e + 3) & 7] = t1 + s0 + ((y & b) ^ (c & (y ^ b)));
}

// The next eight words of the message schedule, w being a ring of 16.
static inline void schedule(uint32_t w[16], unsigned t)
{
    for (unsigned i = t; i < t + 8; i++) {
        uint32_t y = w[(i + 1) & 15], z = w[(i + 14) & 15];

        w[i & 15] += (rotr(y, 7) ^ rotr(y, 18) ^ y >> 3) + w[(i + 9) & 15] +
                     (rotr(z, 17) ^ rotr(z, 19) ^ z >> 10);
    }
}

static void blocks_portable(uint32_t h[8], const uint8_t *p, size_t n)
{
    for (; n; n--, p += SHA256_BLOCK_LEN) {
        uint32_t w[16], v[8];

        for (int t = 0; t < 16; t++)
            w[t] = big_endian(p + 4 * t);
        memcpy(v, h, sizeof v);
        for (unsigned t = 0; t < 64; t += 8) {
            if (t >= 16)
                schedule(w, t);
            const uint32_t *word = w + (t & 8);
            round_at(v, 0, K[t] + word[0]);
            round_at(v, 1, K[t + 1] + word[1]);
            round_at(v, 2, K[t + 2] + word[2]);
            round_at(v, 3, K[t + 3] + word[3]);
            round_at(v, 4, K[t + 4] + word[4]);
            round_at(v, 5, K[t + 5] + word[5]);
            round_at(v, 6, K[t + 6] + word[6]);
            round_at(v, 7, K[t + 7] + word[7]);
        }
        for (int i = 0; i < 8; i++)
            h[i] += v[i];
    }
}

#if defined(__x86_64__)
// With the SHA instructions, which keep the state as ABEF and CDGH and do four
// rounds in two steps.
__attribute__((target("sha,sse4.1"))) static void
blocks_sha(uint32_t h[8], const uint8_t *p, size_t n)
{
    const __m128i swap = _mm_set_epi64x(INT64_C(0x0C0D0E0F08090A0B),
                                        INT64_C(0x0405060700010203));
    __m128i dcba = _mm_loadu_si128((const void *)h);
    __m128i hgfe = _mm_loadu_si128((const void *)(h + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xB1);
    __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1B);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
    __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);

    for (; n; n--, p += SHA256_BLOCK_LEN) {
        __m128i w[16], abef0 = abef, cdgh0 = cdgh;

        for (int i = 0; i < 16; i++) {
            w[i] = i < 4
                       ? _mm_shuffle_epi8(
                             _mm_loadu_si128((const void *)(p + 16 * i)), swap)
                       : _mm_sha256msg2_epu32(
                             _mm_add_epi32(
                                 _mm_sha256msg1_epu32(w[i - 4], w[i - 3]),
                                 _mm_alignr_epi8(w[i - 1], w[i - 2], 4)),
                             w[i - 1]);
            __m128i kw =
                _mm_add_epi32(w[i], _mm_loadu_si128((const void *)(K + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, kw);
            abef =
                _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(kw, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef0);
        cdgh = _mm_add_epi32(cdgh, cdgh0);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1B);
    __m128i dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((void *)h, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((void *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

// Bit 29 of EBX of leaf 7; SSE4.1 came long before.
static bool has_sha(void)
{
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
}
#endif

static void blocks(uint32_t h[8], const uint8_t *p, size_t n)
{
#if defined(__x86_64__)
    if (has_sha()) {
        blocks_sha(h, p, n);
        return;
    }
#endif
    blocks_portable(h, p, n);
}

void sha256_init(struct sha256 *s)
{
    static const uint32_t H[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };

    memcpy(s->h, H, sizeof H);
    s->len = 0;
}

void sha256_update(struct sha256 *s, const void *buf, size_t len)
{
    const uint8_t *p = buf;
    size_t used = (size_t)(s->len % SHA256_BLOCK_LEN);

    if (len == 0)
        return; // buf may be NULL then
    s->len += len;
    if (used) {
        size_t n = SHA256_BLOCK_LEN - used;

        if (n > len)
            n = len;
        memcpy(s->buf + used, p, n);
        if (used + n < SHA256_BLOCK_LEN)
            return;
        blocks(s->h, s->buf, 1);
        p += n;
        len -= n;
    }
    size_t whole = len / SHA256_BLOCK_LEN;
    if (whole)
        blocks(s->h, p, whole);
    p += whole * SHA256_BLOCK_LEN;
    len %= SHA256_BLOCK_LEN;
    if (len)
        memcpy(s->buf, p, len);
}

void sha256_final(struct sha256 *s, uint8_t out[SHA256_LEN])
{
    static const uint8_t pad[SHA256_BLOCK_LEN] = {0x80};
    uint64_t n_bits = s->len * 8;
    size_t used = (size_t)(s->len % SHA256_BLOCK_LEN);
    uint8_t tail[8];

    for (int i = 0; i < 8; i++)
        tail[i] = (uint8_t)(n_bits >> (56 - 8 * i));
    sha256_update(s, pad, used < 56 ? 56 - used : 120 - used);
    sha256_update(s, tail, sizeof tail);
    for (int i = 0; i < SHA256_LEN; i++)
        out[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

void sha256(const void *buf, size_t len, uint8_t out[SHA256_LEN])
{
    struct sha256 s;

    sha256_init(&s);
    sha256_update(&s, buf, len);
    sha256_final(&s, out);
}
