// Every task of every loop runs exactly once, whatever its size, and no two
// tasks at a time have the same worker.
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "native/pool.h"

enum { TASKS_MAX = 300, LOOPS = 3000, WORKERS = 4 };

struct loop {
    atomic_int runs[TASKS_MAX];
    atomic_int busy[WORKERS];
    atomic_int clashes;
    uint64_t sum[WORKERS]; // each worker's own: a race would show
};

static void task(void *arg, uint32_t i, uint32_t worker)
{
    struct loop *loop = arg;

    CHECK(worker < WORKERS);
    if (atomic_fetch_add(&loop->busy[worker], 1))
        atomic_fetch_add(&loop->clashes, 1);
    atomic_fetch_add(&loop->runs[i], 1);
    loop->sum[worker] += i;
    atomic_fetch_sub(&loop->busy[worker], 1);
}

static void loop_check(struct native_pool *pool, uint32_t n_tasks)
{
    static struct loop loop;
    uint64_t sum = 0;

    memset(&loop, 0, sizeof loop);
    native_pool_run(pool, task, &loop, n_tasks);
    for (uint32_t i = 0; i < TASKS_MAX; i++)
        CHECK_EQ(atomic_load(&loop.runs[i]), i < n_tasks);
    for (uint32_t i = 0; i < WORKERS; i++)
        sum += loop.sum[i];
    CHECK_EQ(sum, (uint64_t)n_tasks * (n_tasks - 1) / 2);
    CHECK_EQ(atomic_load(&loop.clashes), 0);
}

int main(void)
{
    const struct timespec nap = {0, 5 * 1000 * 1000};
    struct native_pool *pool = NULL;

    CHECK_EQ(native_pool_new(0, &pool), ERR_RANGE);
    CHECK_EQ(native_pool_new(ENGINE_WORKERS_MAX + 1, &pool), ERR_RANGE);
    for (uint32_t n = 1; n <= WORKERS; n++) {
        CHECK_EQ(native_pool_new(n, &pool), ERR_OK);
        for (uint32_t i = 0; i < LOOPS; i++) {
            loop_check(pool, 1 + i * 7 % TASKS_MAX);
            if (i % 500 == 0)
                nanosleep(&nap, NULL); // threads that sleep are woken
        }
        native_pool_free(pool);
    }
    native_pool_free(NULL);
    return 0;
}
