// synthetic.h - small models made of pseudo-random integers, so that they are
// the same on every machine: no file, no float. libc only (also in WASM).
#ifndef TESTS_ENGINE_SYNTHETIC_H
#define TESTS_ENGINE_SYNTHETIC_H

#include "engine/engine.h"

enum synthetic_kind {
    SYNTHETIC_GPT2,  // odd width and vocabulary, tied head
    SYNTHETIC_LLAMA, // grouped heads, rotation, gate, untied head
    SYNTHETIC_QWEN2, // one KV head, tied head
    SYNTHETIC_KINDS
};

enum { SYNTHETIC_TENSORS_MAX = 128 };

struct synthetic {
    struct format_config config; // of shard 0
    struct engine_shard *shards; // n_shards
    uint32_t n_shards;
};

// n_shards 1..3: the models have three layers. The weights of a layer do not
// depend on it. False: no memory.
bool synthetic_new(enum synthetic_kind kind, uint32_t n_shards,
                   struct synthetic *out);
void synthetic_release(struct synthetic *s);

#endif
