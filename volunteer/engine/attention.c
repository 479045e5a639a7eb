#include "engine/attention.h"

#include <string.h>

enum {
    SCORE_MAX = 1 << 27,
    MIX_PAGES = 512 / KV_PAGE, // pages summed in 32 bits
};

// As a group of the table's, but of more values.
static uint8_t quantise_long(int8_t *q, const int32_t *v, uint32_t n)
{
    uint32_t max = 0;

    for (uint32_t i = 0; i < n; i++)
        if (engine_abs(v[i]) > max)
            max = engine_abs(v[i]);

    uint32_t bits = engine_bits(max);
    uint32_t e = bits > 7 ? bits - 7 : 0;

    assert(bits <= 30);
    for (uint32_t i = 0; i < n; i++) {
        int32_t x = engine_round_shift(v[i], e);

        q[i] = (int8_t)(x > 127 ? 127 : x < -127 ? -127 : x);
    }
    memset(q + n, 0, ARCH_HEAD_MAX - n);
    return (uint8_t)e;
}

uint8_t attention_quantise(int8_t q[ARCH_HEAD_MAX], const int32_t *v,
                           uint32_t n, const struct engine_kernels *kernels)
{
    uint8_t e;
    int32_t corr; // not wanted

    if (n > FORMAT_GROUP)
        return quantise_long(q, v, n);
    return kernels->quantise(q, &e, &corr, v, n);
}

void attention_store(const struct kv_tile *tile, uint32_t t, const int32_t *k,
                     const int32_t *v, uint32_t head_dim,
                     const struct engine_kernels *kernels)
{
    uint32_t D = kv_width(head_dim);
    int8_t q[ARCH_HEAD_MAX];

    tile->k_exp[t] = attention_quantise(q, k, head_dim, kernels);
    for (uint32_t i = 0; i < D; i += 4)
        memcpy(tile->k + ((t / 16) * (D / 4) + i / 4) * 64 + (t % 16) * 4,
               q + i, 4);
    tile->v_exp[t] = attention_quantise(q, v, head_dim, kernels);
    for (uint32_t i = 0; i < D; i++)
        tile->v[(t / 4) * D * 4 + i * 4 + t % 4] = q[i];
}

int32_t engine_scores_ref(int32_t *s, const int8_t *q, int32_t shift,
                          const struct kv_tile *tile, uint32_t D, uint32_t n)
{
    int32_t max = -SCORE_MAX;

    for (uint32_t t = 0; t < n; t++) {
        const int8_t *k = tile->k + (t / 16) * (D / 4) * 64 + (t % 16) * 4;
        int32_t dot = 0; // |dot| <= 128 * 127 * 127 < 2^21

        for (uint32_t i = 0; i < D; i++)
            dot += q[i] * k[i / 4 * 64 + i % 4];
        dot = engine_shift(dot, tile->k_exp[t] + shift);
        s[t] = dot > SCORE_MAX    ? SCORE_MAX
               : dot < -SCORE_MAX ? -SCORE_MAX
                                  : dot;
        if (s[t] > max)
            max = s[t];
    }
    return max;
}

uint32_t engine_weights_ref(uint8_t *low, uint8_t *high, const int32_t *s,
                            int32_t max, const int32_t *exp2,
                            const uint8_t *v_exp, uint8_t e_max, uint32_t n)
{
    uint32_t sum = 0;

    for (uint32_t t = 0; t < KV_PAGE; t++) {
        int32_t p = 0;

        if (t < n) {
            uint32_t d = (uint32_t)(max - s[t]); // 0 .. 2^28

            p = engine_round_shift(exp2[d & (FORMAT_EXP2_LEN - 1)],
                                   16 + (d >> FORMAT_SCORE_Q));
            sum += (uint32_t)p;
            p = engine_round_shift(p, (uint32_t)(e_max - v_exp[t]));
        }
        assert(p >= 0 && p < 1 << 14);
        low[t] = (uint8_t)(p & 127);
        high[t] = (uint8_t)(p >> 7);
    }
    return sum;
}

void engine_mix_ref(int32_t *acc, const uint8_t *low, const uint8_t *high,
                    const struct kv_tile *tile, uint32_t D, uint32_t n)
{
    for (uint32_t t = 0; t < n; t++) {
        const int8_t *v = tile->v + (t / 4) * D * 4 + t % 4;
        int32_t p = 128 * high[t] + low[t];

        for (uint32_t i = 0; i < D; i++)
            acc[i] += p * v[i * 4];
    }
}

// Positions of page `page` among n.
static uint32_t page_len(uint32_t page, uint32_t n)
{
    uint32_t left = n - page * KV_PAGE;

    return left < KV_PAGE ? left : KV_PAGE;
}

static uint8_t largest_exp(const struct kv_tile *tiles, uint32_t n)
{
    uint8_t max = 0;

    for (uint32_t page = 0; page * KV_PAGE < n; page++) {
        const uint8_t *v_exp = tiles[page].v_exp;
        const uint32_t len = page_len(page, n);

        for (uint32_t t = 0; t < len; t++)
            max = v_exp[t] > max ? v_exp[t] : max;
    }
    return max;
}

// a of the formula in the header.
static int32_t normalised(int64_t acc, uint32_t lead)
{
    if (lead >= 9)
        return (int32_t)(acc * ((int64_t)1 << (lead - 9)));
    return (int32_t)(((acc >> (8 - lead)) + 1) >> 1);
}

void attention_head(int32_t *out, const int32_t *q, const struct kv_tile *tiles,
                    uint32_t n, const struct attention *attention,
                    const struct attention_scratch *scratch)
{
    const struct engine_kernels *kernels = attention->kernels;
    uint32_t D = kv_width(attention->head_dim);
    uint32_t n_pages = (n + KV_PAGE - 1) / KV_PAGE;
    int32_t max = -SCORE_MAX;
    uint32_t total = 0;
    uint8_t e_max = largest_exp(tiles, n);

    int32_t shift =
        attention_quantise(scratch->q, q, attention->head_dim, kernels) +
        attention->score_shift;

    for (uint32_t page = 0; page < n_pages; page++) {
        int32_t top =
            kernels->scores(scratch->scores + page * KV_PAGE, scratch->q, shift,
                            &tiles[page], D, page_len(page, n));

        if (top > max)
            max = top;
    }

    memset(scratch->sum, 0, D * sizeof *scratch->sum);
    for (uint32_t page = 0; page < n_pages; page++) {
        _Alignas(64) uint8_t low[KV_PAGE], high[KV_PAGE];
        uint32_t len = page_len(page, n);

        if (page % MIX_PAGES == 0)
            memset(scratch->acc, 0, D * sizeof *scratch->acc);
        total +=
            kernels->weights(low, high, scratch->scores + page * KV_PAGE, max,
                             attention->exp2, tiles[page].v_exp, e_max, len);
        kernels->mix(scratch->acc, low, high, &tiles[page], D, len);
        if (page % MIX_PAGES == MIX_PAGES - 1 || page == n_pages - 1)
            for (uint32_t i = 0; i < D; i++)
                scratch->sum[i] += scratch->acc[i];
    }

    // The largest score weighs 16383, so total is at least that, and at most
    // 16383 * ARCH_CTX_MAX < 2^31.
    uint32_t lead = (uint32_t)__builtin_clz(total);
    int32_t inv = (int32_t)engine_div(UINT64_C(1) << 61, total << lead);

    assert(total >= 16383);
    for (uint32_t i = 0; i < attention->head_dim; i++)
        out[i] = engine_mul_shift(normalised(scratch->sum[i], lead), inv,
                                  52u - e_max);
}
