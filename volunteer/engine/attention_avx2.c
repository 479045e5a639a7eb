// Attention over one KV tile with AVX2. See kernels.h for what is computed.
#include "engine/matmul_x86.h"
#include "engine/twins.h"

enum { SCORE_BITS = 27, LANES = 8 };

// dot * 2^shift, saturated to +-2^27, for |dot| < 2^21 and any shift: by
// engine_shift to the right, and to the left after dot was clamped to what
// still fits.
static __m256i scaled(__m256i dot, __m256i shift)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i left = _mm256_min_epi32(_mm256_max_epi32(shift, zero),
                                    _mm256_set1_epi32(SCORE_BITS));
    __m256i limit = _mm256_srlv_epi32(_mm256_set1_epi32(1 << SCORE_BITS), left);
    __m256i up = _mm256_max_epi32(_mm256_min_epi32(dot, limit),
                                  _mm256_sub_epi32(zero, limit));
    __m256i down =
        _mm256_srav_epi32(dot, _mm256_sub_epi32(_mm256_set1_epi32(-1), shift));

    down = _mm256_srai_epi32(_mm256_add_epi32(down, _mm256_set1_epi32(1)), 1);
    return _mm256_blendv_epi8(_mm256_sllv_epi32(up, left), down,
                              _mm256_srai_epi32(shift, 31));
}

static int32_t largest_lane(__m256i v)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v),
                              _mm256_extracti128_si256(v, 1));

    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1));
    return _mm_cvtsi128_si32(m);
}

int32_t engine_scores_avx2(int32_t *s, const int8_t *q, int32_t shift,
                           const struct kv_tile *tile, uint32_t D, uint32_t n)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i least = _mm256_set1_epi32(-(1 << SCORE_BITS));
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i max = least;

    for (uint32_t t = 0; t < n; t += 2 * LANES) {
        const int8_t *k = tile->k + (size_t)t * D;
        __m256i dot[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};

        // |q| * (k with the sign of q): pairs reach 2*127*127 < 2^15
        for (uint32_t i = 0; i < D; i += 4, k += 64) {
            __m256i four = x86_broadcast4(q + i), abs = _mm256_abs_epi8(four);

            for (int h = 0; h < 2; h++) {
                __m256i keys = _mm256_load_si256((const void *)(k + 32 * h));
                __m256i pairs =
                    _mm256_maddubs_epi16(abs, _mm256_sign_epi8(keys, four));

                dot[h] =
                    _mm256_add_epi32(dot[h], _mm256_madd_epi16(pairs, ones));
            }
        }
        for (uint32_t h = 0; h < 2; h++) {
            uint32_t at = t + LANES * h;
            __m256i exp = _mm256_cvtepu8_epi32(
                _mm_loadl_epi64((const void *)(tile->k_exp + at)));
            __m256i y =
                scaled(dot[h], _mm256_add_epi32(exp, _mm256_set1_epi32(shift)));
            __m256i there = _mm256_cmpgt_epi32(
                _mm256_set1_epi32((int32_t)n - (int32_t)at), lane);

            _mm256_store_si256((void *)(s + at), y);
            max = _mm256_max_epi32(max, _mm256_blendv_epi8(least, y, there));
        }
    }
    return largest_lane(max);
}

// Four positions' p in 16 bits, twice in each half: p0 p1 p2 p3 p0 p1 p2 p3.
static __m256i weights4(const uint8_t *low, const uint8_t *high)
{
    __m128i l = _mm_cvtepu8_epi16(_mm256_castsi256_si128(x86_broadcast4(low)));
    __m128i h = _mm_cvtepu8_epi16(_mm256_castsi256_si128(x86_broadcast4(high)));

    return _mm256_broadcastsi128_si256(_mm_add_epi16(l, _mm_slli_epi16(h, 7)));
}

void engine_mix_avx2(int32_t *acc, const uint8_t *low, const uint8_t *high,
                     const struct kv_tile *tile, uint32_t D, uint32_t n)
{
    __m256i p[KV_PAGE / 4];
    uint32_t n_quads = (n + 3) / 4;

    for (uint32_t j = 0; j < n_quads; j++)
        p[j] = weights4(low + 4 * j, high + 4 * j);
    // Eight dimensions at a time; a lane of `sum` holds two of four positions.
    for (uint32_t i = 0; i < D; i += LANES) {
        const int8_t *v = tile->v + (size_t)i * 4;
        __m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};

        for (uint32_t j = 0; j < n_quads; j++, v += (size_t)D * 4)
            for (int h = 0; h < 2; h++) {
                __m256i wide = _mm256_cvtepi8_epi16(
                    _mm_load_si128((const void *)(v + 16 * h)));

                sum[h] =
                    _mm256_add_epi32(sum[h], _mm256_madd_epi16(wide, p[j]));
            }
        // hadd keeps 128-bit halves apart: 0 1 4 5 2 3 6 7
        __m256i all =
            _mm256_permute4x64_epi64(_mm256_hadd_epi32(sum[0], sum[1]), 0xD8);
        __m256i *out = (__m256i *)(void *)(acc + i);

        _mm256_store_si256(out, _mm256_add_epi32(_mm256_load_si256(out), all));
    }
}
