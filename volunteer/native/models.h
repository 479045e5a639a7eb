// models.h - the models that this volunteer has ready: shards mapped, an
// engine bound, its speed measured. One thread adds; others may look.
#ifndef NATIVE_MODELS_H
#define NATIVE_MODELS_H

#include <stdatomic.h>

#include "engine/engine.h"

enum { NATIVE_MODELS_MAX = 16, NATIVE_MODEL_NAME_MAX = 64 };

struct native_models;

struct native_models_config {
    enum engine_isa isa;
    unsigned n_threads; // 1 ..
    uint64_t memory;    // bytes for shards, KV and scratch of all models
    uint32_t n_seqs;    // sequences at a time, at most; 0: what fits
    engine_step_fn *step;
    void *step_ctx;
};

// A model that is ready. All but engine is constant.
struct native_model {
    uint8_t id[SYN1_ID_LEN];
    char name[NATIVE_MODEL_NAME_MAX + 1];
    uint16_t span_first, span_end;
    uint64_t n_bytes;        // shards
    uint32_t n_slots;        // sequences it may hold
    struct engine *engine;   // for one thread at a time
    uint32_t prefill_rows_s; // measured when it was opened
    uint32_t decode_tokens_s;
};

// ERR_NOMEM, ERR_UNSUPPORTED (this machine cannot run that isa).
MUST_USE enum err native_models_new(const struct native_models_config *config,
                                    struct native_models **out);

// Everything that ran on their engines must have ended.
void native_models_free(struct native_models *models);

// Open the model folder, bind an engine to all its shards and measure it.
// ERR_EXISTS: it is there already. ERR_FULL: no memory left for it. Otherwise
// errors of model.h and engine_new. why gets a line on failure.
MUST_USE enum err native_models_open(struct native_models *models,
                                     const char *folder, char *why,
                                     size_t why_len);

// Open the folder itself, or every model folder directly in it. Folders that
// hold no manifest are passed over. The first error ends it, ERR_EXISTS not.
MUST_USE enum err native_models_open_all(struct native_models *models,
                                         const char *folder, char *why,
                                         size_t why_len);

// The model with that id and span, or NULL. From any thread.
struct native_model *native_models_find(struct native_models *models,
                                        const uint8_t id[SYN1_ID_LEN],
                                        uint16_t span_first, uint16_t span_end);

// Models there are, and the i-th. From any thread.
size_t native_models_count(const struct native_models *models);
const struct native_model *native_models_at(const struct native_models *models,
                                            size_t i);

// Bytes of the budget that nothing has taken.
uint64_t native_models_memory(const struct native_models *models);

// The name of the kernels in use: "ref", "avx2", ...
const char *native_models_isa(const struct native_models *models);

#endif
