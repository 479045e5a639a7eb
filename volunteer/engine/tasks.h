// tasks.h - the tasks of a parallel loop, for pools of threads: any number of
// threads claim them one by one, without a lock. How threads wait for the next
// loop is each pool's own affair.
#ifndef ENGINE_TASKS_H
#define ENGINE_TASKS_H

#include <stdatomic.h>

#include "engine/engine.h"

enum { ENGINE_TASK_BITS = 20, ENGINE_TASKS_MAX = (1 << ENGINE_TASK_BITS) - 1 };

// All that a thread must know to claim a task is in one word: the loop's
// generation, its number of tasks, and the next one. Claiming is one
// compare-and-swap, so no task of a loop that has ended can be claimed; fn and
// arg are read after it, while the loop cannot end.
struct engine_tasks {
    _Atomic uint64_t word;
    _Atomic uint32_t n_done; // tasks of this loop
    engine_task_fn *fn;
    void *arg;
    uint64_t generation; // the caller's own
};

static inline bool engine_tasks_in(uint64_t word)
{
    return (word & ENGINE_TASKS_MAX) <
           (word >> ENGINE_TASK_BITS & ENGINE_TASKS_MAX);
}

static inline bool engine_tasks_left(struct engine_tasks *t)
{
    return engine_tasks_in(atomic_load(&t->word));
}

// Begin a loop of n (at most ENGINE_TASKS_MAX) tasks; the last one has ended.
static inline void engine_tasks_begin(struct engine_tasks *t,
                                      engine_task_fn *fn, void *arg, uint32_t n)
{
    t->fn = fn;
    t->arg = arg;
    atomic_store(&t->n_done, 0);
    atomic_store(&t->word, ++t->generation << 2 * ENGINE_TASK_BITS |
                               (uint64_t)n << ENGINE_TASK_BITS);
}

// Run tasks as `worker` until none is left to claim.
static inline void engine_tasks_work(struct engine_tasks *t, uint32_t worker)
{
    uint64_t word = atomic_load(&t->word);

    while (engine_tasks_in(word)) {
        if (!atomic_compare_exchange_weak(&t->word, &word, word + 1))
            continue; // word is what it is now
        t->fn(t->arg, (uint32_t)(word & ENGINE_TASKS_MAX), worker);
        atomic_fetch_add(&t->n_done, 1);
        word = atomic_load(&t->word);
    }
}

#endif
