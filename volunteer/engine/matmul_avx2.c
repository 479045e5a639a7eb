// The matrix product with AVX2. Two shapes:
//
// One row is bound by memory: weights are asked for ahead, into the second
// cache (into the first costs a third of the speed on some processors), go
// biased as they are straight into maddubs, and corr takes the bias out. Pairs
// reach 2*127*127 = 32258, so none saturates.
//
// Several rows are bound by the multiplier ports, of which there are two: four
// rows at a time against all 16 weight rows of a block, while those two blocks
// ahead come into the second cache, a line for each line read. From panels
// (matmul.h) the products of 16 columns are added in 16 bits before madd: 5
// multiplications for 128 products. A group that is wide in any of the rows
// goes the way of one row.
#include <string.h>

#include "engine/matmul_x86.h"
#include "engine/twins.h"

enum {
    TILE_ROWS = 4,
    HALVES = 2,            // vectors of weight rows in a block
    PREFETCH_AHEAD = 1024, // bytes: the processor's own stops at each page
    BLOCKS_AHEAD = 2
};

// Adds (dot * m) >> shift of row t to acc, over group g of block b.
static inline void add_group(__m256i acc[HALVES], const struct matmul_input *in,
                             uint32_t t, const struct matmul_weight *weight,
                             uint32_t b, uint32_t g)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const size_t at = (size_t)t * weight->n_groups + g;
    const size_t group = (size_t)b * weight->n_groups + g;
    const int8_t *q = in->q + at * FORMAT_GROUP;
    const uint8_t *w = weight->w + group * FORMAT_TILE;
    const uint8_t *m = weight->m + group * FORMAT_BLOCK;
    uint32_t s = x86_group_shift(in, t, weight->n_groups, g);
    __m256i dot0 = _mm256_set1_epi32(-in->corr[at]), dot1 = dot0;

    for (int k = 0; k < FORMAT_GROUP; k += 4, w += 64) {
        __m256i a = x86_broadcast4(q + k);

        _mm_prefetch((const char *)w + PREFETCH_AHEAD, _MM_HINT_T1);
        __m256i p0 = _mm256_maddubs_epi16(x86_load(w), a);
        __m256i p1 = _mm256_maddubs_epi16(x86_load(w + 32), a);

        dot0 = _mm256_add_epi32(dot0, _mm256_madd_epi16(p0, ones));
        dot1 = _mm256_add_epi32(dot1, _mm256_madd_epi16(p1, ones));
    }
    acc[0] = _mm256_add_epi32(acc[0], x86_scale(dot0, x86_mantissas(m), s));
    acc[1] = _mm256_add_epi32(acc[1], x86_scale(dot1, x86_mantissas(m + 8), s));
}

// Row t's outputs of block b.
static inline void finish(int32_t *out, const __m256i acc[HALVES],
                          const struct matmul_input *in, uint32_t t,
                          const struct matmul_weight *weight, uint32_t b)
{
    const size_t n = (size_t)b * FORMAT_BLOCK;
    int32_t shift = in->e_max[t] + (int32_t)matmul_spare(weight->n_groups);

    x86_finish(out, acc[0], shift, weight, n);
    x86_finish(out + 8, acc[1], shift, weight, n + 8);
}

// Row t against block b.
static void one_row(int32_t *out, const struct matmul_input *in, uint32_t t,
                    const struct matmul_weight *weight, uint32_t b)
{
    __m256i acc[HALVES] = {_mm256_setzero_si256(), _mm256_setzero_si256()};

    for (uint32_t g = 0; g < weight->n_groups; g++)
        add_group(acc, in, t, weight, b, g);
    finish(out, acc, in, t, weight, b);
}

// sum + the products of four columns, by pairs. Nothing is emitted for the
// asm: it keeps the compiler from making each sum's chain of products in one
// piece, which needs more registers than there are (measured: a third of the
// speed).
static inline __m256i add_products(__m256i sum, __m256i w, __m256i a)
{
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, a));
    __asm__("" : "+x"(sum));
    return sum;
}

// acc[2 * r + half] += (dot * m) >> shift over a group, for R rows from `row`
// of the panel on, but those that are wide. w and m are the group's; meanwhile
// asks for what lies so many bytes ahead of w.
static inline __attribute__((always_inline)) void
add_tame(__m256i *acc, const uint8_t *w, const uint8_t *m, size_t ahead,
         const struct matmul_panel *panel, uint32_t row, const int R)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i dot[HALVES * TILE_ROWS];

#pragma GCC unroll 8
    for (int i = 0; i < HALVES * R; i++)
        dot[i] = _mm256_setzero_si256();
#pragma GCC unroll 1
    for (int part = 0; part < 4; part++, w += 4 * 64) {
        const int8_t *q = panel->part[part].q[row];
        __m256i sum[HALVES * TILE_ROWS];

#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
            sum[2 * r] = sum[2 * r + 1] =
                x86_broadcast4(panel->part[part].fix[row + (uint32_t)r]);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            __m256i w0 = x86_load(w + 64 * k), w1 = x86_load(w + 64 * k + 32);

            _mm_prefetch((const char *)w + 64 * k + ahead, _MM_HINT_T1);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                __m256i a = x86_broadcast4(q + 16 * r + 4 * k);

                sum[2 * r] = add_products(sum[2 * r], w0, a);
                sum[2 * r + 1] = add_products(sum[2 * r + 1], w1, a);
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < HALVES * R; i++)
            dot[i] = _mm256_add_epi32(dot[i], _mm256_madd_epi16(sum[i], ones));
    }

    __m256i m0 = x86_mantissas(m), m1 = x86_mantissas(m + 8);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        uint32_t s = (uint32_t)panel->shift[row + (uint32_t)r];

        acc[2 * r] = _mm256_add_epi32(acc[2 * r], x86_scale(dot[2 * r], m0, s));
        acc[2 * r + 1] =
            _mm256_add_epi32(acc[2 * r + 1], x86_scale(dot[2 * r + 1], m1, s));
    }
}

// What add_tame left out.
static __attribute__((noinline)) void
add_wide(__m256i *acc, const struct matmul_input *in, uint32_t t,
         const struct matmul_weight *weight, uint32_t b, int R)
{
    const struct matmul_panel *panel = in->panels;

    panel += (size_t)(t / MATMUL_PANEL_ROWS) * weight->n_groups;
    for (uint32_t g = 0; g < weight->n_groups; g++, panel++) {
        uint32_t wide;

        memcpy(&wide, panel->wide + t % MATMUL_PANEL_ROWS, sizeof wide);
        for (int r = 0; wide && r < R; r++, wide >>= 8)
            if (wide & UINT8_MAX)
                add_group(acc + (ptrdiff_t)HALVES * r, in, t + (uint32_t)r,
                          weight, b, g);
    }
}

// R rows from t (a multiple of 4) on against block b.
static inline __attribute__((always_inline)) void
tile(int32_t *out, size_t ld, const struct matmul_input *in, uint32_t t,
     const struct matmul_weight *weight, uint32_t b, const int R)
{
    const uint32_t G = weight->n_groups;
    const size_t ahead = (size_t)BLOCKS_AHEAD * G * FORMAT_TILE;
    const struct matmul_panel *panel = in->panels;
    const uint8_t *w = weight->w + (size_t)b * G * FORMAT_TILE;
    const uint8_t *m = weight->m + (size_t)b * G * FORMAT_BLOCK;
    __m256i acc[HALVES * TILE_ROWS];

    panel += (size_t)(t / MATMUL_PANEL_ROWS) * G;
    for (int i = 0; i < HALVES * R; i++)
        acc[i] = _mm256_setzero_si256();
    for (uint32_t g = 0; g < G;
         g++, panel++, w += FORMAT_TILE, m += FORMAT_BLOCK)
        add_tame(acc, w, m, ahead, panel, t % MATMUL_PANEL_ROWS, R);
    add_wide(acc, in, t, weight, b, R);
    for (uint32_t r = 0; r < (uint32_t)R; r++)
        finish(out + r * ld, acc + (size_t)HALVES * r, in, t + r, weight, b);
}

static void rows(int32_t *out, size_t ld, const struct matmul_input *in,
                 uint32_t t, const struct matmul_weight *weight, uint32_t b)
{
    switch (in->n_rows - t) {
    case 1:
        tile(out, ld, in, t, weight, b, 1);
        break;
    case 2:
        tile(out, ld, in, t, weight, b, 2);
        break;
    case 3:
        tile(out, ld, in, t, weight, b, 3);
        break;
    default:
        tile(out, ld, in, t, weight, b, TILE_ROWS);
    }
}

void matmul_avx2(int32_t *out, size_t ld, const struct matmul_input *in,
                 const struct matmul_weight *weight, uint32_t block,
                 uint32_t block_end)
{
    for (uint32_t b = block; b < block_end; b++) {
        int32_t *o = out + (size_t)b * FORMAT_BLOCK;

        if (in->n_rows == 1)
            one_row(o, in, 0, weight, b);
        for (uint32_t t = 0; in->n_rows > 1 && t < in->n_rows; t += TILE_ROWS)
            rows(o + t * ld, ld, in, t, weight, b);
    }
}

// The sums of each 128-bit half's even and odd dwords' 16-bit lanes, by 16-bit
// lane, in all four dwords.
static __m256i add_dwords(__m256i v)
{
    v = _mm256_add_epi16(v, _mm256_shuffle_epi32(v, 0x4E));
    return _mm256_add_epi16(v, _mm256_shuffle_epi32(v, 0xB1));
}

void matmul_lay_avx2(void *panels, uint32_t t, const int8_t *q,
                     const uint8_t *e, uint8_t e_max, uint32_t G)
{
    const __m256i bias = _mm256_set1_epi8(FORMAT_WEIGHT_BIAS);
    const __m256i ones = _mm256_set1_epi8(1);
    const __m256i limit = _mm256_set1_epi16(MATMUL_TAME_MAX);
    const uint32_t r = t % MATMUL_PANEL_ROWS;
    const int32_t spare = (int32_t)matmul_spare(G);
    struct matmul_panel *panel = panels;

    panel += (size_t)(t / MATMUL_PANEL_ROWS) * G;
    for (uint32_t g = 0; g < G; g++, panel++) {
        __m256i wide = _mm256_setzero_si256();

        for (int part = 0; part < 4; part += 2, q += 32) {
            __m256i v = x86_load(q);
            __m256i sum = add_dwords(_mm256_maddubs_epi16(bias, v));
            __m256i abs =
                add_dwords(_mm256_maddubs_epi16(_mm256_abs_epi8(v), ones));
            int32_t fix[2];

            sum = _mm256_sub_epi16(_mm256_setzero_si256(), sum);
            wide = _mm256_or_si256(wide, _mm256_cmpgt_epi16(abs, limit));
            fix[0] = _mm256_extract_epi32(sum, 0);
            fix[1] = _mm256_extract_epi32(sum, 4);
            for (int i = 0; i < 2; i++) {
                memcpy(panel->part[part + i].q[r], q + 16 * i, 16);
                memcpy(panel->part[part + i].fix[r], fix + i, sizeof fix[i]);
            }
        }
        panel->shift[r] = e_max - e[g] + spare;
        panel->wide[r] = !_mm256_testz_si256(wide, wide);
        if (panel->wide[r])
            matmul_panel_clear(panel, r);
    }
}
