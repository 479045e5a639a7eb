// models.h - the spans of models that this volunteer has ready: shards mapped,
// an engine bound, its speed measured. All of them together keep to one bound
// of memory: mapped shards, KV and scratch. What room is left beyond the
// shards is shared out as KV, equally many sequences for each span.
//
// Main thread only, and spans are opened only while nothing computes: the
// computing thread runs the engines of spans that it was given.
#ifndef NATIVE_MODELS_H
#define NATIVE_MODELS_H

#include "engine/engine.h"

enum { NATIVE_MODELS_MAX = 16, NATIVE_MODEL_NAME_MAX = 64 };

struct native_models;

struct native_models_config {
    enum engine_isa isa;
    bool f32;           // in class f32 instead: only parts of models
    unsigned n_threads; // 1 ..
    uint64_t memory;    // bytes for shards, KV and scratch of all spans
    uint32_t n_seqs;    // sequences at a time, at most; 0: what fits
    bool load;          // shards, instead of mapping them (file_map.h)
    engine_step_fn *step;
    void *step_ctx;
};

// A span that is ready.
struct native_model {
    uint8_t id[SYN1_ID_LEN];
    char name[NATIVE_MODEL_NAME_MAX + 1];
    uint16_t span_first, span_end;
    uint16_t n_shards;       // of the whole model
    uint64_t n_bytes;        // shards of the span
    uint32_t n_slots;        // sequences it may hold; changes as others come
    struct engine *engine;   // for one thread at a time
    uint32_t prefill_rows_s; // measured when it was opened
    uint32_t decode_tokens_s;
};

// ERR_NOMEM, ERR_UNSUPPORTED (this machine cannot run that isa).
MUST_USE enum err native_models_new(const struct native_models_config *config,
                                    struct native_models **out);

// Everything that ran on their engines must have ended.
void native_models_free(struct native_models *models);

// Remember the model folder, or every model folder directly in it: spans of
// these need no download. Folders that hold no manifest are passed over.
// Nothing is opened. Errors of manifest.h, ERR_IO, ERR_FULL, ERR_NOMEM.
MUST_USE enum err native_models_add(struct native_models *models,
                                    const char *folder, char *why,
                                    size_t why_len);

// The i-th folder that was added, NULL past the last; and the folder of the
// model with that id, or NULL.
const char *native_models_folder(const struct native_models *models, size_t i);
const char *native_models_folder_of(const struct native_models *models,
                                    const uint8_t id[SYN1_ID_LEN]);

// Open the shards span_first .. span_end-1 (span_end 0: to the last) of the
// model in the folder, bind an engine to them and measure it. Only these
// shards need be there. Where the memory does not reach for all, the spans
// not used for longest are closed. ERR_EXISTS: it is there already. ERR_FULL:
// it does not fit even alone; nothing was closed. ERR_RANGE: the model has
// not so many shards. Otherwise errors of manifest.h, shard.h and engine_new.
// why gets a line on failure.
MUST_USE enum err native_models_open(struct native_models *models,
                                     const char *folder, uint16_t span_first,
                                     uint16_t span_end, char *why,
                                     size_t why_len);

// The model with that id and span, now used, or NULL.
struct native_model *native_models_find(struct native_models *models,
                                        const uint8_t id[SYN1_ID_LEN],
                                        uint16_t span_first, uint16_t span_end);

// Spans there are, and the i-th, in the order they were opened.
size_t native_models_count(const struct native_models *models);
const struct native_model *native_models_at(const struct native_models *models,
                                            size_t i);

// What a call tells as memory: the bound less the shards of all open spans, so
// that with these it gives the bound. What KV and scratch take beside them is
// not in it. After a span was refused (ERR_FULL) the bound is told as less
// than its shards, so that it is not asked for again.
uint64_t native_models_memory(const struct native_models *models);

// The bound as it is told, when joining too.
uint64_t native_models_bound(const struct native_models *models);

// Bytes that are taken at most: mapped shards, KV and scratch. Never over the
// bound. And bytes that are taken now.
uint64_t native_models_taken(const struct native_models *models);
uint64_t native_models_bytes(const struct native_models *models);

// The name of the kernels in use: "ref", "avx2", ...
const char *native_models_isa(const struct native_models *models);

#endif
