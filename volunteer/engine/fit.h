// fit.h - an engine within a bound of memory: how many rows it computes
// together and how long its answers may be, from much to little. None of this
// changes an output byte.
#ifndef ENGINE_FIT_H
#define ENGINE_FIT_H

#include "engine/engine.h"

// Fill in n_rows and answer_bytes of *options, so that *need and the KV of one
// sequence of the full context take at most max_bytes. The other options are
// read, but for kv_bytes. ERR_FULL: not even the least fits; *need says what
// that would take. Other errors and why as engine_need.
MUST_USE enum err engine_fit(const struct engine_shard *shards, size_t n_shards,
                             uint64_t max_bytes, struct engine_options *options,
                             struct engine_need *need, char *why,
                             size_t why_len);

#endif
