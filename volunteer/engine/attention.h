// attention.h - causal attention of query rows over the KV cache.
#ifndef ENGINE_ATTENTION_H
#define ENGINE_ATTENTION_H

#include "engine/kernels.h"

// Scratch of one worker.
struct attention_scratch {
    int32_t *scores; // n_ctx rounded up to KV_PAGE; aligned to 64
    int32_t *acc;    // kv_width(head_dim)
    int64_t *sum;    // kv_width(head_dim)
    int8_t *q;       // ARCH_HEAD_MAX
};

// What every head of a layer shares.
struct attention {
    const struct engine_kernels *kernels;
    const int32_t *exp2;
    uint32_t head_dim;
    int32_t score_shift; // FORMAT_SCORE_Q less the fixed points of q and k
};

// Quantise n values (at most ARCH_HEAD_MAX; not aligned) to one exponent, which
// is returned (0..23): as engine_quantise_fn does for a group. q is padded with
// zeros to kv_width(n); what follows may be overwritten.
uint8_t attention_quantise(int8_t q[ARCH_HEAD_MAX], const int32_t *v,
                           uint32_t n, const struct engine_kernels *kernels);

// Store key and value of position t (0..63) in a tile.
void attention_store(const struct kv_tile *tile, uint32_t t, const int32_t *k,
                     const int32_t *v, uint32_t head_dim,
                     const struct engine_kernels *kernels);

// out (head_dim, in the fixed point of v) = attention of one query head over
// positions 0 .. n-1 (n >= 1), the query's own being the last. tiles has one
// entry a page. The rule, for e_max the largest v_exp of those positions:
//
//   score, p, p'   as kernels.h
//   S   = sum of p, L = clz(S), 0 <= L <= 18
//   acc = sum of p' * v                  int32 over 512 positions, then int64
//   a   = acc * 2^(L - 9)                rounded half up; |a| < 2^30
//   inv = 2^61 / (S << L)                rounded half up; 2^29 .. 2^30
//   out = a * inv / 2^(52 - e_max)
void attention_head(int32_t *out, const int32_t *q, const struct kv_tile *tiles,
                    uint32_t n, const struct attention *attention,
                    const struct attention_scratch *scratch);

#endif
