// sampler.h - from logits to a token, in integers.
//
// The token at absolute position p of a sequence is chosen by
//   1. penalties and biases on the logits l (Q16), saturating;
//   2. greedy (inv_temp 0): the largest, ties to the lowest id. Otherwise:
//   3. b_i = (l_max - l_i) * inv_temp / 2^16, in natural logarithms, Q16;
//      w_i = exp(-b_i) in Q30, from the exp2 table;
//   4. top_k keeps {b <= theta}, theta the least with at least top_k tokens;
//      of those top_p keeps {b <= theta}, theta the least whose sum of w
//      reaches top_p of their total. Ties are all kept, nothing is sorted;
//   5. Gumbel-max: the largest -b_i - ln(-ln U_i), ties to the lowest id, with
//      U = (2u + 1) / 2^33 and u = word (id & 3) of Philox4x32-10 with counter
//      (p, id >> 2, 0, 0) and key seed (low word first).
#ifndef ENGINE_SAMPLER_H
#define ENGINE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/syn1.h"
#include "engine/kernels.h"

struct sampler_tables {
    const int32_t *exp2, *log2, *logh; // format.h
};

// A token and its log-probability in Q16, at most 0.
struct sampler_top {
    uint32_t token;
    int32_t logprob;
};

struct sampler; // scratch for one vocabulary

MUST_USE enum err sampler_new(uint32_t n_vocab,
                              const struct sampler_tables *tables,
                              const struct engine_kernels *kernels,
                              struct sampler **out);
void sampler_free(struct sampler *s);
size_t sampler_bytes(const struct sampler *s);

// What sampler_bytes would be.
size_t sampler_need(uint32_t n_vocab);

// Step 1 for one generated token: call once for each, then apply.
void sampler_count(struct sampler *s, uint32_t token);

// Step 1: for each token counted c > 0 times since the last apply,
// l -= c * frequency + presence. The counts are forgotten. Then l += bias for
// the n_bias pairs (syn1.h), in their order.
void sampler_apply(struct sampler *s, int32_t *logits,
                   const struct syn1_sampling *sampling, const uint8_t *bias,
                   uint16_t n_bias);

// Steps 2 to 5. position as above; logits are not changed.
uint32_t sampler_choose(struct sampler *s, const int32_t *logits,
                        const struct syn1_sampling *sampling,
                        uint32_t position);

// ln of the sum of exp(l - l_max) over the vocabulary, Q16, and l_max.
struct sampler_total {
    int32_t max, log_sum;
};
struct sampler_total sampler_total(struct sampler *s, const int32_t *logits);

// The log-probability of a token at temperature 1, after step 1.
int32_t sampler_logprob(const struct sampler_total *total,
                        const int32_t *logits, uint32_t token);

// The n largest (n <= SYN1_TOP_MAX), largest first, ties by id. If the
// vocabulary has fewer, the rest repeats the last.
void sampler_tops(struct sampler *s, const struct sampler_total *total,
                  const int32_t *logits, uint32_t n, struct sampler_top *out);

#endif
