// kernels.h - the hot operations, as a table of functions. The reference table
// (ref.c and its siblings) is the specification; a fast twin of any entry must
// give the same bytes, so twins can be put in one by one.
//
// All pointers are aligned to 64 bytes unless said otherwise, rows are padded
// with zeros to whole groups, and no two arguments overlap.
#ifndef ENGINE_KERNELS_H
#define ENGINE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/kv.h"
#include "engine/matmul.h"

// Quantise one row of n values (|v| <= FORMAT_VALUE_MAX), in groups of 64, the
// last one padded with zeros. For each group: e = max(0, bits(max |v|) - 7),
// q = v / 2^e rounded half up and clamped to +-127, corr = 64 * sum of q.
// q has 64 * G bytes, e and corr G elements; they and v are not aligned.
// Returns the largest e.
typedef uint8_t engine_quantise_fn(int8_t *q, uint8_t *e, int32_t *corr,
                                   const int32_t *v, uint32_t n);

// Normalise one row x of n residual values; see norm.c. gain and bias are in
// the fixed point of out; bias may be NULL. centre: subtract the mean first
// (LayerNorm), else not (RMSNorm). eps as in struct format_config.
typedef void engine_norm_fn(int32_t *out, const int32_t *x, const int32_t *gain,
                            const int32_t *bias, uint32_t n, uint64_t eps,
                            bool centre);

// out[i] = act(u[i]) by the shard's table; u and out in Q16. See activation.c.
typedef void engine_act_fn(int32_t *out, const int32_t *u, const int32_t *table,
                           uint32_t n);

// out[i] = sat(act(gate[i]) * up[i] / 2^16, rounded half up); gate in Q16, up
// and out in the fixed point of up. gate and up are not aligned.
typedef void engine_gate_fn(int32_t *out, const int32_t *gate,
                            const int32_t *up, const int32_t *table,
                            uint32_t n);

// D below is kv_width(head_dim).
//
// Scores of one query against the first n (1 .. KV_PAGE) positions of a tile:
//   s[t] = clamp(dot(q, k[t]) * 2^(k_exp[t] + shift), +-2^27)
// by engine_shift. q has D values, padded with zeros; s has room for KV_PAGE,
// and what lies past n may be overwritten. Returns the largest of the first n.
typedef int32_t engine_scores_fn(int32_t *s, const int8_t *q, int32_t shift,
                                 const struct kv_tile *tile, uint32_t D,
                                 uint32_t n);

// Softmax weights of one tile's first n positions:
//   p  = exp2[d & 4095] / 2^(16 + (d >> 12)), d = max - s[t], rounded half up:
//        0 .. 16383
//   p' = p / 2^(e_max - v_exp[t]), rounded half up: 128 * high[t] + low[t]
// low and high have KV_PAGE bytes, 0..127; those past n are set to 0. Returns
// the sum of the p (not p').
typedef uint32_t engine_weights_fn(uint8_t *low, uint8_t *high,
                                   const int32_t *s, int32_t max,
                                   const int32_t *exp2, const uint8_t *v_exp,
                                   uint8_t e_max, uint32_t n);

// acc[i] += sum over t < n of (128 * high[t] + low[t]) * v[t][i], i < D. low
// and high as engine_weights_fn leaves them; v past n may be stale, and weighs
// 0. At most 512 positions go into one acc, so |acc| < 2^30.
typedef void engine_mix_fn(int32_t *acc, const uint8_t *low,
                           const uint8_t *high, const struct kv_tile *tile,
                           uint32_t D, uint32_t n);

// Largest of n values; n >= 1; v is not aligned.
typedef int32_t engine_max_fn(const int32_t *v, uint32_t n);

// How an engine rounds, as frames name it.
enum engine_class {
    ENGINE_CLASS_EXACT, // the reference's bytes
    ENGINE_CLASS_F32,   // within one of them; see class_f32.h
};

enum { ENGINE_F32_LAYERS_MAX = 4 }; // of a span of that class

struct engine_kernels {
    const char *name; // "ref", "avx2", "vnni", "simd", "relaxed", ...
    enum engine_class kernel_class;
    matmul_fn *matmul;
    matmul_lay_fn *lay; // NULL: matmul reads no panels
    size_t panel_bytes; // of 8 rows and a group, as lay lays them
    engine_quantise_fn *quantise;
    engine_norm_fn *norm;
    engine_act_fn *act;
    engine_gate_fn *gate;
    engine_scores_fn *scores;
    engine_weights_fn *weights;
    engine_mix_fn *mix;
    engine_max_fn *max;
};

enum engine_isa {
    ENGINE_ISA_BEST, // the fastest that this machine runs
    ENGINE_ISA_REF,
    ENGINE_ISA_AVX2,
    ENGINE_ISA_VNNI,          // AVX-VNNI
    ENGINE_ISA_VNNI512,       // AVX512-VNNI
    ENGINE_ISA_SIMD,          // WASM SIMD128
    ENGINE_ISA_RELAXED,       // WASM relaxed SIMD
    ENGINE_ISA_RELAXED_PAIRS, // the same for machines without a dot product
    ENGINE_ISA_COUNT
};

// The reference, each in the file named.
engine_quantise_fn engine_quantise_ref; // quantise_row.c
engine_norm_fn engine_norm_ref;         // norm.c
engine_act_fn engine_act_ref;           // activation.c
engine_gate_fn engine_gate_ref;         // activation.c
engine_scores_fn engine_scores_ref;     // attention.c
engine_weights_fn engine_weights_ref;   // attention.c
engine_mix_fn engine_mix_ref;           // attention.c
engine_max_fn engine_max_ref;           // quantise_row.c

extern const struct engine_kernels engine_kernels_ref;

// The table for isa, of class exact; NULL if this build or this machine has
// none. Entries that have no twin yet are the reference's.
const struct engine_kernels *engine_kernels_pick(enum engine_isa isa);

#endif
