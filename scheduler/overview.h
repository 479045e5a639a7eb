// overview.h - what only the operator sees: everybody's batches that are under
// way, and the last lies.
#ifndef SCHED_OVERVIEW_H
#define SCHED_OVERVIEW_H

#include "scheduler/batch.h"

// Work that the truth spoke against.
struct sched_lie {
    int64_t at_ms;
    const char *account; // first 8 hex digits
    const char *name;    // what its account is called now
    bool banned;         // now
};

struct sched_overview {
    uint64_t n_open;  // batches under way, of all keys
    size_t n_batches; // listed: those whose window ends first, at most 100
    const struct sched_batch *batches;
    size_t n_lies; // the last ones, newest first, at most 50
    const struct sched_lie *lies;
};

typedef void sched_overview_fn(enum err err, const struct sched_overview *now,
                               void *ctx);

MUST_USE enum err sched_overview_get(struct sched_store *store,
                                     sched_overview_fn *fn, void *ctx);

#endif
