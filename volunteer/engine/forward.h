// forward.h - the transformer itself: rows of any sequences through the layers
// of a span, together.
//
// A row is one position of one sequence. Rows of a sequence are in order and
// follow what its KV slot has; everything a row computes depends on itself and
// its own prefix only, so any batching gives the same bytes.
#ifndef ENGINE_FORWARD_H
#define ENGINE_FORWARD_H

#include "engine/bind.h"
#include "engine/engine.h"
#include "engine/kv.h"

struct forward_row {
    struct kv_slot *slot; // with room for position
    uint32_t position;
    uint32_t token;      // below n_vocab; read where the span has the embedding
    const uint8_t *wire; // the row given; read where it has not
};

enum { FORWARD_HEAD_ROWS = 16 }; // rows of forward_logits, at most

struct forward;

// Scratch for up to n_rows rows. model and kv are borrowed. ERR_NOMEM.
MUST_USE enum err forward_new(const struct bind_model *model, struct kv *kv,
                              const struct engine_options *options,
                              uint32_t n_rows, struct forward **out);
void forward_free(struct forward *f);
size_t forward_bytes(const struct forward *f);

// What forward_bytes would be.
size_t forward_need(const struct bind_model *model,
                    const struct engine_options *options, uint32_t n_rows);

// Run n rows (1 .. n_rows) through the span, storing their keys and values.
void forward_run(struct forward *f, const struct forward_row *rows, uint32_t n);

// Row i's residual after the last run: d_model values.
const int32_t *forward_residual(const struct forward *f, uint32_t i);

// Final norm and head for n (1 .. FORWARD_HEAD_ROWS) rows of the last run.
// Logits in Q16; row i is at i * forward_ld. Valid until the next call.
int32_t *forward_logits(struct forward *f, const uint32_t *rows, uint32_t n);
size_t forward_ld(const struct forward *f);

#endif
