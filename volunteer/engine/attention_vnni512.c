// Attention over one KV tile with AVX512-VNNI. See kernels.h for what is
// computed. dpbusd wants one unsigned factor: keys are biased by 128, which is
// taken out again; the weights of values are unsigned as they are.
#include "engine/matmul_x86.h"
#include "engine/twins.h"

enum { SCORE_BITS = 27, LANES = 16 };

// dot * 2^shift, saturated to +-2^27, for |dot| < 2^21 and any shift: by
// engine_shift to the right, and to the left after dot was clamped to what
// still fits.
static __m512i scaled(__m512i dot, __m512i shift)
{
    const __m512i zero = _mm512_setzero_si512();
    const __m512i one = _mm512_set1_epi32(1);
    __m512i left = _mm512_min_epi32(_mm512_max_epi32(shift, zero),
                                    _mm512_set1_epi32(SCORE_BITS));
    __m512i limit = _mm512_srlv_epi32(_mm512_set1_epi32(1 << SCORE_BITS), left);
    __m512i up = _mm512_max_epi32(_mm512_min_epi32(dot, limit),
                                  _mm512_sub_epi32(zero, limit));
    __m512i down =
        _mm512_srav_epi32(dot, _mm512_sub_epi32(_mm512_set1_epi32(-1), shift));

    down = _mm512_srai_epi32(_mm512_add_epi32(down, one), 1);
    return _mm512_mask_mov_epi32(_mm512_sllv_epi32(up, left),
                                 _mm512_cmplt_epi32_mask(shift, zero), down);
}

// 128 times the sum of D values, a multiple of 16.
static int32_t bias_of(const int8_t *q, uint32_t D)
{
    __m128i sum = _mm_setzero_si128();

    for (uint32_t i = 0; i < D; i += 16)
        sum = _mm_dpbusd_epi32(sum, _mm_set1_epi8(-128),
                               _mm_loadu_si128((const void *)(q + i)));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1));
    return _mm_cvtsi128_si32(sum);
}

int32_t engine_scores_vnni512(int32_t *s, const int8_t *q, int32_t shift,
                              const struct kv_tile *tile, uint32_t D,
                              uint32_t n)
{
    const __m512i flip = _mm512_set1_epi8(-128);
    const __m512i bias = _mm512_set1_epi32(-bias_of(q, D));
    __m512i max = _mm512_set1_epi32(-(1 << SCORE_BITS));

    for (uint32_t t = 0; t < n; t += LANES) {
        const int8_t *k = tile->k + (size_t)t * D;
        __m512i dot = bias;

        for (uint32_t i = 0; i < D; i += 4, k += 64)
            dot = _mm512_dpbusd_epi32(
                dot, _mm512_xor_si512(_mm512_load_si512(k), flip),
                x86_broadcast4_wide(q + i));

        __m512i exp = _mm512_cvtepu8_epi32(
            _mm_load_si128((const void *)(tile->k_exp + t)));
        uint32_t left = n - t;

        dot = scaled(dot, _mm512_add_epi32(exp, _mm512_set1_epi32(shift)));
        _mm512_store_si512(s + t, dot);
        max = _mm512_mask_max_epi32(
            max, (__mmask16)(left < LANES ? (1U << left) - 1 : UINT16_MAX), max,
            dot);
    }
    return _mm512_reduce_max_epi32(max);
}

void engine_mix_vnni512(int32_t *acc, const uint8_t *low, const uint8_t *high,
                        const struct kv_tile *tile, uint32_t D, uint32_t n)
{
    const uint32_t n_quads = (n + 3) / 4;

    // A lane is a dimension; dpbusd adds four positions to it.
    for (uint32_t i = 0; i < D; i += LANES) {
        const int8_t *v = tile->v + (size_t)i * 4;
        __m512i lows = _mm512_load_si512(acc + i);
        __m512i highs = _mm512_setzero_si512();

        for (uint32_t j = 0; j < n_quads; j++, v += (size_t)D * 4) {
            __m512i four = _mm512_load_si512(v);

            lows = _mm512_dpbusd_epi32(lows, x86_broadcast4_wide(low + 4 * j),
                                       four);
            highs = _mm512_dpbusd_epi32(
                highs, x86_broadcast4_wide(high + 4 * j), four);
        }
        _mm512_store_si512(acc + i,
                           _mm512_add_epi32(lows, _mm512_slli_epi32(highs, 7)));
    }
}
