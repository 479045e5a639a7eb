#include "web/pool.h"

#include <stdlib.h>

#include "engine/memory.h"
#include "engine/tasks.h"

enum {
    SPINS = 4000, // looks before a thread sleeps: a few microseconds
    STACK_LEN = 64 * 1024,
    LINE = 64, // words that threads write must not share one
};

struct seat {
    _Alignas(LINE) _Atomic int32_t asleep; // 1: it waits on this word
    uint8_t *stack;
};

struct pool {
    _Alignas(LINE) struct engine_tasks tasks;
    _Alignas(LINE) _Atomic int32_t caller_waits; // on n_done
    _Atomic uint32_t n_workers;
    atomic_bool lost;
    struct seat seats[];
};

#define EXPORT(name) __attribute__((export_name(name)))

// Sleep until woken, unless *word is not `expected` any more.
static void sleep_on(_Atomic int32_t *word, int32_t expected)
{
    (void)__builtin_wasm_memory_atomic_wait32((int32_t *)word, expected, -1);
}

static void wake(_Atomic int32_t *word)
{
    (void)__builtin_wasm_memory_atomic_notify((int32_t *)word, 1);
}

EXPORT("pool_new") struct pool *pool_new(uint32_t n_most)
{
    struct pool *pool;

    if (n_most < 1 || n_most > ENGINE_WORKERS_MAX)
        return NULL;
    pool = memory_new(1, sizeof *pool + n_most * sizeof(struct seat));
    uint8_t *stacks = memory_new(n_most, STACK_LEN); // worker 0 needs none
    if (!pool || !stacks) {
        free(stacks);
        free(pool);
        return NULL;
    }
    for (uint32_t i = 0; i < n_most; i++)
        pool->seats[i].stack = stacks + (size_t)i * STACK_LEN;
    atomic_store(&pool->n_workers, 1);
    return pool;
}

EXPORT("pool_stack") void *pool_stack(struct pool *pool, uint32_t worker)
{
    return pool->seats[worker].stack + STACK_LEN;
}

EXPORT("pool_size") void pool_size(struct pool *pool, uint32_t n)
{
    uint32_t before = atomic_exchange(&pool->n_workers, n);

    for (uint32_t i = n; i < before; i++) {
        atomic_store(&pool->seats[i].asleep, 0);
        wake(&pool->seats[i].asleep);
    }
}

// Look for a task for a while, then sleep until there is one. False: leave.
static bool task_await(struct pool *pool, uint32_t worker)
{
    _Atomic int32_t *asleep = &pool->seats[worker].asleep;

    for (int i = 0; i < SPINS; i++)
        if (engine_tasks_left(&pool->tasks))
            return true;
    atomic_store(asleep, 1);
    while (atomic_load(asleep) && !engine_tasks_left(&pool->tasks) &&
           worker < atomic_load(&pool->n_workers))
        sleep_on(asleep, 1);
    atomic_store(asleep, 0);
    return worker < atomic_load(&pool->n_workers);
}

EXPORT("pool_work") void pool_work(struct pool *pool, uint32_t worker)
{
    while (worker < atomic_load(&pool->n_workers) && task_await(pool, worker)) {
        engine_tasks_work(&pool->tasks, worker);
        if (atomic_load(&pool->caller_waits))
            wake((_Atomic int32_t *)&pool->tasks.n_done);
    }
}

EXPORT("pool_lost") void pool_lost(struct pool *pool)
{
    atomic_store(&pool->lost, true);
    // As if a task had ended, so that a caller that is about to sleep does not.
    atomic_fetch_add(&pool->tasks.n_done, 1);
    wake((_Atomic int32_t *)&pool->tasks.n_done);
}

// Wait for tasks that others claimed.
static void rest_await(struct pool *pool, uint32_t n_tasks)
{
    _Atomic uint32_t *n_done = &pool->tasks.n_done;

    for (int i = 0; i < SPINS && atomic_load(n_done) < n_tasks; i++)
        ;
    if (atomic_load(n_done) >= n_tasks)
        return;
    atomic_store(&pool->caller_waits, 1);
    for (uint32_t done; (done = atomic_load(n_done)) < n_tasks;)
        sleep_on((_Atomic int32_t *)n_done, (int32_t)done);
    atomic_store(&pool->caller_waits, 0);
}

static void pool_run(void *ctx, engine_task_fn *fn, void *arg, uint32_t n_tasks)
{
    struct pool *pool = ctx;
    uint32_t n_workers = atomic_load(&pool->n_workers);

    if (n_workers == 1 || n_tasks > ENGINE_TASKS_MAX) {
        for (uint32_t i = 0; i < n_tasks; i++)
            fn(arg, i, 0);
        return;
    }
    engine_tasks_begin(&pool->tasks, fn, arg, n_tasks);
    for (uint32_t i = 1; i < n_workers; i++) {
        _Atomic int32_t *asleep = &pool->seats[i].asleep;

        if (atomic_load(asleep)) {
            atomic_store(asleep, 0);
            wake(asleep);
        }
    }
    engine_tasks_work(&pool->tasks, 0);
    rest_await(pool, n_tasks);
    if (atomic_load(&pool->lost))
        __builtin_trap();
}

EXPORT("pool_runner") engine_parallel_fn *pool_runner(void)
{
    return pool_run;
}
