// quantise_row.c with AVX512-VNNI: a group of 64 values is four vectors.
#include <immintrin.h>

#include "engine/twins.h"

enum { LANES = 16, VECTORS = FORMAT_GROUP / LANES };

// The first len of 16 values, then zeros.
static inline __m512i load_some(const int32_t *v, uint32_t len)
{
    uint32_t mask = len >= LANES ? UINT16_MAX : (1U << len) - 1;

    return _mm512_maskz_loadu_epi32((__mmask16)mask, v);
}

static inline uint32_t largest_abs(const __m512i x[VECTORS])
{
    __m512i max = _mm512_abs_epi32(x[0]);

    for (int i = 1; i < VECTORS; i++)
        max = _mm512_max_epu32(max, _mm512_abs_epi32(x[i]));
    return _mm512_reduce_max_epu32(max);
}

// v / 2^shift, rounded half up; shift > 0.
static inline __m512i round_shift(__m512i v, __m128i less)
{
    v = _mm512_add_epi32(_mm512_sra_epi32(v, less), _mm512_set1_epi32(1));
    return _mm512_srai_epi32(v, 1);
}

// Four vectors, narrowed and clamped to +-127, in order.
static inline __m512i narrow(const __m512i x[VECTORS])
{
    // Packing works in 128-bit quarters: the fours end up transposed.
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i y = _mm512_packs_epi16(_mm512_packs_epi32(x[0], x[1]),
                                   _mm512_packs_epi32(x[2], x[3]));

    return _mm512_max_epi8(_mm512_permutexvar_epi32(order, y),
                           _mm512_set1_epi8(-127));
}

uint8_t engine_quantise_vnni512(int8_t *q, uint8_t *e, int32_t *corr,
                                const int32_t *v, uint32_t n)
{
    const __m512i bias = _mm512_set1_epi8(FORMAT_WEIGHT_BIAS);
    uint8_t e_max = 0;

    for (uint32_t from = 0; from < n; from += FORMAT_GROUP, e++, corr++) {
        __m512i x[VECTORS];

        for (uint32_t i = 0; i < VECTORS; i++) {
            uint32_t at = from + i * LANES;

            x[i] = at < n ? load_some(v + at, n - at) : _mm512_setzero_si512();
        }

        uint32_t bits = engine_bits(largest_abs(x));
        uint32_t shift = bits > 7 ? bits - 7 : 0;
        __m128i less = _mm_cvtsi32_si128((int32_t)shift - 1);

        for (int i = 0; shift > 0 && i < VECTORS; i++)
            x[i] = round_shift(x[i], less);
        __m512i y = narrow(x);

        _mm512_storeu_si512(q + from, y);
        *e = (uint8_t)shift;
        *corr = _mm512_reduce_add_epi32(
            _mm512_dpbusd_epi32(_mm512_setzero_si512(), bias, y));
        if (shift > e_max)
            e_max = (uint8_t)shift;
    }
    return e_max;
}
