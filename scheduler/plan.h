// plan.h - how models are split over volunteers that cannot hold them whole:
// the plan as it is, and the operator's wishes. Plans are made by themselves,
// soon after something changed that matters to them (plan_make.h decides), and
// never disturb sequences that run.
#ifndef SCHED_PLAN_H
#define SCHED_PLAN_H

#include "base/bytes.h"
#include "base/syn1.h"
#include "scheduler/store.h"

struct sched_plan_span {
    uint8_t model[SYN1_ID_LEN];
    uint16_t first, end; // shards; both 0: none
};

struct sched_plan_model {
    uint8_t id[SYN1_ID_LEN];
    const char *name;
    uint32_t n_shards;
    struct bytes path; // boundaries, u16 little-endian each; empty: not split
    bool pinned;
    uint32_t missing; // 1-based number of the first shard that nobody is to
                      // hold; 0: none
    uint64_t queued;  // lines
};

struct sched_plan_volunteer {
    const char *id, *name, *backend;
    uint64_t memory;
    uint32_t speed;       // rows a second on spans, 0: not measured
    struct bytes spans;   // that it holds, as in a CALL frame
    uint8_t kernel_class; // 0 exact
    struct sched_plan_span wanted, pinned;
};

struct sched_plan {
    size_t n_models, n_volunteers;
    const struct sched_plan_model *models;         // first those with work
    const struct sched_plan_volunteer *volunteers; // referees aside
};

typedef void sched_plan_fn(enum err err, const struct sched_plan *plan,
                           void *ctx);

MUST_USE enum err sched_plan_get(struct sched_store *store, sched_plan_fn *fn,
                                 void *ctx);

// Span i of a list as in a CALL frame (SCHED_PLAN_SPAN_LEN bytes each).
struct sched_plan_span sched_plan_span_at(struct bytes spans, size_t i);
enum { SCHED_PLAN_SPAN_LEN = SYN1_ID_LEN + 4 };

// Pin the model's path (0, ascending, number of shards), or with a volunteer
// (its id or name) the span first, end that it is to hold: n boundaries, 0 to
// unpin. Errors: ERR_NOT_FOUND (no such model).
MUST_USE enum err sched_plan_pin(struct sched_store *store,
                                 const uint8_t model[SYN1_ID_LEN],
                                 const char *volunteer, const uint16_t *path,
                                 size_t n, sched_done_fn *fn, void *ctx);

#endif
