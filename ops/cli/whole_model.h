// whole_model.h - a model folder opened to be computed here: all its shards in
// one engine, and its tokenizer.
#ifndef CLI_WHOLE_MODEL_H
#define CLI_WHOLE_MODEL_H

#include "engine/engine.h"
#include "native/pool.h"
#include "splitter/model.h"
#include "tokenizer/tokenizer.h"

struct whole_model {
    struct model *model;
    struct native_pool *pool; // NULL for one thread
    struct engine *engine;
    struct tokenizer *tokenizer;
    const struct manifest *manifest;
};

struct whole_model_options {
    const char *dir;
    enum engine_isa isa;
    uint32_t n_slots;   // sequences kept at the same time; 0: 1
    uint32_t n_threads; // 1 .. ENGINE_WORKERS_MAX; 0: 1
};

// The isa of a name that --isa takes. False if there is none.
bool whole_model_isa(const char *name, enum engine_isa *out);

#define WHOLE_MODEL_ISAS "best, ref, avx2, vnni, vnni512"

// A number of threads that --threads takes.
bool whole_model_threads(const char *text, uint32_t *out);

// Open it. On error *why is one line.
MUST_USE enum err whole_model_open(const struct whole_model_options *options,
                                   struct whole_model *out, char *why,
                                   size_t why_len);

void whole_model_release(struct whole_model *m);

#endif
