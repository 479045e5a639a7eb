// What Redis takes while lines run over three spans: real state and rows of
// true size (those of tales-llama: 256 elements; 64 tokens in, 64 out),
// computed by volunteers that only make them up. Lines are queued as fast as
// they may; all come.
//
//   span_logs [LINES]     default 10000
//
// A line with tabs at the end: name, MiB at the peak, 256, ratio, bar, ok or
// short.
#include <stdio.h>
#include <stdlib.h>

#include "fake.h"
#include "scheduler/plan.h"

#define CELL "syn:{0}:"

enum {
    SPANS = 3,
    EACH = 1, // volunteers a span: the fewer, the more rows a unit has
    SLOTS = 64,
    LINES = 10000,
    LIMIT_MIB = 256,
    LIMIT_MS = 1800000,
};

static const char peak[] = "return tonumber(redis.call('INFO', 'memory')"
                           ":match('used_memory_peak:(%d+)'))";

static void policy_set(struct sched_policy *p)
{
    p->sweep_ms = 500;
}

static void team_start(struct world *w, struct fake *f, int n)
{
    static const uint16_t path[SPANS + 1] = {0, 2, 4, MODEL_SHARDS};
    struct waited done = {0};

    CHECK_EQ(world_wait(w,
                        sched_plan_pin(w->store, w->model.id, NULL, path,
                                       SPANS + 1, on_waited, &done),
                        &done),
             ERR_OK);
    for (int k = 0; k < n; k++) {
        fake_join(&f[k], w, k, (uint8_t)k, k == n - 1);
        if (k < n - 1)
            fake_holds(&f[k], path[k / EACH], path[k / EACH + 1]);
        f[k].depth = 1;
        f[k].slots = SLOTS;
    }
}

int main(int argc, char **argv)
{
    enum { N = SPANS * EACH + 1 };
    static struct fake f[N];
    uint32_t lines = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : LINES;
    long long most = 0, done = 0;
    struct world w;
    double mib;

    world_init(&w, policy_set);
    team_start(&w, f, N);
    int64_t start = world_ms();
    for (int k = 0; k < N; k++)
        fake_go(&f[k]);
    world_batch(&w, "batch_1", lines, false); // as fast as lines may be queued
    printf("logs: %.1f s until all lines were queued\n",
           (double)(world_ms() - start) / 1000);
    while (world_redis(&w, "HGET " CELL "b:batch_1 st") != 2) {
        long long log = world_redis(&w, "HGET " CELL "g log");

        done = world_redis(&w, "HGET " CELL "b:batch_1 n_ok");
        most = log > most ? log : most;
        if (getenv("VERBOSE"))
            fprintf(stderr, "%lld lines, log %lld KiB\n", done, log >> 10);
        CHECK(world_ms() - start < LIMIT_MS);
        world_run(&w, 200);
    }
    mib = (double)world_redis(&w, "EVAL %s 0", peak) / (1 << 20);
    printf("logs: %u lines in %.1f s; at most %.1f MiB reserved for logs, %lld "
           "left\n",
           lines, (double)(world_ms() - start) / 1000, (double)most / (1 << 20),
           world_redis(&w, "HGET " CELL "g log"));
    (void)world_check(&w, "batch_1", lines, false, true);
    printf("logs redis at its peak, MiB\t%.1f\t%d\t%.2f\t<= %d\t%s\n", mib,
           LIMIT_MIB, mib / LIMIT_MIB, LIMIT_MIB,
           mib <= LIMIT_MIB ? "ok" : "short");
    fakes_output(&w, "batch_1");
    for (int k = 0; k < N; k++)
        fake_release(&f[k]);
    world_run(&w, 10);
    for (int k = 0; k < N; k++)
        CHECK_EQ(fake_leave(&f[k]), ERR_OK);
    world_release(&w);
    return mib > LIMIT_MIB;
}
