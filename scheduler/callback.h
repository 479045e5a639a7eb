// callback.h - callback events: durable, delivered at least once.
#ifndef SCHED_CALLBACK_H
#define SCHED_CALLBACK_H

#include "scheduler/job.h"

struct sched_callback {
    const char *id;    // of the event, the same at every try
    const char *type;  // "batch.completed" or "batch.failed"
    const char *batch; // get it for the body
    const char *url, *secret;
    int64_t created_ms;
    uint32_t attempts; // made before this one
    uint8_t lease[SCHED_LEASE_LEN];
};

typedef void sched_callback_fn(enum err err, const struct sched_callback *event,
                               void *ctx);

// Take the event that is due first, for ttl_ms. ERR_NOT_FOUND: none is.
// sched_job_watch's on_job also runs for these.
MUST_USE enum err sched_callback_take(struct sched_store *store, int64_t ttl_ms,
                                      sched_callback_fn *fn, void *ctx);

// Record an attempt. status: HTTP status, 0 for none. retry_ms: try again after
// so long; 0: delivered; negative: given up. ERR_GONE: not under that lease.
MUST_USE enum err sched_callback_tried(struct sched_store *store,
                                       const char *id,
                                       const uint8_t lease[SCHED_LEASE_LEN],
                                       int32_t status, int64_t retry_ms,
                                       sched_done_fn *fn, void *ctx);

// How long to wait after the attempt with this number (1 is the first): 5 s,
// 30 s, 2 min, 10 min, 1 h, then 6 h each, up to about three days in all, with
// up to a tenth more by jitter (any 32 random bits). -1: give up.
int64_t sched_callback_delay_ms(uint32_t attempt, uint32_t jitter);

#endif
