#include "engine/sampler.h"

#include <stdlib.h>
#include <string.h>

#include "engine/logarithm.h"
#include "engine/memory.h"
#include "engine/philox.h"

enum {
    DIGIT_BITS = 10,
    DIGITS = 1 << DIGIT_BITS,
    BELOW_BITS = 30,       // b of sampler.h is less than 2^30
    GUMBEL_MAX = 23 << 16, // above any noise
    TOP_P_OFF = 1 << 16,
    LOG2_E_Q16 = 94548,
};

struct sampler {
    uint32_t n_vocab;
    struct sampler_tables tables;
    const struct engine_kernels *kernels;
    int32_t *below;    // b of sampler.h
    uint32_t *counts;  // per token; all zero between applies
    uint32_t *counted; // the distinct tokens counted
    uint32_t n_counted;
    uint64_t sums[DIGITS];
};

enum err sampler_new(uint32_t n_vocab, const struct sampler_tables *tables,
                     const struct engine_kernels *kernels, struct sampler **out)
{
    struct sampler *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    s->n_vocab = n_vocab;
    s->tables = *tables;
    s->kernels = kernels;
    s->below = memory_new(n_vocab, sizeof *s->below);
    s->counts = memory_new(n_vocab, sizeof *s->counts);
    s->counted = memory_new(n_vocab, sizeof *s->counted);
    if (!s->below || !s->counts || !s->counted) {
        sampler_free(s);
        return ERR_NOMEM;
    }
    *out = s;
    return ERR_OK;
}

void sampler_free(struct sampler *s)
{
    if (!s)
        return;
    free(s->counted);
    free(s->counts);
    free(s->below);
    free(s);
}

size_t sampler_bytes(const struct sampler *s)
{
    return sampler_need(s->n_vocab);
}

size_t sampler_need(uint32_t n_vocab)
{
    return sizeof(struct sampler) + (size_t)n_vocab * 12 +
           3 * (size_t)MEMORY_ALIGN;
}

void sampler_count(struct sampler *s, uint32_t token)
{
    assert(token < s->n_vocab);
    if (s->counts[token]++ == 0)
        s->counted[s->n_counted++] = token;
}

void sampler_apply(struct sampler *s, int32_t *logits,
                   const struct syn1_sampling *sampling, const uint8_t *bias,
                   uint16_t n_bias)
{
    for (uint32_t i = 0; i < s->n_counted; i++) {
        uint32_t token = s->counted[i];

        // At most 2^20 positions times 2^17.
        logits[token] =
            engine_sat64(logits[token] -
                         (int64_t)s->counts[token] * sampling->frequency_q16 -
                         sampling->presence_q16);
        s->counts[token] = 0;
    }
    s->n_counted = 0;
    for (uint16_t i = 0; i < n_bias; i++) {
        uint32_t token = bytes_peek_u32(bias + (size_t)i * 8);
        int32_t add = (int32_t)bytes_peek_u32(bias + (size_t)i * 8 + 4);

        assert(token < s->n_vocab);
        logits[token] = engine_sat(logits[token] + add);
    }
}

// exp(-b) in Q30 for b >= 0 in Q16.
static uint32_t weight(const struct sampler *s, int32_t b)
{
    uint32_t z = (uint32_t)engine_mul_shift(b, LOG2_E_Q16, 16);

    return (uint32_t)engine_round_shift(s->tables.exp2[z >> 4 & 4095], z >> 16);
}

// One entry's part in a sum: its weight, or 1 when tokens are counted.
static uint64_t part(const struct sampler *s, int32_t b, bool by_weight)
{
    return by_weight ? weight(s, b) : 1;
}

// The sum over all entries with b <= limit.
static uint64_t sum_to(const struct sampler *s, int32_t limit, bool by_weight)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->n_vocab; i++)
        if (s->below[i] <= limit)
            sum += part(s, s->below[i], by_weight);
    return sum;
}

// The least theta for which the sum over b <= theta reaches target, which the
// whole sum does. Finds it digit by digit, from the top.
static int32_t theta_find(struct sampler *s, uint64_t target, bool by_weight)
{
    int32_t prefix = 0; // digits found

    for (uint32_t at = BELOW_BITS; at > 0; at -= DIGIT_BITS) {
        uint32_t shift = at - DIGIT_BITS, digit = 0;

        memset(s->sums, 0, sizeof s->sums);
        for (uint32_t i = 0; i < s->n_vocab; i++)
            if (s->below[i] >> shift >> DIGIT_BITS == prefix)
                s->sums[s->below[i] >> shift & (DIGITS - 1)] +=
                    part(s, s->below[i], by_weight);
        while (digit < DIGITS - 1 && s->sums[digit] < target)
            target -= s->sums[digit++];
        prefix = (int32_t)((uint32_t)prefix << DIGIT_BITS | digit);
    }
    return prefix;
}

// top_p of total, rounded up; total < 2^51.
static uint64_t share(uint64_t total, uint32_t top_p_q16)
{
    return (total >> 16) * top_p_q16 +
           (((total & 0xffff) * top_p_q16 + 0xffff) >> 16);
}

static int32_t kept_limit(struct sampler *s,
                          const struct syn1_sampling *sampling)
{
    int32_t limit = FORMAT_VALUE_MAX;

    if (sampling->top_k > 0 && sampling->top_k < s->n_vocab)
        limit = theta_find(s, sampling->top_k, false);
    if (sampling->top_p_q16 < TOP_P_OFF) {
        uint64_t target = share(sum_to(s, limit, true), sampling->top_p_q16);
        int32_t theta = theta_find(s, target, true);

        limit = theta < limit ? theta : limit;
    }
    return limit;
}

static uint32_t first_equal(const int32_t *v, int32_t value)
{
    uint32_t i = 0;

    while (v[i] != value)
        i++;
    return i;
}

// Step 5. Noise is only made where it could still win: it is below GUMBEL_MAX.
static uint32_t gumbel_max(const struct sampler *s, int32_t limit,
                           uint64_t seed, uint32_t position)
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4], have = UINT32_MAX, best = 0;
    int32_t best_score = INT32_MIN;

    for (uint32_t i = 0; i < s->n_vocab; i++) {
        int32_t b = s->below[i];

        if (b > limit || GUMBEL_MAX - b <= best_score)
            continue;
        if (have != i >> 2) {
            uint32_t counter[4] = {position, i >> 2, 0, 0};

            philox_words(counter, key, words);
            have = i >> 2;
        }
        int32_t score =
            logarithm_gumbel(words[i & 3], s->tables.log2, s->tables.logh) - b;
        if (score > best_score) {
            best_score = score;
            best = i;
        }
    }
    return best;
}

uint32_t sampler_choose(struct sampler *s, const int32_t *logits,
                        const struct syn1_sampling *sampling, uint32_t position)
{
    int32_t max = s->kernels->max(logits, s->n_vocab);
    int32_t inv_temp = sampling->inv_temp_q16 > INT32_MAX
                           ? INT32_MAX
                           : (int32_t)sampling->inv_temp_q16;

    if (inv_temp == 0)
        return first_equal(logits, max);
    for (uint32_t i = 0; i < s->n_vocab; i++)
        s->below[i] = engine_mul_shift(max - logits[i], inv_temp, 16);
    return gumbel_max(s, kept_limit(s, sampling), sampling->seed, position);
}

struct sampler_total sampler_total(struct sampler *s, const int32_t *logits)
{
    int32_t max = s->kernels->max(logits, s->n_vocab);
    uint64_t sum = 0;
    int32_t log;

    for (uint32_t i = 0; i < s->n_vocab; i++)
        sum += weight(s, engine_sat(max - logits[i]));
    // The weight of the largest is a little under 2^30: exp2[0].
    log = logarithm_2(sum, s->tables.log2) -
          logarithm_2((uint64_t)s->tables.exp2[0], s->tables.log2);
    return (struct sampler_total){
        max, engine_round_shift(logarithm_natural(log), FORMAT_LOG_Q - 16)};
}

int32_t sampler_logprob(const struct sampler_total *total,
                        const int32_t *logits, uint32_t token)
{
    return engine_sat(logits[token] - total->max) - total->log_sum;
}

void sampler_tops(struct sampler *s, const struct sampler_total *total,
                  const int32_t *logits, uint32_t n, struct sampler_top *out)
{
    uint32_t have = 0;

    for (uint32_t i = 0; i < s->n_vocab && n > 0; i++) {
        uint32_t at = have;

        if (have == n && logits[i] <= logits[out[n - 1].token])
            continue;
        at = have < n ? have++ : n - 1;
        for (; at > 0 && logits[i] > logits[out[at - 1].token]; at--)
            out[at] = out[at - 1];
        out[at].token = i;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (i >= have)
            out[i] = out[have - 1];
        out[i].logprob = sampler_logprob(total, logits, out[i].token);
    }
}
