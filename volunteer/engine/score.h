// score.h - how likely the engine finds given tokens: for `synapse eval`.
#ifndef ENGINE_SCORE_H
#define ENGINE_SCORE_H

#include "engine/engine.h"

// As local_score in local.h. ERR_UNSUPPORTED: not a whole-model span.
// ERR_RANGE: n is not 2 .. context, or a token id is past the vocabulary.
// ERR_NOMEM, ERR_FULL.
MUST_USE enum err engine_score(struct engine *engine, const uint32_t *tokens,
                               uint32_t n, int32_t *nll_q16, uint32_t *best);

#endif
