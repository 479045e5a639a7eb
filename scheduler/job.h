// job.h - leased, resumable jobs on batches: ingestion and output. (Cancelling
// and expiring are to be two more kinds.)
//
// A job is taken under a lease. Whoever works on it goes on from its cursor;
// each step extends the lease and is refused (ERR_GONE) when someone else has
// taken the job since. What a crash leaves behind is taken again when the lease
// has passed.
#ifndef SCHED_JOB_H
#define SCHED_JOB_H

#include "scheduler/store.h"

enum sched_job_kind { SCHED_JOB_INGEST, SCHED_JOB_OUTPUT };

enum { SCHED_LEASE_LEN = 16 };

struct sched_job {
    enum sched_job_kind kind;
    char batch[SCHED_ID_MAX + 1];
    uint8_t lease[SCHED_LEASE_LEN];
    uint64_t cursor; // ingest: bytes of the input file that are done
    uint64_t line;   // ingest: lines that are done
    uint64_t taken;  // how often it was taken, this time included
};

// job is NULL when nothing is due (err is ERR_NOT_FOUND).
typedef void sched_job_fn(enum err err, const struct sched_job *job, void *ctx);

// Take the job of this kind that is due first, for ttl_ms (1000 .. 600000). Of
// one API key no more than two are out at once.
MUST_USE enum err sched_job_take(struct sched_store *store,
                                 enum sched_job_kind kind, int64_t ttl_ms,
                                 sched_job_fn *fn, void *ctx);

// Give it back, to be taken again after delay_ms (>= 0). ERR_GONE: not held.
MUST_USE enum err sched_job_give_back(struct sched_store *store,
                                      const struct sched_job *job,
                                      int64_t delay_ms, sched_done_fn *fn,
                                      void *ctx);

// on_job runs when a job may have become due (at most once a loop turn): take
// until ERR_NOT_FOUND. It also runs about every second and after a reconnect.
// One watcher a store; NULL ends it.
void sched_job_watch(struct sched_store *store, void (*on_job)(void *ctx),
                     void *ctx);

#endif
