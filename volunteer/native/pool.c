#include "native/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "engine/tasks.h"

enum { SPINS = 2000 }; // looks before a thread sleeps

struct worker {
    struct native_pool *pool;
    uint32_t index; // 1 ..
    pthread_t thread;
};

struct native_pool {
    struct engine_tasks tasks;
    atomic_bool stop;
    atomic_uint n_asleep;
    pthread_mutex_t lock;
    pthread_cond_t begun;
    uint32_t n_started;
    struct worker workers[];
};

// Look for a task for a while, then sleep until there is one. False: stop.
static bool task_await(struct native_pool *pool)
{
    for (unsigned i = 0; i < SPINS; i++) {
        if (engine_tasks_left(&pool->tasks))
            return true;
        if (i % 64 == 63)
            sched_yield();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->n_asleep, 1);
    while (!atomic_load(&pool->stop) && !engine_tasks_left(&pool->tasks))
        pthread_cond_wait(&pool->begun, &pool->lock);
    atomic_fetch_sub(&pool->n_asleep, 1);
    pthread_mutex_unlock(&pool->lock);
    return !atomic_load(&pool->stop);
}

static void *worker_main(void *arg)
{
    const struct worker *worker = arg;

    while (task_await(worker->pool))
        engine_tasks_work(&worker->pool->tasks, worker->index);
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

    if (n_tasks > ENGINE_TASKS_MAX) { // more than a word counts: alone
        for (uint32_t i = 0; i < n_tasks; i++)
            fn(arg, i, 0);
        return;
    }
    engine_tasks_begin(&pool->tasks, fn, arg, n_tasks);
    if (atomic_load(&pool->n_asleep)) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->begun);
        pthread_mutex_unlock(&pool->lock);
    }
    engine_tasks_work(&pool->tasks, 0);
    while (atomic_load(&pool->tasks.n_done) < n_tasks)
        sched_yield();
}
