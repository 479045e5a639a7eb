// pool.h - threads for an engine's parallel loops, where the module's memory is
// shared. Each thread is a Web Worker with an instance of its own over the same
// memory; the one that calls pool_run works too, as worker 0. A thread looks
// for the next loop for some microseconds, then sleeps: an idle pool costs
// nothing. All functions are exported under these names.
#ifndef WEB_POOL_H
#define WEB_POOL_H

#include "engine/engine.h"

struct pool;

// A pool for at most n_most (1 .. ENGINE_WORKERS_MAX) workers, the caller
// included; at first it alone works. NULL if there is no memory. It is never
// freed: it lives as long as the memory does.
struct pool *pool_new(uint32_t n_most);

// Where the stack of worker (1 .. n_most-1) begins, growing downwards. An
// instance must set its __stack_pointer there before it calls anything.
void *pool_stack(struct pool *pool, uint32_t worker);

// Let the first n (1 .. n_most) workers work from the next loop on; the others'
// pool_work returns. No loop may be running.
void pool_size(struct pool *pool, uint32_t n);

// Be a worker until the pool is too small for it. One instance a worker.
void pool_work(struct pool *pool, uint32_t worker);

// To be called where pool_work threw: that loop will never end, and its caller
// traps.
void pool_lost(struct pool *pool);

// The engine_parallel_fn of a pool, as a pointer for host_parallel.
engine_parallel_fn *pool_runner(void);

#endif
