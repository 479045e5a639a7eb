// plan.h - how a model is split over volunteers that cannot hold it whole.
#ifndef SCHED_PLAN_H
#define SCHED_PLAN_H

#include "base/syn1.h"
#include "scheduler/store.h"

// From now on new sequences of the model (first SYN1_ID_LEN bytes of its id)
// run over the stages between these boundaries: 0, ascending, the number of
// shards.
MUST_USE enum err sched_plan_path(struct sched_store *store,
                                  const uint8_t model[SYN1_ID_LEN],
                                  const uint16_t *path, size_t n,
                                  sched_done_fn *fn, void *ctx);

#endif
