#include "scheduler/plan.h"

#include "scheduler/state.h"

enum err sched_plan_path(struct sched_store *store,
                         const uint8_t model[SYN1_ID_LEN], const uint16_t *path,
                         size_t n, sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    sched_args_put(&args, model, SYN1_ID_LEN);
    sched_args_put(&args, "", 0);
    for (size_t i = 0; i < n; i++) {
        uint8_t b[2] = {(uint8_t)path[i], (uint8_t)(path[i] >> 8)};

        sched_args_append(&args, b, sizeof b);
    }
    return sched_call_done(store, "plan_path", &args, fn, ctx);
}
