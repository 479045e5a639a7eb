// norm.c with AVX2. Products of 64 bits are made in two halves, even and odd
// lanes; AVX2 has no arithmetic shift of 64 bits, so they are shifted from
// above zero.
#include <immintrin.h>
#include <string.h>

#include "engine/norm.h"
#include "engine/twins.h"

enum { LANES = 8 };

static const int64_t LIFT = INT64_C(1) << 62; // above any product here

struct step {
    __m256i mean, d_max;
    __m128i less; // the deviation's shift less 1
    bool shifted;
};

static __m256i deviation(__m256i x, const struct step *p)
{
    __m256i d = _mm256_sub_epi32(x, p->mean);

    if (p->shifted)
        d = _mm256_srai_epi32(_mm256_add_epi32(_mm256_sra_epi32(d, p->less),
                                               _mm256_set1_epi32(1)),
                              1);
    d = _mm256_min_epi32(d, p->d_max);
    return _mm256_max_epi32(d,
                            _mm256_sub_epi32(_mm256_setzero_si256(), p->d_max));
}

// p / 2^s in each 64-bit lane, rounded half up.
static __m256i round_shift64(__m256i p, uint32_t s)
{
    int64_t half = s ? INT64_C(1) << (s - 1) : 0;

    p = _mm256_srl_epi64(_mm256_add_epi64(p, _mm256_set1_epi64x(LIFT + half)),
                         _mm_cvtsi32_si128((int32_t)s));
    return _mm256_sub_epi64(p, _mm256_set1_epi64x(LIFT >> s));
}

static __m256i clamp64(__m256i v)
{
    const __m256i max = _mm256_set1_epi64x(FORMAT_VALUE_MAX);
    const __m256i min = _mm256_set1_epi64x(-FORMAT_VALUE_MAX);

    v = _mm256_blendv_epi8(v, max, _mm256_cmpgt_epi64(v, max));
    return _mm256_blendv_epi8(v, min, _mm256_cmpgt_epi64(min, v));
}

// The even lanes of d and gain (their low halves) to outputs without bias.
static __m256i half_row(__m256i d, __m256i gain, struct norm_factor f)
{
    __m256i norm =
        round_shift64(_mm256_mul_epi32(d, _mm256_set1_epi32(f.inv)), f.shift);

    return clamp64(round_shift64(_mm256_mul_epi32(norm, gain), FORMAT_NORM_Q));
}

static __m256i odd(__m256i v)
{
    return _mm256_srli_epi64(v, 32);
}

static __m256i eight(const int32_t *x, const int32_t *gain,
                     const struct step *p, struct norm_factor f)
{
    __m256i d = deviation(_mm256_loadu_si256((const void *)x), p);
    __m256i g = _mm256_loadu_si256((const void *)gain);
    __m256i even = half_row(d, g, f);
    __m256i rest = half_row(odd(d), odd(g), f);

    return _mm256_blend_epi32(even, _mm256_slli_epi64(rest, 32), 0xAA);
}

static uint32_t largest_abs(const int32_t *x, uint32_t n, int32_t mean)
{
    uint32_t max = 0;
    __m256i m = _mm256_setzero_si256();
    uint32_t i = 0, lane[LANES];

    for (; i + LANES <= n; i += LANES)
        m = _mm256_max_epu32(m, _mm256_abs_epi32(_mm256_sub_epi32(
                                    _mm256_loadu_si256((const void *)(x + i)),
                                    _mm256_set1_epi32(mean))));
    _mm256_storeu_si256((void *)lane, m);
    for (int l = 0; l < LANES; l++)
        max = lane[l] > max ? lane[l] : max;
    for (; i < n; i++)
        max = engine_abs(x[i] - mean) > max ? engine_abs(x[i] - mean) : max;
    return max;
}

static __m256i squares(__m256i x, const struct step *p)
{
    __m256i d = deviation(x, p);

    return _mm256_add_epi64(_mm256_mul_epi32(d, d),
                            _mm256_mul_epi32(odd(d), odd(d)));
}

// The last n < 8 values, and as many of `fill`.
static __m256i tail(const int32_t *x, uint32_t n, int32_t fill)
{
    int32_t lane[LANES];

    for (uint32_t i = 0; i < LANES; i++)
        lane[i] = i < n ? x[i] : fill;
    return _mm256_loadu_si256((const void *)lane);
}

static uint64_t sum_of_squares(const int32_t *x, uint32_t n, int32_t mean,
                               const struct step *p)
{
    __m256i sum = _mm256_setzero_si256();
    uint64_t lane[4];
    uint32_t i = 0;

    for (; i + LANES <= n; i += LANES)
        sum = _mm256_add_epi64(
            sum, squares(_mm256_loadu_si256((const void *)(x + i)), p));
    sum = _mm256_add_epi64(sum, squares(tail(x + i, n - i, mean), p));
    _mm256_storeu_si256((void *)lane, sum);
    return lane[0] + lane[1] + lane[2] + lane[3];
}

static __m256i with_bias(__m256i y, const int32_t *bias)
{
    const __m256i max = _mm256_set1_epi32(FORMAT_VALUE_MAX);
    const __m256i min = _mm256_set1_epi32(-FORMAT_VALUE_MAX);

    y = _mm256_add_epi32(y, _mm256_loadu_si256((const void *)bias));
    return _mm256_max_epi32(_mm256_min_epi32(y, max), min);
}

void engine_norm_avx2(int32_t *out, const int32_t *x, const int32_t *gain,
                      const int32_t *bias, uint32_t n, uint64_t eps,
                      bool centre)
{
    int32_t mean = centre ? norm_mean(x, n) : 0;
    uint32_t bits = engine_bits(largest_abs(x, n, mean));
    uint32_t s = bits > NORM_BITS ? bits - NORM_BITS : 0;
    struct step p = {_mm256_set1_epi32(mean),
                     _mm256_set1_epi32((1 << NORM_BITS) - 1),
                     _mm_cvtsi32_si128((int32_t)s - 1), s > 0};
    struct norm_factor f =
        norm_factor(sum_of_squares(x, n, mean, &p), n, eps, s);
    uint32_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        __m256i y = eight(x + i, gain + i, &p, f);

        _mm256_storeu_si256((void *)(out + i),
                            bias ? with_bias(y, bias + i) : y);
    }
    if (i < n) {
        int32_t part[4][LANES] = {{0}};
        size_t len = (n - i) * sizeof *x;

        memcpy(part[0], x + i, len);
        memcpy(part[1], gain + i, len);
        if (bias)
            memcpy(part[2], bias + i, len);
        _mm256_storeu_si256((void *)part[3],
                            with_bias(eight(part[0], part[1], &p, f), part[2]));
        memcpy(out + i, part[3], len);
    }
}
