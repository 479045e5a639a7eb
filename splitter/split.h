// split.h - from a Hugging Face folder to a model folder.
//
// Streamed: no more than the largest tensor is in memory. The same input and
// options give the same bytes. manifest.json is written last, so a folder that
// has one is whole; what an interrupted run left is cleared by the next.
#ifndef SPLITTER_SPLIT_H
#define SPLITTER_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "splitter/why.h"

struct split_options {
    const char *hf_dir;
    const char *out_dir;      // made if it is not there; its parent must be
    const char *name;         // NULL: the last part of hf_dir's path
    uint32_t n_shards;        // 0: as few as max_shard_bytes allows
    uint64_t max_shard_bytes; // 0: no limit; only where n_shards is 0
    bool equalise;
};

// How far it is: done of total bytes are written. Called often.
typedef void split_progress_fn(void *ctx, uint64_t done, uint64_t total);

// Errors: as source_open and quantise_new; ERR_EXISTS (out_dir holds something
// that is not a model folder), ERR_RANGE (a shard count or limit that cannot
// be met), ERR_IO. *why is one line.
MUST_USE enum err split_run(const struct split_options *options,
                            split_progress_fn *fn, void *ctx, char *why,
                            size_t why_len);

#endif
