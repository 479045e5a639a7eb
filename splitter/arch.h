// arch.h - what a model is: family and dimensions, as its config.json says.
#ifndef SPLITTER_ARCH_H
#define SPLITTER_ARCH_H

#include <stdbool.h>
#include <stdint.h>

enum arch_family { ARCH_GPT2 = 1, ARCH_LLAMA = 2, ARCH_QWEN2 = 3 };
enum arch_rope {
    ARCH_ROPE_DEFAULT = 0,
    ARCH_ROPE_LINEAR = 1,
    ARCH_ROPE_LLAMA3 = 2
};

enum {
    ARCH_LAYERS_MAX = 1024,
    ARCH_WIDTH_MAX = 65536, // any of d_model, d_ff, n_heads * head_dim
    ARCH_HEAD_MIN = 32,
    ARCH_HEAD_MAX = 128,
    ARCH_VOCAB_MAX = 1 << 20,
    ARCH_CTX_MAX = 1 << 17,
    ARCH_ENDS_MAX = 8,
};

struct arch {
    enum arch_family family;
    uint32_t n_layers;
    uint32_t d_model;
    uint32_t n_heads;
    uint32_t n_kv_heads; // divides n_heads
    uint32_t head_dim;   // ARCH_HEAD_MIN .. ARCH_HEAD_MAX, even
    uint32_t d_ff;
    uint32_t n_vocab;
    uint32_t n_ctx; // the longest sequence it serves
    double norm_eps;
    bool tied_head; // the head is the embedding
    bool qkv_bias;  // GPT-2, Qwen2
    enum arch_rope rope;
    double rope_theta;
    double rope_factor;     // linear, llama3
    double rope_low_freq;   // llama3
    double rope_high_freq;  // llama3
    uint32_t rope_orig_ctx; // llama3: context before stretching
    uint32_t n_ends;
    uint32_t ends[ARCH_ENDS_MAX]; // token ids that end a sequence
};

#endif
