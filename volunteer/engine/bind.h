// bind.h - the tensors of a span's shards, looked up and checked once.
#ifndef ENGINE_BIND_H
#define ENGINE_BIND_H

#include "engine/engine.h"

struct bind_norm {
    const int32_t *gain;
    const int32_t *bias; // NULL: RMSNorm
};

struct bind_layer {
    struct bind_norm norm1, norm2;
    struct matmul_weight qkv, o, up, down;
    int32_t score_shift; // see attention.h
    bool boundary;       // the residual takes its wire form after this layer
};

struct bind_model {
    struct format_config config; // of the first shard of the span
    uint32_t span_first, span_end;
    bool has_embed, has_head;
    uint32_t n_layers; // of the span
    struct bind_layer *layers;
    const int32_t *exp2, *act;
    const int16_t *rope_low, *rope_high; // NULL: no rotation
    struct matmul_weight embed;          // b is NULL
    const int32_t *position;             // NULL: none
    struct bind_norm norm;
    struct matmul_weight head;
    const int32_t *log2, *logh;
};

// As engine_new. On success release with bind_release.
MUST_USE enum err bind_model(const struct engine_shard *shards, size_t n_shards,
                             struct bind_model *out, char *why, size_t why_len);
void bind_release(struct bind_model *model);

#endif
