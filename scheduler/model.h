// model.h - what the scheduler knows of a served model.
#ifndef SCHED_MODEL_H
#define SCHED_MODEL_H

#include "scheduler/store.h"

enum { SCHED_ENDS_MAX = 16, SCHED_MODEL_NAME_MAX = 127 };

// What a volunteer needs for one shard.
struct sched_shard {
    uint64_t n_bytes;       // of its file
    uint64_t kv_bytes;      // of a sequence of the full context
    uint64_t scratch_bytes; // to compute; a span needs that of one shard
    uint64_t n_params;      // for credit
    uint32_t n_layers;
};

struct sched_model {
    uint8_t
        id[SCHED_HASH_LEN]; // SHA-256 of the manifest; SYN1 carries 16 bytes
    const char *name;       // 1 .. SCHED_MODEL_NAME_MAX bytes
    uint16_t n_shards;      // the whole model is the span [0, n_shards)
    uint32_t n_vocab;       // token ids are 0 .. n_vocab - 1
    uint32_t context;       // positions: prompt and answer together
    uint64_t n_params;      // of all shards together, for credit
    uint32_t n_ends;        // 0 .. SCHED_ENDS_MAX
    uint32_t ends[SCHED_ENDS_MAX]; // token ids that end a sequence
    uint32_t dim; // elements of a row between shards; 0: it is never split
    const struct sched_shard *shards; // n_shards, unless dim is 0
};

// Tell the store about a model, at start; repeating it changes nothing. Must
// be done before lines for it are added.
MUST_USE enum err sched_model_put(struct sched_store *store,
                                  const struct sched_model *model,
                                  sched_done_fn *fn, void *ctx);

#endif
