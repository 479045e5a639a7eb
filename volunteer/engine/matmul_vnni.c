// The matrix product with AVX-VNNI: dpbusd adds four products of a biased
// weight (1..127) and an activation to a lane at once, exactly; corr takes the
// bias out. A tile is R rows by 16 weight rows.
#include "engine/matmul_x86.h"
#include "engine/twins.h"

enum { ROWS_MAX = 6 }; // 12 sums, 2 vectors of weights and one of activations

static inline __attribute__((always_inline)) void
tile(int32_t *out, size_t ld, const struct matmul_input *in, uint32_t t,
     const struct matmul_weight *weight, uint32_t b, const int R)
{
    const uint32_t G = weight->n_groups;
    const size_t step = (size_t)G * FORMAT_GROUP;
    const uint8_t *w = weight->w + (size_t)b * G * FORMAT_TILE;
    const uint8_t *m = weight->m + (size_t)b * G * FORMAT_BLOCK;
    const int8_t *q = in->q + t * step;
    __m256i acc[2 * ROWS_MAX];

    for (int i = 0; i < 2 * R; i++)
        acc[i] = _mm256_setzero_si256();
    for (uint32_t g = 0; g < G; g++, m += FORMAT_BLOCK, q += FORMAT_GROUP) {
        __m256i dot[2 * ROWS_MAX];

#pragma GCC unroll 12
        for (int i = 0; i < 2 * R; i++)
            dot[i] = _mm256_set1_epi32(-in->corr[(t + (size_t)i / 2) * G + g]);
        for (int k = 0; k < FORMAT_GROUP; k += 4, w += 64) {
            __m256i w0 = x86_load(w), w1 = x86_load(w + 32);

#pragma GCC unroll 6
            for (int r = 0; r < R; r++) {
                __m256i a = x86_broadcast4(q + (size_t)r * step + k);

                dot[2 * r] = _mm256_dpbusd_avx_epi32(dot[2 * r], w0, a);
                dot[2 * r + 1] = _mm256_dpbusd_avx_epi32(dot[2 * r + 1], w1, a);
            }
        }
#pragma GCC unroll 12
        for (int i = 0; i < 2 * R; i++)
            acc[i] = _mm256_add_epi32(
                acc[i],
                x86_scale(dot[i], x86_mantissas(m + 8 * (i % 2)),
                          x86_group_shift(in, t + (uint32_t)i / 2, G, g)));
    }
    for (int i = 0; i < 2 * R; i++) {
        int half = 8 * (i % 2);

        x86_finish(out + (size_t)(i / 2) * ld + half, acc[i],
                   in->e_max[t + (uint32_t)i / 2] + (int32_t)matmul_spare(G),
                   weight, (size_t)b * FORMAT_BLOCK + (size_t)half);
    }
}

void matmul_vnni(int32_t *out, size_t ld, const struct matmul_input *in,
                 const struct matmul_weight *weight, uint32_t block,
                 uint32_t block_end)
{
    for (uint32_t b = block; b < block_end; b++) {
        int32_t *o = out + (size_t)b * FORMAT_BLOCK;
        uint32_t t = 0;

        for (; t + 6 <= in->n_rows; t += 6)
            tile(o + t * ld, ld, in, t, weight, b, 6);
        for (; t + 3 <= in->n_rows; t += 3)
            tile(o + t * ld, ld, in, t, weight, b, 3);
        for (; t < in->n_rows; t++)
            tile(o + t * ld, ld, in, t, weight, b, 1);
    }
}
