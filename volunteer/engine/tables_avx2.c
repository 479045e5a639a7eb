// What is looked up in tables, with AVX2's gathers: softmax weights and the
// activation. See attention.c and activation.c for what is computed.
#include <immintrin.h>

#include "engine/twins.h"

enum {
    LANES = 8,
    STEP_BITS = 9, // of the activation table, as in activation.c
    LIMIT = FORMAT_ACT_RANGE << FORMAT_ACT_Q,
};

static __m256i gather(const int32_t *table, __m256i index)
{
    return _mm256_i32gather_epi32(table, index, sizeof *table);
}

// v / 2^s rounded half up, for v of 0 .. 2^30; 0 where s is over 31.
static __m256i round_shift(__m256i v, __m256i s)
{
    __m256i half =
        _mm256_srli_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), s), 1);

    return _mm256_srlv_epi32(_mm256_add_epi32(v, half), s);
}

// p of eight positions, 0 for those past the first n.
static __m256i weights8(const int32_t *s, int32_t max, const int32_t *exp2,
                        int32_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i d = _mm256_sub_epi32(_mm256_set1_epi32(max),
                                 _mm256_load_si256((const void *)s));
    __m256i value = gather(
        exp2, _mm256_and_si256(d, _mm256_set1_epi32(FORMAT_EXP2_LEN - 1)));
    __m256i shift = _mm256_add_epi32(_mm256_srli_epi32(d, FORMAT_SCORE_Q),
                                     _mm256_set1_epi32(16));

    return _mm256_and_si256(round_shift(value, shift),
                            _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane));
}

static int32_t sum_lanes(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v),
                              _mm256_extracti128_si256(v, 1));

    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
    return _mm_cvtsi128_si32(s);
}

// 32 values of 0 .. 127 to bytes, in order.
static void store_bytes(uint8_t *out, const __m256i v[4])
{
    __m256i y = _mm256_packus_epi16(_mm256_packus_epi32(v[0], v[1]),
                                    _mm256_packus_epi32(v[2], v[3]));

    y = _mm256_permutevar8x32_epi32(y,
                                    _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((void *)out, y);
}

uint32_t engine_weights_avx2(uint8_t *low, uint8_t *high, const int32_t *s,
                             int32_t max, const int32_t *exp2,
                             const uint8_t *v_exp, uint8_t e_max, uint32_t n)
{
    __m256i sum = _mm256_setzero_si256();

    for (uint32_t t = 0; t < KV_PAGE; t += 4 * LANES) {
        __m256i lows[4], highs[4];

        for (uint32_t i = 0; i < 4; i++) {
            uint32_t at = t + LANES * i;
            __m256i p = weights8(s + at, max, exp2, (int32_t)n - (int32_t)at);
            __m256i shift = _mm256_sub_epi32(
                _mm256_set1_epi32(e_max), _mm256_cvtepu8_epi32(_mm_loadl_epi64(
                                              (const void *)(v_exp + at))));

            sum = _mm256_add_epi32(sum, p);
            p = round_shift(p, shift);
            lows[i] = _mm256_and_si256(p, _mm256_set1_epi32(127));
            highs[i] = _mm256_srli_epi32(p, 7);
        }
        store_bytes(low + t, lows);
        store_bytes(high + t, highs);
    }
    return (uint32_t)sum_lanes(sum);
}

static __m256i act8(__m256i u, const int32_t *table)
{
    const __m256i limit = _mm256_set1_epi32(LIMIT);
    __m256i inside = _mm256_min_epi32(u, _mm256_set1_epi32(LIMIT - 1));

    inside = _mm256_max_epi32(inside, _mm256_set1_epi32(-LIMIT));
    __m256i at = _mm256_add_epi32(inside, limit);
    __m256i i = _mm256_srli_epi32(at, STEP_BITS);
    __m256i f = _mm256_and_si256(at, _mm256_set1_epi32((1 << STEP_BITS) - 1));
    __m256i y = gather(table, i);
    __m256i d = _mm256_sub_epi32(gather(table + 1, i), y);

    d = _mm256_srai_epi32(_mm256_mullo_epi32(d, f), STEP_BITS - 1);
    d = _mm256_srai_epi32(_mm256_add_epi32(d, _mm256_set1_epi32(1)), 1);
    y = _mm256_add_epi32(y, d);
    y = _mm256_blendv_epi8(y, u,
                           _mm256_cmpgt_epi32(u, _mm256_set1_epi32(LIMIT - 1)));
    return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(-LIMIT), u),
                               y);
}

void engine_act_avx2(int32_t *out, const int32_t *u, const int32_t *table,
                     uint32_t n)
{
    uint32_t i = 0;

    for (; i + LANES <= n; i += LANES)
        _mm256_storeu_si256(
            (void *)(out + i),
            act8(_mm256_loadu_si256((const void *)(u + i)), table));
    engine_act_ref(out + i, u + i, table, n - i);
}
