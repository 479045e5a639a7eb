// float_model.h - the transformers of the three families in double precision,
// as their papers and Hugging Face define them: what the integer engine should
// say but for rounding. Written without a look at it, and slow.
#ifndef TESTS_ENGINE_FLOAT_MODEL_H
#define TESTS_ENGINE_FLOAT_MODEL_H

#include <stdint.h>

#include "splitter/source.h"

// What the model says at one position about the token after it.
struct float_token {
    double nll;    // negative log-likelihood of the token that is there
    uint32_t best; // the likeliest token
    double margin; // its logit over the second best's
};

// Read the n tokens (at least 2) of a window; out gets n-1 entries. arch is
// what the weights of src are taken for: source_arch(src), or another one of
// the same shapes. Ends the test if a tensor cannot be read.
void float_model_score(const struct source *src, const struct arch *arch,
                       const uint32_t *tokens, uint32_t n,
                       struct float_token *out);

#endif
