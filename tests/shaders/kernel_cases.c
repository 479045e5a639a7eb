// kernel_cases DIR: writes inputs for every WGSL kernel, random and extreme, of
// odd shapes, and what its C twin makes of them:
//
//   DIR/cases.bin   buffers, one behind the other
//   DIR/cases.json  [{name, kernel, constants: {..}, dispatch: [x, y], buffers:
//                   [{binding, at, bytes, expect, expect_bytes}]}]
//
// A buffer begins as the bytes at `at`; where expect is not -1, its first
// expect_bytes must be those at `expect` afterwards. Layouts are those of the
// kernels' headers.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases_out.h"
#include "check.h"
#include "engine/attention.h"
#include "engine/fixed.h"
#include "engine/kernels.h"
#include "engine/rope.h"
#include "engine/wire.h"
#include "project_case.h"
#include "redundancy/fingerprint.h"
#include "sample_case.h"
#include "splitter/format.h"

enum { ROWS_MAX = 64, WIDTH_MAX = 1280, CACHE_MAX = 4 * (32 * 64 + 128) };

// A matrix as the kernels bind it, with room for the norm before it.
struct matrix {
    struct matmul_weight weight;
    uint32_t at;       // of the row exponents in consts
    int32_t *consts;   // gain, bias, exponents, biases
    uint32_t n_consts; // words
    uint8_t *w, *m;
};

struct quantised {
    int8_t q[ROWS_MAX * WIDTH_MAX];
    uint8_t e[ROWS_MAX * WIDTH_MAX / FORMAT_GROUP];
    uint8_t e_max[ROWS_MAX];
    int32_t corr[ROWS_MAX * WIDTH_MAX / FORMAT_GROUP];
    uint32_t groups[ROWS_MAX * WIDTH_MAX / FORMAT_GROUP];
};

// All of a kind that several cases share, too large for a stack.
struct maker {
    struct cases_out out;
    int32_t act[FORMAT_ACT_LEN];
    int32_t logs[FORMAT_EXP2_LEN + 1025 + 257]; // exp2, log2, logh
    int32_t x[ROWS_MAX * WIDTH_MAX];
    int32_t y[ROWS_MAX * WIDTH_MAX];
    int32_t z[ROWS_MAX * WIDTH_MAX];
    struct quantised in, made;
};

static void tables_fill(struct maker *k)
{
    int32_t *log2_q24 = k->logs + FORMAT_EXP2_LEN, *logh = log2_q24 + 1025;

    k->act[0] = 0;
    for (int i = 1; i < FORMAT_ACT_LEN; i++)
        k->act[i] = k->act[i - 1] + cases_between(&k->out, -300, 812);
    for (int i = 0; i < FORMAT_EXP2_LEN; i++)
        k->logs[i] = (int32_t)lround(((1 << 30) - (1 << 16)) *
                                     exp2(-i / (double)FORMAT_EXP2_LEN));
    for (int i = 0; i <= 1024; i++)
        log2_q24[i] = (int32_t)lround(16777216 * log2(1 + i / 1024.0));
    logh[0] = 0;
    for (int i = 1; i <= 256; i++)
        logh[i] =
            (int32_t)lround(16777216 * log(-log(1 - i / 512.0) / (i / 512.0)));
}

// Rows of n values, ld apart, zeros between: by turns any, small, none, all at
// the limit, and one of these among small ones.
static void rows_fill(struct maker *k, int32_t *v, uint32_t T, uint32_t n,
                      uint32_t ld)
{
    memset(v, 0, (size_t)T * ld * sizeof *v);
    for (uint32_t t = 0; t < T; t++)
        for (uint32_t i = 0; i < n; i++)
            v[t * ld + i] =
                t % 5 == 0   ? cases_any(&k->out)
                : t % 5 == 1 ? cases_between(&k->out, -400000, 400000)
                : t % 5 == 2 ? (i % 2 ? FORMAT_VALUE_MAX : -FORMAT_VALUE_MAX)
                : t % 5 == 3 ? (i == n / 2 ? FORMAT_VALUE_MAX
                                           : cases_between(&k->out, -9, 9))
                             : 0;
}

static void quantise_rows(struct quantised *to, const int32_t *v, uint32_t T,
                          uint32_t n, uint32_t ld)
{
    uint32_t G = format_n_groups(n);
    int32_t row[WIDTH_MAX];

    for (uint32_t t = 0; t < T; t++) {
        uint32_t at = t * G;

        memcpy(row, v + (size_t)t * ld, n * sizeof *row);
        to->e_max[t] = engine_quantise_ref(to->q + (size_t)at * FORMAT_GROUP,
                                           to->e + at, to->corr + at, row, n);
        for (uint32_t g = at; g < at + G; g++)
            to->groups[g] = (uint32_t)to->corr[g] << 5 | to->e[g];
    }
}

// Blocks by turns random, all 63 with the largest mantissa, and +-63.
static struct matrix matrix_new(struct maker *k, uint32_t outs, uint32_t cols,
                                bool normed, bool tame_gain)
{
    uint32_t NB = format_n_blocks(outs), G = format_n_groups(cols);
    size_t n_tiles = (size_t)NB * G;
    struct matrix x = {.at = normed ? 2 * G * FORMAT_GROUP : 0};

    x.n_consts = x.at + 2 * NB * FORMAT_BLOCK;
    x.w = calloc(n_tiles, FORMAT_TILE);
    x.m = calloc(n_tiles, FORMAT_BLOCK);
    x.consts = calloc(x.n_consts, sizeof *x.consts);
    CHECK(x.w && x.m && x.consts);
    for (size_t i = 0; i < n_tiles * FORMAT_TILE; i++) {
        size_t kind = i / FORMAT_TILE / G % 3;

        x.w[i] = (uint8_t)(kind == 0   ? cases_between(&k->out, 1, 127)
                           : kind == 1 ? 127
                           : i / 4 % 2 ? 1
                                       : 127);
    }
    for (size_t i = 0; i < n_tiles * FORMAT_BLOCK; i++)
        x.m[i] = (uint8_t)(i / FORMAT_BLOCK / G % 3
                               ? 255
                               : cases_between(&k->out, 1, 255));
    for (uint32_t i = 0; normed && i < cols; i++) {
        x.consts[i] = tame_gain ? cases_between(&k->out, -99999, 99999)
                                : cases_any(&k->out);
        x.consts[G * FORMAT_GROUP + i] =
            cases_between(&k->out, -(1 << 20), 1 << 20);
    }
    for (uint32_t i = 0; i < NB * FORMAT_BLOCK; i++) {
        x.consts[x.at + i] = cases_between(&k->out, -24, i % 8 ? -6 : 6);
        x.consts[x.at + NB * FORMAT_BLOCK + i] = cases_any(&k->out) >> i % 9;
    }
    x.weight = (struct matmul_weight){x.w,
                                      x.m,
                                      x.consts + x.at,
                                      x.consts + x.at + NB * FORMAT_BLOCK,
                                      outs,
                                      cols,
                                      NB,
                                      G};
    return x;
}

static void matrix_free(struct matrix *x)
{
    free(x->w);
    free(x->m);
    free(x->consts);
}

static void put_matrix(struct maker *k, const struct matrix *x)
{
    size_t n_tiles = (size_t)x->weight.n_blocks * x->weight.n_groups;

    cases_in(&k->out, 0, x->w, n_tiles * FORMAT_TILE);
    cases_in(&k->out, 1, x->m, n_tiles * FORMAT_BLOCK);
    cases_in(&k->out, 2, x->consts, x->n_consts * sizeof *x->consts);
}

// Gain and bias of the norm before a matrix, over rows of x.
static void norm_rows(struct maker *k, const struct matrix *m, uint32_t T,
                      uint32_t C, uint64_t eps, bool centre)
{
    uint32_t ld = m->weight.n_groups * FORMAT_GROUP;

    for (uint32_t t = 0; t < T; t++)
        engine_norm_ref(k->y + t * ld, k->x + t * ld, m->consts,
                        centre ? m->consts + ld : NULL, C, eps, centre);
    quantise_rows(&k->in, k->y, T, C, ld);
}

static void multiply(struct maker *k, const struct matrix *m, int32_t *y,
                     uint32_t T, uint32_t ld)
{
    struct matmul_input in = {.q = k->in.q,
                              .e = k->in.e,
                              .corr = k->in.corr,
                              .e_max = k->in.e_max,
                              .n_rows = T};

    matmul_ref(y, ld, &in, &m->weight, 0, m->weight.n_blocks);
}

static void put_quantised(struct maker *k, const struct quantised *q,
                          uint32_t binding, uint32_t T, uint32_t G)
{
    cases_expect(&k->out, binding, NULL, (size_t)T * G * FORMAT_GROUP, q->q,
                 (size_t)T * G * FORMAT_GROUP);
    cases_expect(&k->out, binding + 1, NULL, (size_t)T * G * 4, q->groups,
                 (size_t)T * G * 4);
}

static uint32_t wire_words(uint32_t C)
{
    return (C + 3) / 4 + (C + 31) / 32;
}

// A row as the GPU has its wire form.
static void wire_spread(uint32_t *to, const int32_t *x, uint32_t C)
{
    uint8_t wire[WIDTH_MAX + WIDTH_MAX / 32 + 1];

    wire_put(wire, x, C);
    memset(to, 0, wire_words(C) * 4);
    memcpy(to, wire, C);
    for (uint32_t i = 0; i < (C + 31) / 32; i++)
        to[(C + 3) / 4 + i] = wire[C + i];
}

static void norm_case(struct maker *k, uint32_t C, uint32_t WG, uint64_t eps,
                      bool centre, bool final)
{
    uint32_t T = 10, G = format_n_groups(C), ld = G * FORMAT_GROUP;
    struct matrix m = matrix_new(k, 16, C, true, !centre);
    uint32_t heads[10 * 4] = {0}, none[4] = {0};
    uint32_t *wires = calloc(T, wire_words(C) * 4);

    CHECK(wires);
    rows_fill(k, k->x, T, C, ld);
    cases_begin(&k->out, "norm",
                "\"C\":%u,\"G\":%u,\"WG\":%u,\"FINAL\":%d,\"CENTRE\":%d,"
                "\"EPS_LOW\":%u,\"EPS_HIGH\":%u",
                C, G, WG, final, centre, (unsigned)eps, (unsigned)(eps >> 32));
    cases_in(&k->out, 3, k->x, (size_t)T * ld * 4);
    for (uint32_t t = 0; t < T; t++) {
        heads[4 * t] = t; // its row and its answer
        heads[4 * t + 1] = T - 1 - t;
        wire_spread(wires + (T - 1 - t) * wire_words(C), k->x + t * ld, C);
    }
    cases_in(&k->out, 2, m.consts, m.n_consts * 4);
    norm_rows(k, &m, T, C, eps, centre);
    put_quantised(k, &k->in, 4, T, G);
    cases_in(&k->out, 6, heads, sizeof heads);
    if (final)
        cases_expect(&k->out, 7, NULL, T * wire_words(C) * 4, wires,
                     T * wire_words(C) * 4);
    else
        cases_in(&k->out, 7, none, sizeof none);
    cases_end(&k->out, T, 1);
    free(wires);
    matrix_free(&m);
}

static void wire_cases(struct maker *k)
{
    uint32_t C = 1090, T = 5, G = format_n_groups(C), ld = G * FORMAT_GROUP;
    uint32_t n = T * wire_words(C) * 4, heads[5 * 4] = {0};
    uint32_t *wires = calloc(1, n);

    CHECK(wires);
    rows_fill(k, k->x, T, C, ld);
    for (uint32_t t = 0; t < T; t++) {
        heads[4 * t] = heads[4 * t + 1] = t;
        wire_spread(wires + t * wire_words(C), k->x + t * ld, C);
    }
    cases_begin(&k->out, "wire", "\"C\":%u,\"G\":%u", C, G);
    cases_in(&k->out, 0, k->x, (size_t)T * ld * 4);
    cases_in(&k->out, 1, heads, sizeof heads);
    cases_expect(&k->out, 2, NULL, n, wires, n);
    cases_end(&k->out, 2, T);

    memset(k->y, 0, (size_t)T * ld * 4);
    for (uint32_t t = 0; t < T; t++) {
        uint8_t wire[WIDTH_MAX + WIDTH_MAX / 32 + 1];

        wire_put(wire, k->x + t * ld, C);
        wire_get(k->y + t * ld, wire, C);
    }
    cases_begin(&k->out, "unwire", "\"C\":%u,\"G\":%u", C, G);
    cases_in(&k->out, 0, wires, n);
    cases_expect(&k->out, 1, NULL, (size_t)T * ld * 4, k->y,
                 (size_t)T * ld * 4);
    cases_end(&k->out, 2, T);
    free(wires);
}

static void fingerprint_case(struct maker *k)
{
    uint32_t C = 67, T = 5, ld = 128, job[4] = {0x89abcdef, 0x01234567, T, 0};
    uint32_t wires[5 * 20] = {0};
    uint8_t prints[5 * 16], wire[80];

    rows_fill(k, k->x, T, C, ld);
    for (uint32_t t = 0; t < T; t++) {
        wire_spread(wires + t * wire_words(C), k->x + t * ld, C);
        wire_put(wire, k->x + t * ld, C);
        redun_print(prints + 16 * t, UINT64_C(0x0123456789abcdef), wire, C + 3);
    }
    cases_begin(&k->out, "fingerprint", "\"C\":%u", C);
    cases_in(&k->out, 0, wires, T * wire_words(C) * 4);
    cases_in(&k->out, 1, job, sizeof job);
    cases_expect(&k->out, 2, NULL, sizeof prints, prints, sizeof prints);
    cases_end(&k->out, 1, 1);
}

static void embed_case(struct maker *k)
{
    uint32_t C = 67, G = 2, T = 4, ld = 128, ids[2 * 7] = {0};
    static const uint32_t rows[4 * 4] = {0, 0, 0, 0, 1, 6, 0, 0,
                                         0, 3, 0, 0, 1, 5, 0, 0};
    struct matrix m = matrix_new(k, 40, C, false, false);
    int32_t position[7 * 67];

    for (uint32_t i = 0; i < 14; i++)
        ids[i] = i * 3 % 40;
    for (uint32_t i = 0; i < 7 * 67; i++)
        position[i] = cases_any(&k->out);
    memset(k->y, 0, (size_t)T * ld * 4);
    for (uint32_t t = 0; t < T; t++)
        for (uint32_t i = 0; i < C; i++) {
            uint32_t id = ids[rows[4 * t] * 7 + rows[4 * t + 1]], c = i % 64;
            size_t tile = (size_t)(id / 16) * G + i / 64;
            int32_t v =
                m.w[tile * FORMAT_TILE + c / 4 * 64 + id % 16 * 4 + c % 4] -
                FORMAT_WEIGHT_BIAS;

            v = engine_shift(v * m.m[tile * 16 + id % 16], m.weight.e[id]);
            k->y[t * ld + i] =
                engine_sat(v + position[rows[4 * t + 1] * C + i]);
        }
    cases_begin(&k->out, "embed",
                "\"C\":%u,\"G\":%u,\"STRIDE\":%u,\"CTX\":7,\"BLOCK\":0,"
                "\"BLOCKS\":3,\"POSITION\":1",
                C, G, ld);
    cases_in(&k->out, 0, rows, sizeof rows);
    cases_in(&k->out, 1, ids, sizeof ids);
    cases_in(&k->out, 2, m.w, (size_t)3 * G * FORMAT_TILE);
    cases_in(&k->out, 3, m.m, (size_t)3 * G * 16);
    cases_in(&k->out, 4, m.consts, m.n_consts * 4);
    cases_in(&k->out, 5, position, sizeof position);
    cases_expect(&k->out, 6, NULL, (size_t)T * ld * 4, k->y,
                 (size_t)T * ld * 4);
    cases_end(&k->out, 1, T);
    matrix_free(&m);
}

static void quantise_case(struct maker *k)
{
    uint32_t N = 1100, G = format_n_groups(N), T = 5, ld = 1101;

    rows_fill(k, k->x, T, N, ld);
    quantise_rows(&k->made, k->x, T, N, ld);
    cases_begin(&k->out, "quantise", "\"N\":%u,\"G\":%u,\"LD\":%u", N, G, ld);
    cases_in(&k->out, 0, k->x, (size_t)T * ld * 4);
    put_quantised(k, &k->made, 1, T, G);
    cases_end(&k->out, 2, T);
}

static void act_rows(struct maker *k, const int32_t *u, uint32_t T, uint32_t N,
                     uint32_t ld, bool gate)
{
    for (uint32_t t = 0; t < T; t++)
        if (gate)
            engine_gate_ref(k->z + t * ld, u + t * ld, u + t * ld + N, k->act,
                            N);
        else
            engine_act_ref(k->z + t * ld, u + t * ld, k->act, N);
    quantise_rows(&k->made, k->z, T, N, ld);
}

static void activation_case(struct maker *k, bool gate)
{
    uint32_t N = 100, T = 6, ld = 208, G = format_n_groups(N);

    rows_fill(k, k->x, T, gate ? 2 * N : N, ld);
    act_rows(k, k->x, T, N, ld, gate);
    cases_begin(&k->out, "activation",
                "\"N\":%u,\"G\":%u,\"LD\":%u,\"GATE\":%d", N, G, ld, gate);
    cases_in(&k->out, 0, k->x, (size_t)T * ld * 4);
    cases_in(&k->out, 1, k->act, sizeof k->act);
    put_quantised(k, &k->made, 2, T, G);
    cases_end(&k->out, 1, T);
}

// Where ADD: the sum, and the wire form of its groups of 32.
static void add_rows(struct maker *k, uint32_t T, uint32_t N, uint32_t ld)
{
    uint8_t wire[WIDTH_MAX + WIDTH_MAX / 32 + 1];

    for (uint32_t t = 0; t < T; t++) {
        for (uint32_t i = 0; i < N; i++)
            k->z[t * ld + i] = engine_sat(k->z[t * ld + i] + k->y[t * ld + i]);
        wire_put(wire, k->z + t * ld, N);
        wire_get(k->z + t * ld, wire, N);
    }
}

// For few rows, or for many; into y, or added to the residual.
static void matmul_case(struct maker *k, bool many, bool add)
{
    uint32_t T = many ? 40 : 5, room = many ? 64 : 5, N = 42, ld = 64;
    uint32_t cols = add ? 100 : 1200, G = format_n_groups(cols), LANES = 4;
    struct matrix m = matrix_new(k, N, cols, false, false);

    memset(&k->in, 0, sizeof k->in);
    rows_fill(k, k->x, T, cols, G * FORMAT_GROUP);
    quantise_rows(&k->in, k->x, T, cols, G * FORMAT_GROUP);
    memset(k->y, 0, sizeof k->y);
    multiply(k, &m, k->y, T, ld);
    rows_fill(k, k->x, T, N, ld);
    memcpy(k->z, k->x, sizeof k->z);
    if (add)
        add_rows(k, T, N, ld);
    cases_begin(&k->out, many ? "matmul_rows" : "matmul_row",
                "\"G\":%u,\"SPARE\":%u,\"LD\":%u,\"BLOCK\":0,\"BLOCKS\":3,"
                "\"AT\":0,\"ROWS\":48,\"N\":%u,\"ADD\":%d,\"WIRE\":%d",
                G, matmul_spare(G), ld, add ? N : 48, add, add);
    if (!many)
        cases_more(&k->out, ",\"TILES\":%d,\"LANES\":%u,\"WG\":%u", 1 + add,
                   LANES, (1u + add) * LANES * 4);
    put_matrix(k, &m);
    cases_in(&k->out, 3, k->in.q, (size_t)room * G * FORMAT_GROUP);
    cases_in(&k->out, 4, k->in.groups, (size_t)room * G * 4);
    cases_expect(&k->out, 5, add ? k->x : NULL, (size_t)room * ld * 4,
                 add ? k->z : k->y, (size_t)T * ld * 4);
    if (many || add)
        cases_end(&k->out, 2, many ? 2 : T);
    else
        cases_end(&k->out, 3, T);
    matrix_free(&m);
}

static void norm_up_case(struct maker *k, bool gate)
{
    uint32_t C = 67, G = 2, T = 5, N = gate ? 80 : 100;
    uint32_t tiles = gate ? 8 : 4, outs = gate ? 2 * N : N, ld = 160;
    struct matrix m = matrix_new(k, outs, C, true, gate);

    rows_fill(k, k->x, T, C, 128);
    cases_begin(&k->out, "norm_up",
                "\"C\":%u,\"G\":%u,\"CENTRE\":%d,\"EPS_LOW\":5,"
                "\"EPS_HIGH\":0,\"SPARE\":0,\"TILES\":%u,\"LANES\":4,"
                "\"WG\":%u,\"AT\":256,\"ROWS\":%u,\"N\":%u,\"OUT\":2,"
                "\"BLOCKS\":%u,\"GATE\":%d",
                C, G, !gate, tiles, tiles * 16, 16 * m.weight.n_blocks, N,
                m.weight.n_blocks, gate);
    put_matrix(k, &m);
    cases_in(&k->out, 3, k->x, (size_t)T * 128 * 4);
    cases_in(&k->out, 4, k->act, sizeof k->act);
    norm_rows(k, &m, T, C, 5, !gate);
    multiply(k, &m, k->y, T, ld);
    act_rows(k, k->y, T, N, ld, gate);
    put_quantised(k, &k->made, 5, T, 2);
    cases_end(&k->out, 2, T);
    matrix_free(&m);
}

// The layer's cache on the GPU, in tiles of words, as kv tiles.
struct cache {
    uint32_t words[CACHE_MAX * 32];
    uint32_t D, KV;
};

static struct kv_tile tile_get(const struct cache *c, uint32_t page,
                               uint32_t kv, uint8_t exps[128])
{
    const uint32_t *at = c->words + (page * c->KV + kv) * (32 * c->D + 128);

    for (uint32_t i = 0; i < 128; i++)
        exps[i] = (uint8_t)at[32 * c->D + i];
    return (struct kv_tile){(int8_t *)(uintptr_t)at,
                            (int8_t *)(uintptr_t)(at + 16 * c->D), exps,
                            exps + 64};
}

static void cache_fill(struct maker *k, struct cache *c, uint32_t n_tiles)
{
    uint32_t len = 32 * c->D + 128;

    for (uint32_t i = 0; i < n_tiles * len; i++) {
        int32_t b[4];

        for (int j = 0; j < 4; j++)
            b[j] = i / len % 2 ? (i % 3 ? 127 : -127)
                               : cases_between(&k->out, -127, 127);
        c->words[i] = i % len < 32 * c->D
                          ? (uint32_t)(b[0] & 255) |
                                (uint32_t)(b[1] & 255) << 8 |
                                (uint32_t)(b[2] & 255) << 16 |
                                (uint32_t)(b[3] & 255) << 24
                          : (uint32_t)cases_between(&k->out, 0, 23);
    }
}

static void store(struct cache *c, uint32_t page, uint32_t kv, uint32_t p,
                  const int32_t *key, const int32_t *value, uint32_t DIM)
{
    uint8_t exps[128];
    struct kv_tile tile = tile_get(c, page, kv, exps);
    uint32_t *at = c->words + (page * c->KV + kv) * (32 * c->D + 128);

    attention_store(&tile, p, key, value, DIM, &engine_kernels_ref);
    for (uint32_t i = 0; i < 128; i++)
        at[32 * c->D + i] = exps[i];
}

static void put_head(uint32_t *to, const int32_t *q, uint32_t DIM, uint32_t D)
{
    int8_t bytes[128] = {0};
    uint8_t e = attention_quantise(bytes, q, DIM, &engine_kernels_ref);

    memcpy(to, bytes, D);
    to[D / 4] = e;
}

// What rows of qkv become: query heads, and the cache.
static void heads_case(struct maker *k, struct cache *c, bool fused)
{
    uint32_t DIM = fused ? 32 : 42, HEADS = 3, KV = 1, T = 3, C = 67;
    uint32_t D = kv_width(DIM), outs = (HEADS + 2 * KV) * DIM, ld = 256;
    // Slots and positions; then the pages of four slots of three pages each.
    uint32_t rows[4 * 4 + 12] = {0, 6, 0, 0, 1, 130, 0, 0, 2, 63, 0, 0,
                                 0, 0, 0, 0, 3, 0,   0, 0, 0, 2,  1};
    uint32_t heads[3 * 3 * 13], n_cache = 4 * (32 * D + 128) * 4;
    struct matrix m = matrix_new(k, outs, C, true, true);
    int16_t low[128 * 42], high[2 * 42];
    int32_t rope[130 * 42], rotation[42];

    if (!fused) { // two rows of one sequence, four positions a word
        rows[4] = 0;
        rows[5] = 7;
    }
    for (uint32_t i = 0; i < 130 * DIM; i++) {
        rope[i] = cases_between(&k->out, -16384, 16384);
        *(i < 128 * DIM ? &low[i] : &high[i - 128 * DIM]) = (int16_t)rope[i];
    }
    c->D = D;
    c->KV = KV;
    cache_fill(k, c, 4);
    rows_fill(k, k->x, T, C, 128);
    if (fused) {
        cases_begin(&k->out, "norm_qkv",
                    "\"C\":%u,\"G\":2,\"CENTRE\":0,\"EPS_LOW\":2684,"
                    "\"EPS_HIGH\":0,\"SPARE\":0,\"TILES\":2,\"LANES\":4,"
                    "\"WG\":32,\"AT\":256,\"ROWS\":%u",
                    C, 16 * m.weight.n_blocks);
        put_matrix(k, &m);
        cases_in(&k->out, 3, k->x, (size_t)T * 128 * 4);
        norm_rows(k, &m, T, C, 2684, false);
        multiply(k, &m, k->y, T, ld);
    } else {
        rows_fill(k, k->y, T, outs, ld);
        cases_begin(&k->out, "heads", "\"LD\":%u", ld);
        cases_in(&k->out, 3, k->y, (size_t)T * ld * 4);
    }
    cases_more(&k->out,
               ",\"DIM\":%u,\"D\":%u,\"HEADS\":%u,\"KV\":%u,\"PAGES\":3,"
               "\"ROOM\":4,\"ROPE\":%d",
               DIM, D, HEADS, KV, fused);
    cases_in(&k->out, 4, rows, sizeof rows);
    cases_in(&k->out, 5, rope, 130 * DIM * 4);
    memcpy(k->z, c->words, n_cache);
    for (uint32_t t = 0; t < T; t++) {
        uint32_t slot = rows[4 * t], p = rows[4 * t + 1];
        uint32_t page = rows[16 + slot * 3 + p / 64];
        int32_t *y = k->y + t * ld;

        rope_compose(rotation, low, high, p, DIM);
        for (uint32_t h = 0; fused && h < HEADS + KV; h++)
            rope_rotate(y + h * DIM, rotation, DIM);
        for (uint32_t h = 0; h < HEADS; h++)
            put_head(heads + (t * HEADS + h) * (D / 4 + 1), y + h * DIM, DIM,
                     D);
        store(c, page, 0, p % 64, y + HEADS * DIM, y + (HEADS + KV) * DIM, DIM);
    }
    cases_expect(&k->out, 6, NULL, T * HEADS * (D / 4 + 1) * 4, heads,
                 T * HEADS * (D / 4 + 1) * 4);
    cases_expect(&k->out, 7, k->z, n_cache, c->words, n_cache);
    cases_end(&k->out, HEADS + 2 * KV, T);
    matrix_free(&m);
}

// One row, and rows past what the kernel keeps of scores.
static void attention_case(struct maker *k, struct cache *c, uint32_t DIM,
                           uint32_t KV, const uint32_t *lengths, uint32_t T)
{
    uint32_t D = kv_width(DIM), HEADS = 2, PAGES = 33, LD = HEADS * DIM;
    uint32_t rows[4 * 4 + 4 * 33] = {0}, heads[4 * 2 * 33], none[4] = {0};
    int32_t q[2 * 128], out[4 * 128];
    struct kv_tile tiles[33];
    static uint8_t exps[33][128];
    static _Alignas(64) int32_t scores[33 * 64], acc[128];
    static int64_t sum[128];
    static int8_t bytes[128];
    struct attention_scratch scratch = {scores, acc, sum, bytes};
    struct attention shared = {&engine_kernels_ref, k->logs, DIM, -20};
    bool fused = DIM == 64;

    c->D = D;
    c->KV = KV;
    cache_fill(k, c, PAGES * KV);
    for (uint32_t i = 0; i < 4 * PAGES; i++)
        rows[16 + i] = i * 5 % PAGES;
    for (uint32_t t = 0; t < T; t++) {
        rows[4 * t] = t;
        rows[4 * t + 1] = lengths[t] - 1;
        for (uint32_t h = 0; h < HEADS; h++) {
            for (uint32_t i = 0; i < DIM; i++)
                q[i] = cases_any(&k->out);
            put_head(heads + (t * HEADS + h) * (D / 4 + 1), q, DIM, D);
            for (uint32_t p = 0; p * 64 < lengths[t]; p++)
                tiles[p] = tile_get(c, rows[16 + t * PAGES + p],
                                    h / (HEADS / KV), exps[p]);
            attention_head(out + t * LD + h * DIM, q, tiles, lengths[t],
                           &shared, &scratch);
        }
    }
    cases_begin(&k->out, "attention",
                "\"DIM\":%u,\"D\":%u,\"HEADS\":%u,\"KV\":%u,\"LD\":%u,"
                "\"PAGES\":%u,\"ROOM\":4,\"SHIFT\":-20,\"FUSED\":%d",
                DIM, D, HEADS, KV, LD, PAGES, fused);
    cases_in(&k->out, 0, rows, sizeof rows);
    cases_in(&k->out, 1, heads, T * HEADS * (D / 4 + 1) * 4);
    cases_in(&k->out, 2, c->words, (size_t)PAGES * KV * (32 * D + 128) * 4);
    cases_in(&k->out, 3, k->logs, FORMAT_EXP2_LEN * 4);
    if (fused) {
        quantise_rows(&k->made, out, T, LD, LD);
        cases_in(&k->out, 4, none, sizeof none);
        put_quantised(k, &k->made, 5, T, HEADS);
    } else {
        cases_expect(&k->out, 4, NULL, T * LD * 4, out, T * LD * 4);
        cases_in(&k->out, 5, none, sizeof none);
        cases_in(&k->out, 6, none, sizeof none);
    }
    cases_end(&k->out, HEADS, T);
}

int main(int argc, char **argv)
{
    static const uint32_t one[] = {1, 130, 2100, 129}, narrow[] = {70, 3};
    struct maker *k = calloc(1, sizeof *k);
    struct cache *c = calloc(1, sizeof *c);

    CHECK(k && c);
    CHECK_EQ(argc, 2);
    cases_open(&k->out, argv[1]);
    tables_fill(k);
    norm_case(k, 67, 64, 2684, true, true);
    norm_case(k, 700, 64, UINT64_C(1) << 40, false, false);
    norm_case(k, 3, 64, 0, true, false);
    wire_cases(k);
    fingerprint_case(k);
    project_case(&k->out, 1);
    project_case(&k->out, 67);
    project_case(&k->out, 1090);
    embed_case(k);
    quantise_case(k);
    activation_case(k, false);
    activation_case(k, true);
    matmul_case(k, false, false);
    matmul_case(k, false, true);
    matmul_case(k, true, false);
    matmul_case(k, true, true);
    norm_up_case(k, false);
    norm_up_case(k, true);
    heads_case(k, c, false);
    heads_case(k, c, true);
    attention_case(k, c, 64, 1, one, 4);
    attention_case(k, c, 42, 2, narrow, 2);
    sample_case(&k->out, k->logs);
    cases_close(&k->out);
    free(c);
    free(k);
    return 0;
}
