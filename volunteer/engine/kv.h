// kv.h - the KV cache: int8 keys and values with one power of two a token and
// head, in pages of 64 positions that sequences take from one bounded pool.
//
// A page holds KV_PAGE positions of one sequence for all layers of the span,
// as one tile a (layer, KV head). Inside a tile both K and V are interleaved
// by four along the dimension that a dot product reduces, as weights are.
// Not thread-safe, but different tiles may be written at the same time.
#ifndef ENGINE_KV_H
#define ENGINE_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { KV_PAGE = 64 };

// D = kv_width(head_dim). Dimensions past head_dim are 0.
//   k[((t / 16) * (D / 4) + i / 4) * 64 + (t % 16) * 4 + i % 4]   key
//   v[(t / 4) * D * 4 + i * 4 + t % 4]                            value
// of position t (0..63), dimension i; the value is k << k_exp[t]. Positions
// that were never written are zeros or stale: never read past the last row.
struct kv_tile {
    int8_t *k;      // KV_PAGE * D bytes
    int8_t *v;      // KV_PAGE * D bytes
    uint8_t *k_exp; // KV_PAGE exponents, 0..23
    uint8_t *v_exp;
};

static inline uint32_t kv_width(uint32_t head_dim)
{
    return (head_dim + 15) / 16 * 16;
}

struct kv;      // the pool and all sequences
struct kv_slot; // one sequence

struct kv_shape {
    uint32_t n_layers; // of the span
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t n_ctx;
};

// A pool of at most max_bytes (at least one page) and n_slots sequences; 0 is
// as much as n_slots need. Slots themselves are not counted in max_bytes. Pages
// are allocated when first needed. ERR_NOMEM, ERR_RANGE.
MUST_USE enum err kv_new(const struct kv_shape *shape, size_t max_bytes,
                         uint32_t n_slots, struct kv **out);
void kv_free(struct kv *kv);

// The slot of (id, epoch), made ready for rows from `first` on, by the rules of
// syn1.h: rows of an older epoch are cut to kv_valid; then at least `first`
// rows must be there, and later ones are dropped. A sequence that is not there
// starts empty, which does for first 0. Marks the slot as used by round (LRU).
// ERR_KV_MISSING: too few rows, or rows of a newer epoch. ERR_FULL: no slot is
// free, and all were used in this round.
MUST_USE enum err kv_open(struct kv *kv, uint64_t id, uint32_t epoch,
                          uint32_t first, uint32_t kv_valid, uint64_t round,
                          struct kv_slot **out);

// Make room for n_rows rows in all (1 .. n_ctx), taking pages of the sequences
// unused for longest if need be, never of those used in this round.
// ERR_FULL, ERR_NOMEM; the slot keeps what it had.
MUST_USE enum err kv_reserve(struct kv *kv, struct kv_slot *slot,
                             uint32_t n_rows, uint64_t round);

// Forget a sequence. No error if it is not there.
void kv_drop(struct kv *kv, uint64_t id);

// Rows stored: positions 0 .. n-1. Set it after their tiles were written.
uint32_t kv_rows(const struct kv_slot *slot);
void kv_set_rows(struct kv_slot *slot, uint32_t n_rows);

// The token id of a row below what was reserved. 0 where none was set: spans
// after the first are given rows, not always ids.
uint32_t kv_token(const struct kv_slot *slot, uint32_t position);
void kv_set_token(struct kv_slot *slot, uint32_t position, uint32_t token);

// The tile of a page (position / KV_PAGE) for a layer of the span and KV head.
struct kv_tile kv_tile(const struct kv *kv, const struct kv_slot *slot,
                       uint32_t page, uint32_t layer, uint32_t head);

// Change the bound: sequences unused for longest are forgotten until what is
// taken is within max_bytes (at least one page is kept). Not while a unit is
// under way.
void kv_limit(struct kv *kv, size_t max_bytes);

// Bytes of pages that one sequence of the full context takes, and bytes that
// n_slots slots take besides pages. shape as kv_new takes it.
size_t kv_seq_bytes(const struct kv_shape *shape);
size_t kv_slot_bytes(const struct kv_shape *shape, uint32_t n_slots);

// Sequences that could still be opened without evicting one that has rows.
uint32_t kv_free_slots(const struct kv *kv);

// Bytes taken from the allocator so far.
size_t kv_bytes(const struct kv *kv);

#endif
