// The matrix product with AVX2. Two shapes:
//
// One row is bound by memory: weights are asked for ahead (a fifth faster), go
// biased as they are straight into maddubs, and corr takes the bias out. Pairs
// reach 2*127*127 = 32258, so none saturates.
//
// Several rows are bound by the multiplier ports. There w is split once for all
// rows into |w| <= 63 and its sign, and the sign is given to the activations:
// then two pairs together reach 4*63*127 = 32004, so they are added in 16 bits
// before madd: 3 multiplications for 64 products instead of 4.
#include "engine/matmul_x86.h"
#include "engine/twins.h"

enum {
    ROWS_MAX = 8,         // rows a tile: their sums stay in registers
    PREFETCH_AHEAD = 1024 // bytes: the processor's own stops at each page
};

// Row t against block b.
static void one_row(int32_t *out, const struct matmul_input *in, uint32_t t,
                    const struct matmul_weight *weight, uint32_t b)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const uint32_t G = weight->n_groups;
    const int8_t *q = in->q + (size_t)t * G * FORMAT_GROUP;
    const uint8_t *w = weight->w + (size_t)b * G * FORMAT_TILE;
    const uint8_t *m = weight->m + (size_t)b * G * FORMAT_BLOCK;
    __m256i acc0 = _mm256_setzero_si256(), acc1 = acc0;

    for (uint32_t g = 0; g < G; g++) {
        __m256i dot0 = _mm256_set1_epi32(-in->corr[(size_t)t * G + g]);
        __m256i dot1 = dot0;

        for (int k = 0; k < FORMAT_GROUP; k += 4, w += 64) {
            __m256i a = x86_broadcast4(q + k);

            _mm_prefetch((const char *)w + PREFETCH_AHEAD, _MM_HINT_T0);
            __m256i p0 = _mm256_maddubs_epi16(x86_load(w), a);
            __m256i p1 = _mm256_maddubs_epi16(x86_load(w + 32), a);

            dot0 = _mm256_add_epi32(dot0, _mm256_madd_epi16(p0, ones));
            dot1 = _mm256_add_epi32(dot1, _mm256_madd_epi16(p1, ones));
        }
        q += FORMAT_GROUP;
        uint32_t s = x86_group_shift(in, t, G, g);
        acc0 = _mm256_add_epi32(acc0, x86_scale(dot0, x86_mantissas(m), s));
        acc1 = _mm256_add_epi32(acc1, x86_scale(dot1, x86_mantissas(m + 8), s));
        m += FORMAT_BLOCK;
    }
    int32_t shift = in->e_max[t] + (int32_t)matmul_spare(G);
    x86_finish(out, acc0, shift, weight, (size_t)b * FORMAT_BLOCK);
    x86_finish(out + 8, acc1, shift, weight, (size_t)b * FORMAT_BLOCK + 8);
}

// Adds the products of R rows and 8 weight rows over one group to dot.
// w is the group's tile, q the first row's group, the rows `step` apart.
static inline __attribute__((always_inline)) void
group_dots(__m256i *dot, const uint8_t *w, const int8_t *q, size_t step,
           const int R)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i middle = _mm256_set1_epi8(FORMAT_WEIGHT_BIAS);

    for (int k = 0; k < FORMAT_GROUP; k += 8) {
        __m256i w0 = _mm256_sub_epi8(x86_load(w + 16 * k), middle);
        __m256i w1 = _mm256_sub_epi8(x86_load(w + 16 * k + 64), middle);
        __m256i abs0 = _mm256_abs_epi8(w0), abs1 = _mm256_abs_epi8(w1);

#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const int8_t *a = q + (size_t)r * step + k;
            __m256i p0 = _mm256_maddubs_epi16(
                abs0, _mm256_sign_epi8(x86_broadcast4(a), w0));
            __m256i p1 = _mm256_maddubs_epi16(
                abs1, _mm256_sign_epi8(x86_broadcast4(a + 4), w1));

            dot[r] = _mm256_add_epi32(
                dot[r], _mm256_madd_epi16(_mm256_add_epi16(p0, p1), ones));
        }
    }
}

// R rows from t on against 8 rows of block b, from row `half` (0 or 8) on.
static inline __attribute__((always_inline)) void
tile(int32_t *out, size_t ld, const struct matmul_input *in, uint32_t t,
     const struct matmul_weight *weight, uint32_t b, uint32_t half, const int R)
{
    const uint32_t G = weight->n_groups;
    const size_t step = (size_t)G * FORMAT_GROUP;
    const uint8_t *w = weight->w + (size_t)b * G * FORMAT_TILE + half * 4;
    const uint8_t *m = weight->m + (size_t)b * G * FORMAT_BLOCK + half;
    __m256i acc[ROWS_MAX];

    for (int r = 0; r < R; r++)
        acc[r] = _mm256_setzero_si256();
    for (uint32_t g = 0; g < G; g++) {
        __m256i dot[ROWS_MAX];
        __m256i mant = x86_mantissas(m + (size_t)g * FORMAT_BLOCK);

#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
            dot[r] = _mm256_setzero_si256();
        group_dots(dot, w + (size_t)g * FORMAT_TILE,
                   in->q + t * step + (size_t)g * FORMAT_GROUP, step, R);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
            acc[r] = _mm256_add_epi32(
                acc[r], x86_scale(dot[r], mant,
                                  x86_group_shift(in, t + (uint32_t)r, G, g)));
    }
    for (int r = 0; r < R; r++)
        x86_finish(out + (size_t)r * ld, acc[r],
                   in->e_max[t + (uint32_t)r] + (int32_t)matmul_spare(G),
                   weight, (size_t)b * FORMAT_BLOCK + half);
}

static void rows(int32_t *out, size_t ld, const struct matmul_input *in,
                 uint32_t t, const struct matmul_weight *weight, uint32_t b,
                 uint32_t n_rows)
{
    for (uint32_t half = 0; half < FORMAT_BLOCK; half += 8, out += 8) {
        switch (n_rows) {
        case 2:
            tile(out, ld, in, t, weight, b, half, 2);
            break;
        case 3:
            tile(out, ld, in, t, weight, b, half, 3);
            break;
        case 4:
            tile(out, ld, in, t, weight, b, half, 4);
            break;
        case 5:
            tile(out, ld, in, t, weight, b, half, 5);
            break;
        case 6:
            tile(out, ld, in, t, weight, b, half, 6);
            break;
        case 7:
            tile(out, ld, in, t, weight, b, half, 7);
            break;
        default:
            tile(out, ld, in, t, weight, b, half, 8);
        }
    }
}

void matmul_avx2(int32_t *out, size_t ld, const struct matmul_input *in,
                 const struct matmul_weight *weight, uint32_t block,
                 uint32_t block_end)
{
    for (uint32_t b = block; b < block_end; b++) {
        for (uint32_t t = 0; t < in->n_rows;) {
            uint32_t left = in->n_rows - t;
            uint32_t n = left < ROWS_MAX ? left : ROWS_MAX;
            int32_t *tile_out = out + t * ld + (size_t)b * FORMAT_BLOCK;

            if (n == 1)
                one_row(tile_out, in, t, weight, b);
            else
                rows(tile_out, ld, in, t, weight, b, n);
            t += n;
        }
    }
}
