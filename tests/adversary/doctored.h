// doctored.h - engines that compute something else than the model, as those
// who cheat would: cheaper weights, a layer left out, a cache with a hole.
#ifndef TESTS_ENGINE_DOCTORED_H
#define TESTS_ENGINE_DOCTORED_H

#include "engine/engine.h"

enum doctored_kind {
    DOCTORED_NOTHING,   // the model as it is
    DOCTORED_WEIGHTS,   // all weights of all layers cut to 4 bits
    DOCTORED_MATRIX,    // those of one matrix
    DOCTORED_LAYER,     // one layer adds nothing to the residual
    DOCTORED_EXPONENTS, // rows of all matrices count twice
    DOCTORED_KV,        // position 3 of each page of 64 has neither key nor
                        // value
};

// An engine over a doctored copy of the shards (the middle one of the span is
// the one doctored, where it is one). options as engine_new, kernels included.
struct doctored {
    struct engine *engine;
    struct engine_shard *shards; // n_shards, owned
    size_t n_shards;
};

MUST_USE enum err doctored_new(enum doctored_kind kind,
                               const struct engine_shard *shards,
                               size_t n_shards,
                               const struct engine_options *options,
                               struct doctored *out);
void doctored_release(struct doctored *d);

#endif
