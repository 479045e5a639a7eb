// packed.h - a model quantised in memory, as shards that an engine can bind.
#ifndef TESTS_ENGINE_PACKED_H
#define TESTS_ENGINE_PACKED_H

#include "engine/engine.h"
#include "splitter/quantise.h"

struct packed {
    uint32_t n_shards;
    struct engine_shard *shards; // n_shards
};

// Every function ends the test if it cannot do its work.

// Import and quantise a Hugging Face folder.
struct packed packed_from(const char *hf_dir, uint32_t n_shards, bool equalise);
void packed_release(struct packed *p);

// An engine over shards first .. end-1.
struct engine *packed_engine(const struct packed *p, uint32_t first,
                             uint32_t end,
                             const struct engine_options *options);

// A shard's tensor by name, writable.
struct tensor *packed_find(const struct packed *p, uint32_t shard,
                           const char *name);

#endif
