// The matrix product with AVX512-VNNI, as matmul_vnni.c with vectors of 16
// lanes: one vector holds four columns of all 16 weight rows of a block.
#include "engine/matmul_x86.h"
#include "engine/twins.h"

enum { ROWS_MAX = 12 }; // sums in flight: latency times throughput of dpbusd

static inline __attribute__((always_inline)) void
tile(int32_t *out, size_t ld, const struct matmul_input *in, uint32_t t,
     const struct matmul_weight *weight, uint32_t b, const int R)
{
    const uint32_t G = weight->n_groups;
    const size_t step = (size_t)G * FORMAT_GROUP;
    const uint8_t *w = weight->w + (size_t)b * G * FORMAT_TILE;
    const uint8_t *m = weight->m + (size_t)b * G * FORMAT_BLOCK;
    const int8_t *q = in->q + t * step;
    __m512i acc[ROWS_MAX];

    for (int r = 0; r < R; r++)
        acc[r] = _mm512_setzero_si512();
    for (uint32_t g = 0; g < G; g++, m += FORMAT_BLOCK, q += FORMAT_GROUP) {
        __m512i mant = _mm512_cvtepu8_epi32(
            _mm_load_si128((const __m128i *)(const void *)m));
        __m512i dot[ROWS_MAX];

#pragma GCC unroll 12
        for (int r = 0; r < R; r++)
            dot[r] = _mm512_set1_epi32(-in->corr[(t + (size_t)r) * G + g]);
        for (int k = 0; k < FORMAT_GROUP; k += 4, w += 64) {
            __m512i four = _mm512_load_si512(w);

#pragma GCC unroll 12
            for (int r = 0; r < R; r++) {
                int32_t a;

                __builtin_memcpy(&a, q + (size_t)r * step + k, sizeof a);
                dot[r] =
                    _mm512_dpbusd_epi32(dot[r], four, _mm512_set1_epi32(a));
            }
        }
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            uint32_t s = x86_group_shift(in, t + (uint32_t)r, G, g);

            acc[r] = _mm512_add_epi32(
                acc[r], _mm512_sra_epi32(_mm512_mullo_epi32(dot[r], mant),
                                         _mm_cvtsi32_si128((int32_t)s)));
        }
    }
    for (int r = 0; r < R; r++) {
        int32_t shift = in->e_max[t + (uint32_t)r] + (int32_t)matmul_spare(G);
        int32_t *o = out + (size_t)r * ld;
        size_t n = (size_t)b * FORMAT_BLOCK;

        x86_finish(o, _mm512_castsi512_si256(acc[r]), shift, weight, n);
        x86_finish(o + 8, _mm512_extracti64x4_epi64(acc[r], 1), shift, weight,
                   n + 8);
    }
}

void matmul_vnni512(int32_t *out, size_t ld, const struct matmul_input *in,
                    const struct matmul_weight *weight, uint32_t block,
                    uint32_t block_end)
{
    for (uint32_t b = block; b < block_end; b++) {
        int32_t *o = out + (size_t)b * FORMAT_BLOCK;
        uint32_t t = 0;

        for (; t + 12 <= in->n_rows; t += 12)
            tile(o + t * ld, ld, in, t, weight, b, 12);
        for (; t + 4 <= in->n_rows; t += 4)
            tile(o + t * ld, ld, in, t, weight, b, 4);
        for (; t < in->n_rows; t++)
            tile(o + t * ld, ld, in, t, weight, b, 1);
    }
}
