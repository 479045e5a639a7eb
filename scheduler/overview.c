#include "scheduler/overview.h"

#include <stdlib.h>

#include "scheduler/args.h"
#include "scheduler/batch_read.h"
#include "scheduler/state.h"

enum { BATCHES_MAX = 100, LIES_MAX = 50, LIE_FIELDS = 4 };

struct asking {
    sched_overview_fn *fn;
    void *ctx;
};

// What one reply holds.
struct lists {
    struct sched_batch batches[BATCHES_MAX];
    struct sched_lie lies[LIES_MAX];
};

static enum err read_lies(const redisReply *reply, struct sched_lie *out,
                          size_t *n)
{
    struct sched_walk walk = sched_walk_over(reply);

    for (; *n < LIES_MAX && sched_walk_has(&walk, LIE_FIELDS); ++*n) {
        out[*n].at_ms = sched_walk_i64(&walk);
        out[*n].account = sched_walk_text(&walk);
        out[*n].name = sched_walk_text(&walk);
        out[*n].banned = sched_walk_u64(&walk) > 0;
    }
    return walk.bad ? ERR_FORMAT : ERR_OK;
}

static enum err read_reply(const redisReply *reply, struct lists *lists,
                           struct sched_overview *out)
{
    struct sched_walk walk = sched_walk_over(reply), batches;
    enum err err = ERR_OK;

    out->n_open = sched_walk_u64(&walk);
    if (walk.bad || !sched_walk_has(&walk, 2))
        return ERR_FORMAT;
    batches = sched_walk_over(sched_walk_any(&walk));
    while (!err && out->n_batches < BATCHES_MAX && sched_walk_has(&batches, 1))
        err = sched_batch_read(sched_walk_any(&batches),
                               &lists->batches[out->n_batches++]);
    if (!err && batches.bad)
        err = ERR_FORMAT;
    if (!err)
        err = read_lies(sched_walk_any(&walk), lists->lies, &out->n_lies);
    out->batches = lists->batches;
    out->lies = lists->lies;
    return err;
}

static void on_overview(enum err err, const redisReply *reply, void *ctx)
{
    struct asking *asking = ctx;
    struct sched_overview now = {0};
    struct lists *lists = NULL;

    if (!err) {
        lists = calloc(1, sizeof *lists);
        err = lists ? read_reply(reply, lists, &now) : ERR_BUSY;
    }
    asking->fn(err, err ? NULL : &now, asking->ctx);
    free(lists);
    free(asking);
}

enum err sched_overview_get(struct sched_store *store, sched_overview_fn *fn,
                            void *ctx)
{
    struct sched_args args = {0};
    struct asking *asking = malloc(sizeof *asking);
    enum err err;

    if (!asking)
        return ERR_NOMEM;
    *asking = (struct asking){fn, ctx};
    sched_args_u64(&args, BATCHES_MAX);
    sched_args_u64(&args, LIES_MAX);
    err = sched_link_call(store->link, "overview", &args, on_overview, asking);
    if (err)
        free(asking);
    return err;
}
