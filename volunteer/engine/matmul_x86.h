// matmul_x86.h - what the x86 matrix products share, and attention with them:
// vectors of 8 int32 lanes, or of 16, mantissas, and the last step. Only for
// files compiled with AVX2.
#ifndef ENGINE_MATMUL_X86_H
#define ENGINE_MATMUL_X86_H

#include <immintrin.h>

#include "engine/matmul.h"

static inline __m256i x86_load(const void *p)
{
    return _mm256_load_si256(p);
}

static inline __m256i x86_broadcast4(const void *p)
{
    int32_t four;

    __builtin_memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
}

#if defined(__AVX512F__)
static inline __m512i x86_broadcast4_wide(const void *p)
{
    int32_t four;

    __builtin_memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
#endif

// acc * 2^shift as engine_shift does, for lanes whose shift is not above 0,
// plus bias. vpsravd fills with the sign from 32 on, which rounds to 0.
static inline __m256i x86_finish8(__m256i acc, __m256i shift, __m256i bias)
{
    const __m256i max = _mm256_set1_epi32(FORMAT_VALUE_MAX);
    const __m256i min = _mm256_set1_epi32(-FORMAT_VALUE_MAX);
    const __m256i one = _mm256_set1_epi32(1);
    __m256i none = _mm256_cmpeq_epi32(shift, _mm256_setzero_si256());
    __m256i less = _mm256_sub_epi32(_mm256_set1_epi32(-1), shift);
    __m256i v = _mm256_srav_epi32(acc, less);

    v = _mm256_srai_epi32(_mm256_add_epi32(v, one), 1);
    v = _mm256_blendv_epi8(v, acc, none);
    v = _mm256_max_epi32(_mm256_min_epi32(v, max), min);
    v = _mm256_add_epi32(v, bias);
    return _mm256_max_epi32(_mm256_min_epi32(v, max), min);
}

// Eight outputs of one row, n .. n+7.
static inline void x86_finish(int32_t *out, __m256i acc, int32_t row_shift,
                              const struct matmul_weight *weight, size_t n)
{
    __m256i shift =
        _mm256_add_epi32(x86_load(weight->e + n), _mm256_set1_epi32(row_shift));

    if (_mm256_testz_si256(_mm256_cmpgt_epi32(shift, _mm256_setzero_si256()),
                           _mm256_set1_epi32(-1))) {
        _mm256_store_si256((__m256i *)out,
                           x86_finish8(acc, shift, x86_load(weight->b + n)));
        return;
    }
    _Alignas(32) int32_t lane[8];
    _mm256_store_si256((__m256i *)lane, acc);
    for (size_t i = 0; i < 8; i++)
        out[i] = matmul_finish(lane[i], row_shift + weight->e[n + i],
                               weight->b[n + i]);
}

static inline __m256i x86_mantissas(const uint8_t *m)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)m));
}

// (dot * m) >> shift
static inline __m256i x86_scale(__m256i dot, __m256i m, uint32_t shift)
{
    return _mm256_sra_epi32(_mm256_mullo_epi32(dot, m),
                            _mm_cvtsi32_si128((int32_t)shift));
}

static inline uint32_t x86_group_shift(const struct matmul_input *in,
                                       uint32_t t, uint32_t n_groups,
                                       uint32_t g)
{
    return (uint32_t)in->e_max[t] - in->e[(size_t)t * n_groups + g] +
           matmul_spare(n_groups);
}

#endif
