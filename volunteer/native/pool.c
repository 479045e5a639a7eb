#include "native/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    TASK_BITS = 20,
    TASK_MASK = (1 << TASK_BITS) - 1,
    SPINS = 2000, // looks before a thread sleeps
};

// All that a thread must know to claim a task is in one word: the loop's
// generation, its number of tasks, and the next one. Claiming is one
// compare-and-swap, so no task of a loop that has ended can be claimed; fn and
// arg are read after it, while the loop cannot end.
static uint64_t word_of(uint64_t generation, uint32_t n_tasks)
{
    return generation << 2 * TASK_BITS | (uint64_t)n_tasks << TASK_BITS;
}

static bool has_task(uint64_t word)
{
    return (word & TASK_MASK) < (word >> TASK_BITS & TASK_MASK);
}

struct worker {
    struct native_pool *pool;
    uint32_t index; // 1 ..
    pthread_t thread;
};

struct native_pool {
    _Atomic uint64_t word;
    _Atomic uint32_t n_done; // tasks of this loop
    engine_task_fn *fn;
    void *arg;
    uint64_t generation; // the caller's own

    atomic_bool stop;
    atomic_uint n_asleep;
    pthread_mutex_t lock;
    pthread_cond_t begun;
    uint32_t n_started;
    struct worker workers[];
};

// Run tasks until none is left to claim.
static void tasks_run(struct native_pool *pool, uint32_t worker)
{
    uint64_t word = atomic_load(&pool->word);

    while (has_task(word)) {
        if (!atomic_compare_exchange_weak(&pool->word, &word, word + 1))
            continue; // word is what it is now
        pool->fn(pool->arg, (uint32_t)(word & TASK_MASK), worker);
        atomic_fetch_add(&pool->n_done, 1);
        word = atomic_load(&pool->word);
    }
}

// Look for a task for a while, then sleep until there is one. False: stop.
static bool task_await(struct native_pool *pool)
{
    for (unsigned i = 0; i < SPINS; i++) {
        if (has_task(atomic_load(&pool->word)))
            return true;
        if (i % 64 == 63)
            sched_yield();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->n_asleep, 1);
    while (!atomic_load(&pool->stop) && !has_task(atomic_load(&pool->word)))
        pthread_cond_wait(&pool->begun, &pool->lock);
    atomic_fetch_sub(&pool->n_asleep, 1);
    pthread_mutex_unlock(&pool->lock);
    return !atomic_load(&pool->stop);
}

static void *worker_main(void *arg)
{
    const struct worker *worker = arg;

    while (task_await(worker->pool))
        tasks_run(worker->pool, worker->index);
    return NULL;
}

enum err native_pool_new(uint32_t n_workers, struct native_pool **out)
{
    struct native_pool *pool;

    if (n_workers < 1 || n_workers > ENGINE_WORKERS_MAX)
        return ERR_RANGE;
    pool = calloc(1, sizeof *pool + (n_workers - 1) * sizeof *pool->workers);
    if (!pool)
        return ERR_NOMEM;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->begun, NULL);
    for (; pool->n_started + 1 < n_workers; pool->n_started++) {
        struct worker *worker = &pool->workers[pool->n_started];

        worker->pool = pool;
        worker->index = pool->n_started + 1;
        if (pthread_create(&worker->thread, NULL, worker_main, worker)) {
            native_pool_free(pool);
            return ERR_NOMEM;
        }
    }
    *out = pool;
    return ERR_OK;
}

void native_pool_free(struct native_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->begun);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->n_started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->begun);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void native_pool_run(void *ctx, engine_task_fn *fn, void *arg, uint32_t n_tasks)
{
    struct native_pool *pool = ctx;

    if (n_tasks > TASK_MASK) { // more than a word counts: alone
        for (uint32_t i = 0; i < n_tasks; i++)
            fn(arg, i, 0);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    atomic_store(&pool->n_done, 0);
    atomic_store(&pool->word, word_of(++pool->generation, n_tasks));
    if (atomic_load(&pool->n_asleep)) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->begun);
        pthread_mutex_unlock(&pool->lock);
    }
    tasks_run(pool, 0);
    while (atomic_load(&pool->n_done) < n_tasks)
        sched_yield();
}
