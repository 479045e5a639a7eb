// callback.h - callback events: durable, delivered at least once.
#ifndef SCHED_CALLBACK_H
#define SCHED_CALLBACK_H

#include "base/bytes.h"
#include "scheduler/job.h"

// The kinds of event that a batch may want, a letter each.
enum sched_callback_kind {
    SCHED_CALLBACK_COMPLETED = 'c', // batch.completed
    SCHED_CALLBACK_FAILED = 'f',    // batch.failed
    SCHED_CALLBACK_EXPIRED = 'x',   // batch.expired
    SCHED_CALLBACK_CANCELLED = 'a', // batch.cancelled
    SCHED_CALLBACK_PROGRESS = 'p',  // batch.progress: each tenth, or each 30 s
    SCHED_CALLBACK_REQUEST = 'r', // request.completed: each line that is final
};

#define SCHED_CALLBACK_ENDS "cfxa"

enum { SCHED_CALLBACK_LOG_MAX = 1000, SCHED_CALLBACK_WHY_MAX = 200 };

struct sched_callback {
    const char *id;    // of the event, the same at every try
    const char *type;  // "batch.completed", ...
    const char *batch; // get it for the body
    const char *url, *secret;
    const char *old_secret; // the one before, if it is still valid, else ""
    int64_t created_ms;
    uint32_t attempts; // made before this one
    uint64_t line;     // of request.completed: its place among the results,
    struct bytes custom_id; // and its custom id
    uint8_t lease[SCHED_LEASE_LEN];
};

typedef void sched_callback_fn(enum err err, const struct sched_callback *event,
                               void *ctx);

// Take the event that is due first, for ttl_ms. ERR_NOT_FOUND: none is, or what
// is due goes where enough is under way. sched_job_watch's on_job also runs for
// these.
MUST_USE enum err sched_callback_take(struct sched_store *store, int64_t ttl_ms,
                                      sched_callback_fn *fn, void *ctx);

// How an attempt went.
struct sched_callback_try {
    int32_t status; // HTTP status, 0 for none; 410 ends all events of a batch
    int64_t
        retry_ms; // try again after so long; 0: delivered; negative: given up
    int64_t took_ms;
    const char *why; // what went wrong, "" for nothing; cut to .._WHY_MAX bytes
};

// Record an attempt. ERR_GONE: the event is not under that lease.
MUST_USE enum err sched_callback_tried(struct sched_store *store,
                                       const char *id,
                                       const uint8_t lease[SCHED_LEASE_LEN],
                                       const struct sched_callback_try *how,
                                       sched_done_fn *fn, void *ctx);

// One attempt, as the log of its batch keeps it.
struct sched_callback_entry {
    int64_t at_ms;
    const char *id, *type; // of the event
    uint32_t attempt;      // 1 is the first
    int32_t status;
    int64_t took_ms, retry_at_ms; // 0: no further one
    const char *why;
};

typedef void sched_callback_log_fn(enum err err,
                                   const struct sched_callback_entry *entries,
                                   size_t n, void *ctx);

// The last attempts (limit: 1 .. SCHED_CALLBACK_LOG_MAX) for a batch of that
// key, the newest first. ERR_NOT_FOUND: no such batch.
MUST_USE enum err sched_callback_log(struct sched_store *store,
                                     const char *batch, const char *key,
                                     uint32_t limit, sched_callback_log_fn *fn,
                                     void *ctx);

// Deliver an event (event "": that of the batch's end) once more, under the
// same id, with all its tries. ERR_NOT_FOUND: no such batch; ERR_FULL: it has
// no callback; ERR_GONE: no such event.
MUST_USE enum err sched_callback_again(struct sched_store *store,
                                       const char *batch, const char *key,
                                       const char *event, sched_done_fn *fn,
                                       void *ctx);

// Give a batch a new secret; the one before signs too for old_ms. ERR_NOT_FOUND
// and ERR_FULL as above.
MUST_USE enum err sched_callback_secret(struct sched_store *store,
                                        const char *batch, const char *key,
                                        const char *secret, int64_t old_ms,
                                        sched_done_fn *fn, void *ctx);

// How long to wait after the attempt with this number (1 is the first): 5 s,
// 30 s, 2 min, 10 min, 1 h, then 6 h each, up to about three days in all, with
// up to a tenth more by jitter (any 32 random bits). -1: give up.
int64_t sched_callback_delay_ms(uint32_t attempt, uint32_t jitter);

#endif
