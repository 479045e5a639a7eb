// local.h - an engine used directly, for `synapse run`, `eval` and `verify`: it
// builds unit frames, so what it gives is what a volunteer would give.
// Whole-model spans only.
#ifndef ENGINE_LOCAL_H
#define ENGINE_LOCAL_H

#include "engine/engine.h"

// Called with each new token, in order; return false to stop there.
typedef bool local_token_fn(void *ctx, uint32_t token);

struct local_request {
    const uint32_t *prompt; // n_prompt token ids, at least 1
    uint32_t n_prompt;
    uint32_t max_tokens;
    struct syn1_sampling sampling;
    uint32_t n_stop; // token ids that end it besides the model's own
    const uint32_t *stop;
};

struct local_result {
    uint32_t n_tokens;             // generated, the ending one included
    enum syn1_finish finish;       // SYN1_GOES_ON: max_tokens were made
    uint64_t prompt_us, decode_us; // by options.now_us
};

// Generate. tokens are handed to on_token and not kept. The engine forgets the
// sequence at the end. Errors as engine_run.
MUST_USE enum err local_generate(struct engine *engine,
                                 const struct local_request *request,
                                 local_token_fn *on_token, void *ctx,
                                 struct local_result *out);

// An answer to be computed again.
struct local_answer {
    uint32_t n_prompt, n_tokens; // each at least 1
    const uint32_t *ids;         // the prompt's, then the answer's
    struct syn1_sampling sampling;
    uint16_t n_bias, n_stop;
    const uint8_t *bias, *stop; // as in SYN1
    // n_tokens * (4 + 8 * sampling.n_top) bytes for the log-probabilities, as
    // in SYN1, if sampling wants them; or NULL.
    uint8_t *logprobs;
};

// Compute every token of an answer again in one pass, each after the ones
// before it as they were given. *n_same is how many are as given, up to the
// first that is not; the log-probabilities are there only if all are.
// Errors: as engine_run; ERR_FULL (no room for it).
MUST_USE enum err local_check(struct engine *engine,
                              const struct local_answer *answer,
                              uint32_t *n_same);

// Score a window of n tokens (2 .. context) in one pass. For each i below n-1,
// about token i+1 given tokens 0..i: nll_q16[i] is its negative log-likelihood
// in Q16, best[i] the token we would have chosen. Either may be NULL.
MUST_USE enum err local_score(struct engine *engine, const uint32_t *tokens,
                              uint32_t n, int32_t *nll_q16, uint32_t *best);

#endif
