// The matrix product with AVX512-VNNI: dpbusd adds four products of a biased
// weight (1..127) and an activation to each of 16 lanes, exactly; corr takes
// the bias out. One vector holds four columns of all 16 weight rows of a block.
//
// One row is bound by memory: weights are asked for a little ahead, into the
// second cache (into the first it is slower than not at all). Several rows,
// from quads (matmul.h), are bound by dpbusd, one a cycle, while the weights
// two blocks ahead come into the second cache, a line for each line read
// (measured, 16 rows: 190 G MAC/s, without that 140).
#include "engine/matmul_x86.h"
#include "engine/twins.h"

enum {
    TILE_ROWS = MATMUL_PANEL_ROWS, // sums of products, and as many over groups
    BLOCKS_AHEAD = 2,              // that are asked for
    PREFETCH_AHEAD = 1024 // bytes: the processor's own stops at each page
};

static inline __m512i mantissas(const uint8_t *m)
{
    return _mm512_cvtepu8_epi32(
        _mm_load_si128((const __m128i *)(const void *)m));
}

// dot += the products of four columns. In assembly, because compilers move each
// sum to another register and back.
static inline void add_products(__m512i *dot, __m512i w, const int32_t *four)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(*dot) : "v"(w), "m"(*four));
}

// acc * 2^shift as engine_shift does, for lanes whose shift is not above 0,
// plus bias; see x86_finish8.
static inline __m512i finish16(__m512i acc, __m512i shift, __m512i bias)
{
    const __m512i max = _mm512_set1_epi32(FORMAT_VALUE_MAX);
    const __m512i min = _mm512_set1_epi32(-FORMAT_VALUE_MAX);
    const __m512i one = _mm512_set1_epi32(1);
    __mmask16 less = _mm512_cmplt_epi32_mask(shift, _mm512_setzero_si512());
    __m512i v =
        _mm512_srav_epi32(acc, _mm512_sub_epi32(_mm512_set1_epi32(-1), shift));

    v = _mm512_mask_srai_epi32(acc, less, _mm512_add_epi32(v, one), 1);
    v = _mm512_max_epi32(_mm512_min_epi32(v, max), min);
    v = _mm512_add_epi32(v, bias);
    return _mm512_max_epi32(_mm512_min_epi32(v, max), min);
}

// Row t's outputs of block b.
static inline void finish(int32_t *out, __m512i acc,
                          const struct matmul_input *in, uint32_t t,
                          const struct matmul_weight *weight, uint32_t b)
{
    const size_t n = (size_t)b * FORMAT_BLOCK;
    int32_t by = in->e_max[t] + (int32_t)matmul_spare(weight->n_groups);
    __m512i shift = _mm512_add_epi32(_mm512_load_si512(weight->e + n),
                                     _mm512_set1_epi32(by));

    if (_mm512_cmpgt_epi32_mask(shift, _mm512_setzero_si512())) { // rare
        x86_finish(out, _mm512_castsi512_si256(acc), by, weight, n);
        x86_finish(out + 8, _mm512_extracti64x4_epi64(acc, 1), by, weight,
                   n + 8);
        return;
    }
    _mm512_store_si512(out,
                       finish16(acc, shift, _mm512_load_si512(weight->b + n)));
}

// One row against block b.
static void one_row(int32_t *out, const struct matmul_input *in,
                    const struct matmul_weight *weight, uint32_t b)
{
    const uint32_t G = weight->n_groups;
    const uint8_t *w = weight->w + (size_t)b * G * FORMAT_TILE;
    const uint8_t *m = weight->m + (size_t)b * G * FORMAT_BLOCK;
    const int8_t *q = in->q;
    __m512i acc = _mm512_setzero_si512();

    for (uint32_t g = 0; g < G; g++, m += FORMAT_BLOCK) {
        __m512i dot = _mm512_set1_epi32(-in->corr[g]);
        __m128i shift = _mm_cvtsi32_si128((int)x86_group_shift(in, 0, G, g));

        for (int k = 0; k < FORMAT_GROUP; k += 4, w += 64, q += 4) {
            _mm_prefetch((const char *)w + PREFETCH_AHEAD, _MM_HINT_T1);
            dot = _mm512_dpbusd_epi32(dot, _mm512_load_si512(w),
                                      x86_broadcast4_wide(q));
        }
        dot = _mm512_mullo_epi32(dot, mantissas(m));
        acc = _mm512_add_epi32(acc, _mm512_sra_epi32(dot, shift));
    }
    finish(out, acc, in, 0, weight, b);
}

// R rows from t (a multiple of 8) on against block b.
static inline __attribute__((always_inline)) void
tile(int32_t *out, size_t ld, const struct matmul_input *in, uint32_t t,
     const struct matmul_weight *weight, uint32_t b, const int R)
{
    const uint32_t G = weight->n_groups;
    const size_t ahead = (size_t)BLOCKS_AHEAD * G * FORMAT_TILE;
    const uint8_t *w = weight->w + (size_t)b * G * FORMAT_TILE;
    const uint8_t *m = weight->m + (size_t)b * G * FORMAT_BLOCK;
    const struct matmul_quads *quads = in->panels;
    __m512i acc[TILE_ROWS];

    quads += (size_t)(t / MATMUL_PANEL_ROWS) * G;
    for (int r = 0; r < R; r++)
        acc[r] = _mm512_setzero_si512();
    for (uint32_t g = 0; g < G; g++, m += FORMAT_BLOCK, quads++) {
        __m512i mant = mantissas(m);
        __m512i dot[TILE_ROWS];

#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
            dot[r] = _mm512_setzero_si512();
#pragma GCC unroll 1
        for (int i = 0; i < FORMAT_GROUP / 4; i++, w += 64) {
            __m512i four = _mm512_load_si512(w);

            if (R > 3)
                _mm_prefetch((const char *)w + ahead, _MM_HINT_T1);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++)
                add_products(&dot[r], four, &quads->q[i][r]);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            __m512i bias = _mm512_set1_epi32(quads->corr[r]);
            __m512i scaled =
                _mm512_mullo_epi32(_mm512_sub_epi32(dot[r], bias), mant);

            acc[r] = _mm512_add_epi32(
                acc[r],
                _mm512_srav_epi32(scaled, _mm512_set1_epi32(quads->shift[r])));
        }
    }
    for (int r = 0; r < R; r++)
        finish(out + (size_t)r * ld, acc[r], in, t + (uint32_t)r, weight, b);
}

// n rows (1 .. TILE_ROWS) from t on against block b.
static void rows(int32_t *out, size_t ld, const struct matmul_input *in,
                 uint32_t t, const struct matmul_weight *weight, uint32_t b,
                 uint32_t n)
{
#define ROWS(R)                             \
    case R:                                 \
        tile(out, ld, in, t, weight, b, R); \
        break

    switch (n) {
        ROWS(1);
        ROWS(2);
        ROWS(3);
        ROWS(4);
        ROWS(5);
        ROWS(6);
        ROWS(7);
    default:
        tile(out, ld, in, t, weight, b, TILE_ROWS);
    }
#undef ROWS
}

void matmul_vnni512(int32_t *out, size_t ld, const struct matmul_input *in,
                    const struct matmul_weight *weight, uint32_t block,
                    uint32_t block_end)
{
    for (uint32_t b = block; b < block_end; b++) {
        int32_t *o = out + (size_t)b * FORMAT_BLOCK;

        if (in->n_rows == 1)
            one_row(o, in, weight, b);
        for (uint32_t t = 0; in->n_rows > 1 && t < in->n_rows; t += TILE_ROWS)
            rows(o + t * ld, ld, in, t, weight, b, in->n_rows - t);
    }
}
