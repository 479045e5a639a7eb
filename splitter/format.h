// format.h - the packed tensors of a shard: names, shapes, units. This header
// is the specification; splitter/quantise.c writes it, volunteer/engine reads
// it, and so do the WGSL kernels.
//
// Fixed point: "Qn" is an int32 that stands for value * 2^n. Whatever fixed
// point a matrix reads and writes is folded into its row exponents, so the
// engine sees few of them.
//
// A packed matrix "X" (N rows out, K columns reduced) has G = ceil(K / 64)
// groups and NB = ceil(N / 16) blocks of 16 rows, and is four tensors:
//
//   X.w  I8  (NB, G, 1024)  a tile a block and group: the weight of row r
//                           (0..15) and column k (0..63), biased, w + 64
//                           with w in -63..63, at (k/4)*64 + r*4 + k%4.
//                           Padding rows and columns hold w = 0.
//   X.m  U8  (NB, G, 16)    mantissa of (row, group), 1..255
//   X.e  I32 (NB * 16)      row exponent, -FORMAT_ROW_EXP_MAX .. +that
//   X.b  I32 (NB * 16)      bias in the fixed point of the output
//
//   out[n] = sum over k of in[k] * w[n][k] * m[n][k/64] * 2^e[n] + b[n]
//
// where e[n] already counts from the fixed point of `in` to that of `out`.
// Padding rows have m = 1, e = 0, b = 0.
//
// Tensors of a shard. It holds layers layer_first .. layer_end-1; the first
// shard also the embedding, the last also the final norm and the head.
//
//   config           I32 (FORMAT_CONFIG_WORDS), struct format_config
//   exp2             I32 (4096) round((2^30 - 2^16) * 2^(-i/4096))
//   act              I32 (4097) the activation function in Q16 at
//                    -16 + i/128; below -16 it is 0, from 16 on the identity
//   rope.low         I16 (128, head_dim)            not GPT-2
//   rope.high        I16 (ceil(n_ctx/128), head_dim)
//                    rows of head_dim/2 cosines, then head_dim/2 sines, Q14,
//                    of the angles of positions p%128 and p - p%128
//   embed.w/.m/.e    packed (n_vocab, d_model), no bias; first shard.
//                    embed.e gives the residual's fixed point.
//   position         I32 (n_ctx, d_model) residual Q; first shard, GPT-2
//   layers.L.fixed   I32 (4): fixed points of q, k, v, up
//   layers.L.norm1.g I32 (d_model) gain, Q of this norm's output
//   layers.L.norm1.b I32 (d_model) bias, same Q; GPT-2
//   layers.L.qkv     packed (n_heads*head_dim + 2*n_kv_heads*head_dim,
//                    d_model): rows of q, then k, then v. log2(e) divided by
//                    sqrt(head_dim) is folded into q. GPT-2's key bias is
//                    left out: softmax does not see it.
//   layers.L.o       packed (d_model, n_heads*head_dim), out: residual Q
//   layers.L.norm2.g/.b  as norm1
//   layers.L.up      GPT-2: packed (d_ff, d_model), out Q16
//                    else: packed (2*d_ff, d_model): gate rows (out Q16),
//                    then up rows (out Q fixed[3])
//   layers.L.down    packed (d_model, d_ff), out: residual Q
//   norm.g, norm.b   final norm; last shard
//   head.e, head.b   last shard: row exponents to logits in Q16, zero bias
//   head.w, head.m   last shard, unless the same shard has embed.w and the
//                    head is tied: then embed.w and embed.m are read
//   log2             I32 (1025) round(2^24 * log2(1 + i/1024)); last shard
//   logh             I32 (257) round(2^24 * ln(-ln(1 - d) / d)), d = i/512,
//                    0 at i = 0; last shard
#ifndef SPLITTER_FORMAT_H
#define SPLITTER_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "splitter/arch.h"
#include "splitter/tensor.h"

enum {
    FORMAT_VERSION = 1,    // names, shapes and dtypes
    FORMAT_ARITHMETIC = 1, // every rule that changes an output byte
    FORMAT_MAGIC = 0x53594e43,

    FORMAT_GROUP = 64, // columns that share a mantissa or activation exponent
    FORMAT_BLOCK = 16, // rows a tile
    FORMAT_TILE = FORMAT_GROUP * FORMAT_BLOCK,
    FORMAT_WEIGHT_MAX = 63,
    FORMAT_WEIGHT_BIAS = 64,
    FORMAT_ROW_EXP_MAX = 64,
    FORMAT_VALUE_MAX = (1 << 30) - 1, // every int32 activation saturates here

    FORMAT_ACT_Q = 16, // gate and GPT-2 up outputs, activation table
    FORMAT_LOGIT_Q = 16,
    FORMAT_NORM_Q = 16,  // a normalised row, before its gain
    FORMAT_SCORE_Q = 12, // attention scores, base-2 logarithms
    FORMAT_ROPE_Q = 14,
    FORMAT_LOG_Q = 24, // log2 and logh tables

    FORMAT_EXP2_LEN = 4096,
    FORMAT_ACT_RANGE = 16, // the table covers -16 .. 16
    FORMAT_ACT_LEN = 4097,
    FORMAT_ROPE_LOW = 128,
    FORMAT_LOG2_LEN = 1025,
    FORMAT_LOGH_LEN = 257,
    FORMAT_FIXED_LEN = 4, // layers.L.fixed: q, k, v, up

    FORMAT_SHARDS_MAX = ARCH_LAYERS_MAX,
    FORMAT_CONFIG_WORDS = 40,
};

// What the "config" tensor says. Word order is that of the fields; words not
// named are 0. eps is split into its low 31 bits and the rest.
struct format_config {
    // words 0..2: FORMAT_MAGIC, FORMAT_VERSION, FORMAT_ARITHMETIC
    enum arch_family family; // 3
    uint32_t n_layers;       // 4, of the whole model
    uint32_t d_model;        // 5
    uint32_t n_heads;        // 6
    uint32_t n_kv_heads;     // 7
    uint32_t head_dim;       // 8
    uint32_t d_ff;           // 9
    uint32_t n_vocab;        // 10
    uint32_t n_ctx;          // 11
    bool tied_head;          // 12
    uint32_t n_shards;       // 13, of the whole model
    uint32_t shard;          // 14, this one's index
    uint32_t layer_first;    // 15
    uint32_t layer_end;      // 16; may equal layer_first only if n_shards is 1
    uint32_t residual_q;     // 17: fixed point of the residual, 8 .. 20
    uint64_t eps;            // 18, 19: norm epsilon * 2^(2 * residual_q)
    uint32_t n_ends;         // 20
    uint32_t ends[ARCH_ENDS_MAX]; // 21 .. 28
};

// Blocks and groups of a matrix.
static inline uint32_t format_n_blocks(uint32_t n_rows)
{
    return (n_rows + FORMAT_BLOCK - 1) / FORMAT_BLOCK;
}

static inline uint32_t format_n_groups(uint32_t n_cols)
{
    return (n_cols + FORMAT_GROUP - 1) / FORMAT_GROUP;
}

// The layers of shard i of n: spread evenly, the earlier shards taking the
// remainder.
void format_shard_layers(uint32_t n_layers, uint32_t n_shards, uint32_t shard,
                         uint32_t *first, uint32_t *end);

void format_config_put(const struct format_config *config,
                       int32_t words[FORMAT_CONFIG_WORDS]);

// Total: ERR_FORMAT (wrong magic, shape or stray words), ERR_VERSION (another
// format or arithmetic), ERR_RANGE (a dimension past arch.h's limits, or
// numbers that contradict each other). *out is untouched on error.
MUST_USE enum err format_config_parse(const struct tensor *tensor,
                                      struct format_config *out);

// Bytes of an element; 0 for an unknown dtype.
size_t format_dtype_size(enum tensor_dtype dtype);

#endif
