// The integer operations against wide or real arithmetic, at the edges of
// their ranges.
#include <math.h>
#include <string.h>

#include "base/syn1.h"
#include "check.h"
#include "engine/attention.h"
#include "engine/kernels.h"
#include "engine/memory.h"
#include "engine/philox.h"
#include "engine/rope.h"
#include "engine/wire.h"
#include "splitter/tables.h"

static const int32_t MAX = FORMAT_VALUE_MAX;

static uint32_t random_word(uint32_t i, uint32_t stream)
{
    uint32_t counter[4] = {i, stream, 0, 0}, key[2] = {5, 6}, out[4];

    philox_words(counter, key, out);
    return out[0];
}

// Any magnitude up to MAX, either sign.
static int32_t random_value(uint32_t i, uint32_t stream)
{
    uint32_t w = random_word(i, stream);
    int32_t v = (int32_t)((w & 0x3fffffff) >> (w >> 30) * 9);

    v = v > MAX ? MAX : v;
    return random_word(i, stream + 1000) & 1 ? -v : v;
}

static int32_t clamp_real(double v)
{
    return v > MAX ? MAX : v < -MAX ? -MAX : (int32_t)v;
}

static void shifts_round_half_up(void)
{
    static const struct {
        int32_t v;
        uint32_t s;
        int32_t want;
    } rows[] = {{5, 1, 3},           {-5, 1, -2},        {6, 2, 2},
                {-6, 2, -1},         {7, 0, 7},          {MAX, 30, 1},
                {MAX, 31, 0},        {-MAX, 31, 0},      {MAX, 32, 0},
                {-MAX, 32, 0},       {-1, 40, 0},        {1 << 29, 31, 0},
                {INT32_MIN, 31, -1}, {-(1 << 30), 31, 0}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_EQ(engine_round_shift(rows[i].v, rows[i].s), rows[i].want);
    for (uint32_t i = 0; i < 20000; i++) {
        int32_t v = random_value(i, 1),
                s = (int32_t)(random_word(i, 2) % 100) - 50;

        CHECK_EQ(engine_shift(v, s),
                 s <= -32 ? 0 : clamp_real(floor(ldexp(v, s) + 0.5)));
    }
}

static void products_are_exact(void)
{
    for (uint32_t i = 0; i < 20000; i++) {
        int32_t a = random_value(i, 3), b = random_value(i, 4);
        uint32_t s = random_word(i, 5) % 63;
        long double p = (long double)a * b; // 60 bits fit its mantissa

        p = floorl(ldexpl(p, -(int)s) + 0.5L);
        CHECK_EQ(engine_mul_shift(a, b, s), p > MAX    ? MAX
                                            : p < -MAX ? -MAX
                                                       : (int32_t)p);
    }
}

static void roots_and_quotients_are_right(void)
{
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t v = random_word(i, 6) >> random_word(i, 7) % 32;
        uint64_t r = engine_sqrt(v);

        CHECK(r * r <= v && (r + 1) * (r + 1) > v);
        uint32_t d = v ? v : 1;
        uint64_t n = (uint64_t)random_word(i, 8) << 30 | random_word(i, 9);
        CHECK_EQ((intmax_t)engine_div(n, d),
                 (intmax_t)(n / d + (n % d * 2 >= d)));
    }
    CHECK_EQ(engine_sqrt(UINT32_MAX), 65535);
}

static void norms_are_close(void)
{
    enum { N = 300 };
    static int32_t x[N], gain[N], bias[N], out[N];

    for (uint32_t bits = 4; bits <= 29; bits += 5)
        for (int centre = 0; centre < 2; centre++) {
            double mean = 0, var = 0;

            for (uint32_t i = 0; i < N; i++) {
                x[i] = (int32_t)(random_word(i, bits) >> (32 - bits)) -
                       (1 << (bits - 2));
                gain[i] = (int32_t)(random_word(i, 40) >> 12);
                bias[i] = (int32_t)(random_word(i, 41) >> 8);
                mean += centre ? (double)x[i] / N : 0;
            }
            for (uint32_t i = 0; i < N; i++)
                var += (x[i] - mean) * (x[i] - mean) / N;
            engine_norm_ref(out, x, gain, bias, N, 100, centre);
            for (uint32_t i = 0; i < N; i++) {
                double want =
                    (x[i] - mean) / sqrt(var + 100) * gain[i] + bias[i];
                double error = bits < 10 ? 0.06 : 2e-4;

                CHECK(fabs(out[i] - want) <
                      error * (1 << 20) * (1 + fabs(want) / (1 << 20)));
            }
        }
    // Nothing to divide by, and everything as large as it can be.
    memset(x, 0, sizeof x);
    engine_norm_ref(out, x, gain, NULL, N, 0, true);
    for (uint32_t i = 0; i < N; i++)
        CHECK_EQ(out[i], 0);
    for (uint32_t i = 0; i < N; i++)
        x[i] = i % 2 ? MAX : -MAX;
    engine_norm_ref(out, x, gain, NULL, N, UINT64_C(1) << 47, true);
    for (uint32_t i = 0; i < N; i++)
        CHECK(abs(abs(out[i]) - gain[i]) <= gain[i] / 8192 + 2);
}

static void activations_are_close(void)
{
    static int32_t table[FORMAT_ACT_LEN];

    for (int f = ARCH_GPT2; f <= ARCH_LLAMA; f++) {
        tables_act((enum arch_family)f, table);
        for (int32_t u = -(20 << 16); u < 20 << 16; u += 1009) {
            double x = ldexp(u, -16), want;
            int32_t got;

            engine_act_ref(&got, &u, table, 1);
            want = f == ARCH_GPT2 ? 0.5 * x *
                                        (1 + tanh(0.7978845608028654 *
                                                  (x + 0.044715 * x * x * x)))
                                  : x / (1 + exp(-x));
            CHECK(fabs(ldexp(got, -16) - want) < 3e-5);
        }
    }
}

static void rotations_keep_lengths(void)
{
    const struct arch arch = {
        .head_dim = 64, .rope_theta = 10000, .family = ARCH_LLAMA};
    static int16_t low[FORMAT_ROPE_LOW * 64], high[1024 * 64];
    int32_t rotation[64], head[64];

    for (uint32_t i = 0; i < FORMAT_ROPE_LOW; i++)
        tables_rope_row(&arch, i, low + i * 64);
    for (uint32_t i = 0; i < 1024; i++)
        tables_rope_row(&arch, i * FORMAT_ROPE_LOW, high + i * 64);
    for (uint32_t p = 0; p < ARCH_CTX_MAX; p += 4099) {
        rope_compose(rotation, low, high, p, 64);
        for (uint32_t i = 0; i < 64; i++)
            head[i] = 1 << 20;
        rope_rotate(head, rotation, 64);
        for (uint32_t i = 0; i < 32; i++) {
            double angle = p * pow(10000, -2.0 * i / 64);

            CHECK(fabs(ldexp(head[i], -20) - (cos(angle) - sin(angle))) < 4e-4);
            CHECK(fabs(ldexp(head[32 + i], -20) - (cos(angle) + sin(angle))) <
                  4e-4);
        }
    }
}

static void wire_rows_round_trip(void)
{
    enum { N = 100 }; // no multiple of 32
    int32_t x[N], y[N], z[N];
    uint8_t row[N + 4], again[N + 4];

    CHECK_EQ((intmax_t)syn1_row_len(N), (intmax_t)sizeof row);
    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < N; i++)
            x[i] = random_value(i, 50 + round);
        x[0] = MAX;
        x[99] = -MAX;
        wire_put(row, x, N);
        wire_get(y, row, N);
        for (uint32_t i = 0; i < N; i++)
            CHECK(fabs((double)x[i] - y[i]) <= ldexp(0.5, row[N + i / 32]) * 2);
        wire_put(again, y, N); // what crossed once crosses unchanged
        wire_get(z, again, N);
        CHECK(memcmp(y, z, sizeof y) == 0);
    }
}

// Attention over the int8 cache against doubles on the same int8 values.
static void attention_is_close(void)
{
    enum { D = 40, N = 700, PAGES = (N + KV_PAGE - 1) / KV_PAGE, W = 48 };
    struct kv_tile tiles[PAGES];
    static int32_t q[D], k[N][D], v[N][D], out[D], exp2_table[FORMAT_EXP2_LEN];
    struct attention_scratch scratch = {memory_new(PAGES * KV_PAGE, 4),
                                        memory_new(W, 4), memory_new(W, 8),
                                        memory_new(ARCH_HEAD_MAX, 1)};
    struct attention how = {&engine_kernels_ref, exp2_table, D, 12 - 30};
    static double p[N];

    tables_exp2(exp2_table);
    for (int i = 0; i < PAGES; i++)
        tiles[i] =
            (struct kv_tile){memory_new(KV_PAGE, W), memory_new(KV_PAGE, W),
                             memory_new(KV_PAGE, 1), memory_new(KV_PAGE, 1)};
    for (uint32_t i = 0; i < D; i++)
        q[i] = (int32_t)random_word(i, 60) >> 16;
    for (uint32_t t = 0; t < N; t++) {
        for (uint32_t i = 0; i < D; i++) {
            k[t][i] = (int32_t)random_word(t * D + i, 61) >> 17;
            v[t][i] = (int32_t)random_word(t * D + i, 62) >> (15 + t % 3);
        }
        attention_store(&tiles[t / KV_PAGE], t % KV_PAGE, k[t], v[t], D,
                        &engine_kernels_ref);
    }
    for (uint32_t n = 1; n <= N; n += 233) {
        double total = 0, max = -1e9;

        attention_head(out, q, tiles, n, &how, &scratch);
        for (uint32_t t = 0; t < n; t++) {
            p[t] = 0;
            for (uint32_t i = 0; i < D; i++)
                p[t] += ldexp((double)q[i] * k[t][i], -30);
            max = fmax(max, p[t]);
        }
        for (uint32_t t = 0; t < n; t++)
            total += p[t] = exp2(p[t] - max);
        for (uint32_t i = 0; i < D; i++) {
            double want = 0;

            for (uint32_t t = 0; t < n; t++)
                want += p[t] / total * v[t][i];
            CHECK(fabs(out[i] - want) < 0.01 * (1 << 16));
        }
    }
    for (int i = 0; i < PAGES; i++) {
        free(tiles[i].k);
        free(tiles[i].v);
        free(tiles[i].k_exp);
        free(tiles[i].v_exp);
    }
    free(scratch.scores);
    free(scratch.acc);
    free(scratch.sum);
    free(scratch.q);
}

int main(void)
{
    shifts_round_half_up();
    products_are_exact();
    roots_and_quotients_are_right();
    norms_are_close();
    activations_are_close();
    rotations_keep_lengths();
    wire_rows_round_trip();
    attention_is_close();
    return 0;
}
