#include "scheduler/job.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/state.h"

enum { TTL_MIN_MS = 1000, TTL_MAX_MS = 600000 };

struct taking {
    sched_job_fn *fn;
    void *ctx;
    enum sched_job_kind kind;
    uint8_t lease[SCHED_LEASE_LEN];
};

static const char *kind_text(enum sched_job_kind kind)
{
    return kind == SCHED_JOB_INGEST ? "ingest" : "output";
}

static enum err job_read(const redisReply *reply, struct sched_job *job)
{
    struct sched_walk walk = sched_walk_over(reply);
    struct bytes id = sched_walk_bytes(&walk);

    job->cursor = sched_walk_u64(&walk);
    job->line = sched_walk_u64(&walk);
    job->taken = sched_walk_u64(&walk);
    if (walk.bad || id.len > SCHED_ID_MAX)
        return ERR_FORMAT;
    memcpy(job->batch, id.ptr, id.len);
    job->batch[id.len] = '\0';
    return ERR_OK;
}

static void on_taken(enum err err, const redisReply *reply, void *ctx)
{
    struct taking *taking = ctx;
    struct sched_job job = {.kind = taking->kind};

    memcpy(job.lease, taking->lease, sizeof job.lease);
    if (!err && reply->type == REDIS_REPLY_NIL)
        err = ERR_NOT_FOUND;
    if (!err)
        err = job_read(reply, &job);
    taking->fn(err, err ? NULL : &job, taking->ctx);
    free(taking);
}

enum err sched_job_take(struct sched_store *store, enum sched_job_kind kind,
                        int64_t ttl_ms, sched_job_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct taking *taking;
    enum err err;

    if (ttl_ms < TTL_MIN_MS || ttl_ms > TTL_MAX_MS)
        return ERR_RANGE;
    taking = malloc(sizeof *taking);
    if (!taking)
        return ERR_NOMEM;
    *taking = (struct taking){fn, ctx, kind, {0}};
    if (sched_random(taking->lease, sizeof taking->lease)) {
        free(taking);
        return ERR_STORE;
    }
    sched_args_text(&args, kind_text(kind));
    sched_args_put(&args, taking->lease, sizeof taking->lease);
    sched_args_i64(&args, ttl_ms);
    err = sched_link_call(store->link, "job_take", &args, on_taken, taking);
    if (err)
        free(taking);
    return err;
}

enum err sched_job_give_back(struct sched_store *store,
                             const struct sched_job *job, int64_t delay_ms,
                             sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (delay_ms < 0)
        return ERR_RANGE;
    sched_args_text(&args, kind_text(job->kind));
    sched_args_text(&args, job->batch);
    sched_args_put(&args, job->lease, sizeof job->lease);
    sched_args_i64(&args, delay_ms);
    return sched_call_done(store, "job_back", &args, fn, ctx);
}
