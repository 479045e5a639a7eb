// pool.h - threads for an engine's parallel loops. The caller works too, as
// worker 0. Threads look for the next loop for some microseconds, then sleep:
// an idle pool costs nothing.
#ifndef NATIVE_POOL_H
#define NATIVE_POOL_H

#include "engine/engine.h"

struct native_pool;

// A pool of n_workers (1 .. ENGINE_WORKERS_MAX) in all, the caller included.
// ERR_RANGE, ERR_NOMEM.
MUST_USE enum err native_pool_new(uint32_t n_workers, struct native_pool **out);

// No loop may be running. NULL is fine.
void native_pool_free(struct native_pool *pool);

// An engine_parallel_fn: ctx is the native_pool. For one thread at a time.
void native_pool_run(void *ctx, engine_task_fn *fn, void *arg,
                     uint32_t n_tasks);

#endif
