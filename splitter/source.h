// source.h - the float tensors of an imported model, by role, in one
// orientation for all families: matrices are (rows out, columns in).
#ifndef SPLITTER_SOURCE_H
#define SPLITTER_SOURCE_H

#include <stddef.h>

#include "base/err.h"
#include "splitter/arch.h"

enum source_role {
    SOURCE_EMBED,      // (n_vocab, d_model)
    SOURCE_POSITION,   // (n_ctx, d_model), GPT-2
    SOURCE_FINAL_GAIN, // (d_model)
    SOURCE_FINAL_BIAS, // (d_model), GPT-2
    SOURCE_HEAD,       // (n_vocab, d_model); the embedding where tied
    // From here on one a layer.
    SOURCE_NORM1_GAIN, // (d_model), before attention
    SOURCE_NORM1_BIAS, // GPT-2
    SOURCE_Q,          // (n_heads * head_dim, d_model)
    SOURCE_K,          // (n_kv_heads * head_dim, d_model)
    SOURCE_V,          // (n_kv_heads * head_dim, d_model)
    SOURCE_Q_BIAS,     // where arch.qkv_bias
    SOURCE_K_BIAS,
    SOURCE_V_BIAS,
    SOURCE_O,          // (d_model, n_heads * head_dim)
    SOURCE_O_BIAS,     // GPT-2
    SOURCE_NORM2_GAIN, // (d_model), before the MLP
    SOURCE_NORM2_BIAS, // GPT-2
    SOURCE_GATE,       // (d_ff, d_model), Llama and Qwen2
    SOURCE_UP,         // (d_ff, d_model); GPT-2's c_fc
    SOURCE_UP_BIAS,    // GPT-2
    SOURCE_DOWN,       // (d_model, d_ff)
    SOURCE_DOWN_BIAS,  // GPT-2
    SOURCE_ROLES
};

struct source;

// Open a Hugging Face folder: config.json and model.safetensors, or the files
// of model.safetensors.index.json. Every tensor that arch needs is looked up
// and its shape and dtype (F32, F16, BF16) checked here; data is only mapped.
// On error *why (a caller's buffer of why_len bytes) says in one line which
// file, key or tensor and what was wrong. Errors: ERR_FORMAT, ERR_UNSUPPORTED,
// ERR_NOT_FOUND, ERR_RANGE, ERR_IO, ERR_NOMEM.
MUST_USE enum err source_open(const char *hf_dir, struct source **out,
                              char *why, size_t why_len);

void source_free(struct source *src);

const struct arch *source_arch(const struct source *src);

// Whether a tensor of that role exists in this model.
bool source_has(const struct source *src, enum source_role role);

// Its shape as above; *cols is 1 for vectors.
void source_shape(const struct source *src, enum source_role role, size_t *rows,
                  size_t *cols);

// Read rows row .. row+n_rows-1 as floats into out (n_rows * cols). layer is
// ignored for roles that have one a model. ERR_FORMAT, with *why filled as in
// source_open, if a value is NaN or infinite.
MUST_USE enum err source_read(const struct source *src, enum source_role role,
                              uint32_t layer, size_t row, size_t n_rows,
                              float *out, char *why, size_t why_len);

#endif
