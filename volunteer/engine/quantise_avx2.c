// quantise_row.c with AVX2: a group of 64 values is eight vectors.
#include <immintrin.h>
#include <string.h>

#include "engine/twins.h"

enum { LANES = 8, VECTORS = FORMAT_GROUP / LANES };

static uint32_t largest_abs(const __m256i v[VECTORS])
{
    __m256i max = _mm256_setzero_si256();

    for (int i = 0; i < VECTORS; i++)
        max = _mm256_max_epu32(max, _mm256_abs_epi32(v[i]));
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(max),
                              _mm256_extracti128_si256(max, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4E));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xB1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

// v / 2^shift, rounded half up.
static void round_shift(__m256i v[VECTORS], uint32_t shift)
{
    __m128i less = _mm_cvtsi32_si128((int32_t)shift - 1);

    if (shift == 0)
        return;
    for (int i = 0; i < VECTORS; i++)
        v[i] = _mm256_srai_epi32(_mm256_add_epi32(_mm256_sra_epi32(v[i], less),
                                                  _mm256_set1_epi32(1)),
                                 1);
}

// Four vectors, narrowed and clamped to +-127, in order.
static __m256i narrow(const __m256i v[4])
{
    // Packing works in 128-bit halves: the fours end up as 0 2 4 6 1 3 5 7.
    __m256i y = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]),
                                   _mm256_packs_epi32(v[2], v[3]));

    y = _mm256_permutevar8x32_epi32(y,
                                    _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    return _mm256_max_epi8(y, _mm256_set1_epi8(-127));
}

static int32_t sum_of(__m256i a, __m256i b)
{
    const __m256i ones = _mm256_set1_epi8(1);
    __m256i s = _mm256_add_epi16(_mm256_maddubs_epi16(ones, a),
                                 _mm256_maddubs_epi16(ones, b));

    s = _mm256_madd_epi16(s, _mm256_set1_epi16(1));
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s),
                              _mm256_extracti128_si256(s, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4E));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xB1));
    return _mm_cvtsi128_si32(t);
}

uint8_t engine_quantise_avx2(int8_t *q, uint8_t *e, int32_t *corr,
                             const int32_t *v, uint32_t n)
{
    uint8_t e_max = 0;

    for (uint32_t from = 0; from < n; from += FORMAT_GROUP, e++, corr++) {
        uint32_t len = n - from < FORMAT_GROUP ? n - from : FORMAT_GROUP;
        __m256i x[VECTORS];

        if (len == FORMAT_GROUP) { // a copy of known length stays in registers
            memcpy(x, v + from, sizeof x);
        } else {
            memset(x, 0, sizeof x);
            memcpy(x, v + from, len * sizeof *v);
        }

        uint32_t bits = engine_bits(largest_abs(x));
        uint32_t shift = bits > 7 ? bits - 7 : 0;

        round_shift(x, shift);
        __m256i a = narrow(x), b = narrow(x + 4);
        _mm256_storeu_si256((void *)(q + from), a);
        _mm256_storeu_si256((void *)(q + from + 32), b);
        *e = (uint8_t)shift;
        *corr = sum_of(a, b) * FORMAT_WEIGHT_BIAS;
        if (shift > e_max)
            e_max = (uint8_t)shift;
    }
    return e_max;
}
