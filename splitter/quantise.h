// quantise.h - float rows of an imported model to the packed tensors of
// format.h, a shard at a time, streamed: no more than one matrix's mantissas
// and a few rows of it are in memory. Deterministic: the same source gives the
// same bytes. Native only.
#ifndef SPLITTER_QUANTISE_H
#define SPLITTER_QUANTISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "splitter/format.h"
#include "splitter/source.h"

struct quantise_options {
    uint32_t n_shards; // 1 .. the number of layers
    bool equalise;     // exact inverse scalings between neighbouring tensors
};

// Where packed tensors go. Calls come in this order: declare once a tensor;
// begin; then write, which continues with the next tensor whenever the
// declared bytes of the present one are full. Each returns ERR_OK to go on;
// anything else ends the work and is passed on. May fill *why itself.
struct quantise_sink {
    void *ctx;
    enum err (*declare)(void *ctx, const char *name, enum tensor_dtype dtype,
                        uint32_t n_dims, const uint32_t *dims);
    enum err (*begin)(void *ctx);
    enum err (*write)(void *ctx, const void *data, size_t n_bytes);
};

struct quantise;

// Scans the model once for its fixed points (and equalisation factors).
// src is borrowed until quantise_free. Errors as source_read, ERR_RANGE
// (options), ERR_NOMEM; *why is one line.
MUST_USE enum err quantise_new(const struct source *src,
                               const struct quantise_options *options,
                               struct quantise **out, char *why,
                               size_t why_len);
void quantise_free(struct quantise *q);

// What shard i will say of itself: layers, fixed points.
void quantise_config(const struct quantise *q, uint32_t shard,
                     struct format_config *out);

// Bytes of shard i's tensors, without container and alignment.
uint64_t quantise_shard_bytes(const struct quantise *q, uint32_t shard);

// Write shard i.
MUST_USE enum err quantise_shard(struct quantise *q, uint32_t shard,
                                 const struct quantise_sink *sink, char *why,
                                 size_t why_len);

#endif
