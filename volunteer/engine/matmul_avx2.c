// The matrix product with AVX2. Two shapes:
//
// One row is bound by memory: weights are asked for ahead (a fifth faster), go
// biased as they are straight into maddubs, and corr takes the bias out. Pairs
// reach 2*127*127 = 32258, so none saturates.
//
// Several rows are bound by the multiplier ports, of which there are two. From
// panels (matmul.h) the products of 16 columns are added in 16 bits before
// madd: 5 multiplications for 128 products. A group that is wide in any row of
// the tile goes the way of one row, with 8.
#include <string.h>

#include "engine/matmul_x86.h"
#include "engine/twins.h"

enum {
    LINES = FORMAT_TILE / 64,
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

// Adds the products of R rows and 8 weight rows over one tame group to dot,
// which is 0. w is the group's tile.
static inline __attribute__((always_inline)) void
dots_tame(__m256i *dot, const uint8_t *w, const struct matmul_panel *panel,
          const int R)
{
    const __m256i ones = _mm256_set1_epi16(1);

#pragma GCC unroll 1
    for (int part = 0; part < 4; part++, w += 4 * 64) {
        __m256i w0 = x86_load(w), w1 = x86_load(w + 64);
        __m256i w2 = x86_load(w + 128), w3 = x86_load(w + 192);

#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const int8_t *a = panel->part[part].q[r];
            __m256i sum = x86_broadcast4(panel->part[part].fix[r]);

            sum = _mm256_add_epi16(sum,
                                   _mm256_maddubs_epi16(w0, x86_broadcast4(a)));
            sum = _mm256_add_epi16(
                sum, _mm256_maddubs_epi16(w1, x86_broadcast4(a + 4)));
            sum = _mm256_add_epi16(
                sum, _mm256_maddubs_epi16(w2, x86_broadcast4(a + 8)));
            sum = _mm256_add_epi16(
                sum, _mm256_maddubs_epi16(w3, x86_broadcast4(a + 12)));
            dot[r] = _mm256_add_epi32(dot[r], _mm256_madd_epi16(sum, ones));
        }
    }
}

// The same for any group. corr is the first row's, the rows `groups` apart.
static inline __attribute__((always_inline)) void
dots_wide(__m256i *dot, const uint8_t *w, const struct matmul_panel *panel,
          const int32_t *corr, size_t groups, const int R)
{
    const __m256i ones = _mm256_set1_epi16(1);

#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        dot[r] = _mm256_set1_epi32(-corr[(size_t)r * groups]);
    for (int k = 0; k < FORMAT_GROUP; k += 4) {
        __m256i four = x86_load(w + 16 * k);

#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            __m256i a = x86_broadcast4(panel->part[k / 16].q[r] + k % 16);

            dot[r] = _mm256_add_epi32(
                dot[r], _mm256_madd_epi16(_mm256_maddubs_epi16(four, a), ones));
        }
    }
}

// Whether any of the first R rows is wide.
static inline bool is_wide(const struct matmul_panel *panel, int R)
{
    uint64_t wide;

    _Static_assert(sizeof wide == sizeof panel->wide, "a byte a row");
    memcpy(&wide, panel->wide, sizeof wide);
    return wide & UINT64_MAX >> 8 * (MATMUL_PANEL_ROWS - R);
}

// R rows from t on, the first ones of a panel, against 8 rows of block b, from
// row `half` (0 or 8) on. Meanwhile asks for n_ahead lines a group from ahead.
static inline __attribute__((always_inline)) void
tile(int32_t *out, size_t ld, const struct matmul_input *in, uint32_t t,
     const struct matmul_weight *weight, uint32_t b, uint32_t half,
     const uint8_t *ahead, uint32_t n_ahead, const int R)
{
    const uint32_t G = weight->n_groups;
    const struct matmul_panel *panel =
        in->panels + (size_t)(t / MATMUL_PANEL_ROWS) * G;
    const uint8_t *w = weight->w + (size_t)b * G * FORMAT_TILE + half * 4;
    const uint8_t *m = weight->m + (size_t)b * G * FORMAT_BLOCK + half;
    __m256i acc[MATMUL_PANEL_ROWS];

    for (int r = 0; r < R; r++)
        acc[r] = _mm256_setzero_si256();
    for (uint32_t g = 0; g < G; g++, panel++, w += FORMAT_TILE) {
        __m256i dot[MATMUL_PANEL_ROWS];
        __m256i mant = x86_mantissas(m + (size_t)g * FORMAT_BLOCK);

        for (uint32_t i = 0; i < n_ahead; i++, ahead += 64)
            _mm_prefetch((const char *)ahead, _MM_HINT_T0);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
            dot[r] = _mm256_setzero_si256();
        if (is_wide(panel, R))
            dots_wide(dot, w, panel, in->corr + (size_t)t * G + g, G, R);
        else
            dots_tame(dot, w, panel, R);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
            acc[r] = _mm256_add_epi32(
                acc[r], x86_scale(dot[r], mant, (uint32_t)panel->shift[r]));
    }
    for (int r = 0; r < R; r++)
        x86_finish(out + (size_t)r * ld, acc[r],
                   in->e_max[t + (uint32_t)r] + (int32_t)matmul_spare(G),
                   weight, (size_t)b * FORMAT_BLOCK + half);
}

static void rows(int32_t *out, size_t ld, const struct matmul_input *in,
                 uint32_t t, const struct matmul_weight *weight, uint32_t b,
                 uint32_t half, const uint8_t *ahead, uint32_t n_ahead)
{
    switch (in->n_rows - t) {
    case 1:
        tile(out, ld, in, t, weight, b, half, ahead, n_ahead, 1);
        break;
    case 2:
        tile(out, ld, in, t, weight, b, half, ahead, n_ahead, 2);
        break;
    case 3:
        tile(out, ld, in, t, weight, b, half, ahead, n_ahead, 3);
        break;
    case 4:
        tile(out, ld, in, t, weight, b, half, ahead, n_ahead, 4);
        break;
    case 5:
        tile(out, ld, in, t, weight, b, half, ahead, n_ahead, 5);
        break;
    case 6:
        tile(out, ld, in, t, weight, b, half, ahead, n_ahead, 6);
        break;
    case 7:
        tile(out, ld, in, t, weight, b, half, ahead, n_ahead, 7);
        break;
    default:
        tile(out, ld, in, t, weight, b, half, ahead, n_ahead, 8);
    }
}

// All rows against block b, and the next block asked for: each pass over the
// block fetches its part of it.
static void many_rows(int32_t *out, size_t ld, const struct matmul_input *in,
                      const struct matmul_weight *weight, uint32_t b)
{
    const uint32_t n_passes = 2 * ((in->n_rows + 7) / MATMUL_PANEL_ROWS);
    const uint32_t n_ahead = n_passes < LINES ? LINES / n_passes : 1;
    const size_t ahead_len = (size_t)n_ahead * 64 * weight->n_groups;
    const uint8_t *ahead =
        weight->w + (size_t)(b + 1) * weight->n_groups * FORMAT_TILE;
    uint32_t n_lines = 0;

    for (uint32_t t = 0; t < in->n_rows; t += MATMUL_PANEL_ROWS)
        for (uint32_t half = 0; half < FORMAT_BLOCK; half += 8) {
            bool more = n_lines < LINES;

            rows(out + t * ld + half, ld, in, t, weight, b, half, ahead,
                 more ? n_ahead : 0);
            ahead += ahead_len;
            n_lines += n_ahead;
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
        else
            many_rows(o, ld, in, weight, b);
    }
}

// The sums of each 128-bit half's even and odd dwords' 16-bit lanes, by 16-bit
// lane, in all four dwords.
static __m256i add_dwords(__m256i v)
{
    v = _mm256_add_epi16(v, _mm256_shuffle_epi32(v, 0x4E));
    return _mm256_add_epi16(v, _mm256_shuffle_epi32(v, 0xB1));
}

void matmul_lay_avx2(struct matmul_panel *panels, uint32_t t, const int8_t *q,
                     const uint8_t *e, uint8_t e_max, uint32_t G)
{
    const __m256i bias = _mm256_set1_epi8(FORMAT_WEIGHT_BIAS);
    const __m256i ones = _mm256_set1_epi8(1);
    const __m256i limit = _mm256_set1_epi16(MATMUL_TAME_MAX);
    const uint32_t r = t % MATMUL_PANEL_ROWS;
    const int32_t spare = (int32_t)matmul_spare(G);
    struct matmul_panel *panel = panels + (size_t)(t / MATMUL_PANEL_ROWS) * G;

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
    }
}
