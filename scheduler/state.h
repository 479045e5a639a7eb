// state.h - the inside of a store, for the rooms of scheduler/ only.
#ifndef SCHED_STATE_H
#define SCHED_STATE_H

#include <event2/event.h>

#include "scheduler/link.h"
#include "scheduler/store.h"

struct sched_work;

struct sched_store {
    struct sched_link *link;
    struct event_base *base;
    struct sched_policy policy;
    char policy_text[512]; // as ARGV
    struct sched_cut (*cut)(const struct sched_cut_ask *ask, void *ctx);
    void (*on_state)(bool up, const char *why, void *ctx);
    void (*on_error)(const char *text, void *ctx);
    void *ctx;
    void (*on_job)(void *ctx);
    void *job_ctx;
    struct event *sweep;      // every policy.sweep_ms
    struct event *job;        // run on_job in this loop turn
    int64_t sweep_since_ms;   // an answer to sweep is awaited since then, or 0
    uint64_t wakes;           // wake messages seen
    struct sched_work *works; // all calls, newest first
    bool planning;            // a plan is being made
    bool draining, freeing;
};

// A clock that never goes back, ms.
int64_t sched_clock_ms(void);

// Fresh random bytes. ERR_IO if there are none.
MUST_USE enum err sched_random(void *buf, size_t len);

// Call a function whose reply is one word; fn gets what it means.
MUST_USE enum err sched_call_done(struct sched_store *store,
                                  const char *function, struct sched_args *args,
                                  sched_done_fn *fn, void *ctx);

// In work.c: all held calls look again (also those in flight, if they must).
void sched_work_wake_all(struct sched_store *store);
// In work.c: the held call of this volunteer looks again.
void sched_work_wake(struct sched_store *store, const char *volunteer);
// In work.c: end all calls with ERR_STORE.
void sched_work_end_all(struct sched_store *store);

// In plan.c: make plans of what is there now.
void sched_plan_step(struct sched_store *store);

// Is text no longer than max bytes (and not NULL)?
bool sched_text_fits(const char *text, size_t min, size_t max);

#endif
