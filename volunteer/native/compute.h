// compute.h - the thread that computes. The main thread gives it unit frames
// and takes their results, in order; at most NATIVE_HELD_MAX are in hand.
// All functions but those of models.h are for the main thread.
#ifndef NATIVE_COMPUTE_H
#define NATIVE_COMPUTE_H

#include "native/models.h"
#include "native/session.h"

struct native_compute;

// In the place of engine_run, for tests. step(step_ctx, 0, 1) tells whether to
// go on.
typedef enum err native_run_fn(void *ctx, struct engine *engine,
                               const uint8_t *frame, size_t len,
                               engine_step_fn *step, void *step_ctx,
                               const uint8_t **out, size_t *out_len);

struct native_compute_config {
    struct native_net *net; // woken when a unit is done
    unsigned intensity;     // percent of the time to compute, 1 .. 100
    unsigned delay_ms;      // wait so long before each unit
    native_run_fn *run;     // NULL: engine_run
    void *run_ctx;
};

// What is in hand, and how fast it goes.
struct native_compute_status {
    uint8_t held[NATIVE_HELD_MAX * SYN1_ID_LEN]; // ids, the oldest first
    uint16_t n_held; // units in hand, done ones included
    uint16_t n_done; // of these, how many wait to be taken
    uint32_t n_seqs; // sequences in them
    uint32_t prefill_rows_s, decode_tokens_s;
    uint64_t n_tokens;  // generated so far, the unit under way included
    uint64_t n_checked; // positions recomputed for others
    uint64_t n_units;   // done
};

// Make it; models may be given later, by native_compute_start. ERR_NOMEM.
MUST_USE enum err native_compute_new(const struct native_compute_config *config,
                                     struct native_compute **out);

// An engine_step_fn: ctx is the native_compute. Give it to the models.
bool native_compute_step(void *ctx, uint32_t n_done, uint32_t n_all);

// Start the thread. models is borrowed until native_compute_free. ERR_NOMEM.
MUST_USE enum err native_compute_start(struct native_compute *c,
                                       struct native_models *models);

// Stops the thread at the unit's next step. NULL is fine.
void native_compute_free(struct native_compute *c);

// Hand over a unit frame (copied). ERR_FULL: enough are in hand; ERR_EXISTS:
// that unit is in hand; ERR_FORMAT: not a well-formed unit; ERR_NOT_FOUND: no
// such model or span is ready; ERR_NOMEM.
MUST_USE enum err native_compute_give(struct native_compute *c,
                                      const uint8_t *frame, size_t len);

// Take the oldest unit's result if it is done: a malloced frame, the
// caller's. *unit_err is the engine's error, with *out NULL then.
// ERR_NOT_FOUND: it is not done.
MUST_USE enum err native_compute_take(struct native_compute *c, uint8_t **out,
                                      size_t *out_len, enum err *unit_err);

// Whether nothing computes and nothing is in hand: then engines may change.
bool native_compute_idle(struct native_compute *c);

// Drop all units in hand: they are no longer ours.
void native_compute_forget(struct native_compute *c);

void native_compute_status(struct native_compute *c,
                           struct native_compute_status *out);

#endif
