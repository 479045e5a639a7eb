#include "scheduler/callback.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/state.h"

enum { TTL_MIN_MS = 1000, TTL_MAX_MS = 600000 };

struct taking {
    sched_callback_fn *fn;
    void *ctx;
    uint8_t lease[SCHED_LEASE_LEN];
};

static void on_taken(enum err err, const redisReply *reply, void *ctx)
{
    struct taking *taking = ctx;
    struct sched_callback event = {0};

    if (!err && reply->type == REDIS_REPLY_NIL)
        err = ERR_NOT_FOUND;
    if (!err) {
        struct sched_walk walk = sched_walk_over(reply);

        event.id = sched_walk_text(&walk);
        event.type = sched_walk_text(&walk);
        event.batch = sched_walk_text(&walk);
        event.url = sched_walk_text(&walk);
        event.secret = sched_walk_text(&walk);
        event.created_ms = sched_walk_i64(&walk);
        event.attempts = sched_walk_u32(&walk);
        memcpy(event.lease, taking->lease, sizeof event.lease);
        if (walk.bad)
            err = ERR_FORMAT;
    }
    taking->fn(err, err ? NULL : &event, taking->ctx);
    free(taking);
}

enum err sched_callback_take(struct sched_store *store, int64_t ttl_ms,
                             sched_callback_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct taking *taking;
    enum err err;

    if (ttl_ms < TTL_MIN_MS || ttl_ms > TTL_MAX_MS)
        return ERR_RANGE;
    taking = malloc(sizeof *taking);
    if (!taking)
        return ERR_NOMEM;
    *taking = (struct taking){fn, ctx, {0}};
    if (sched_random(taking->lease, sizeof taking->lease)) {
        free(taking);
        return ERR_STORE;
    }
    sched_args_put(&args, taking->lease, sizeof taking->lease);
    sched_args_i64(&args, ttl_ms);
    err =
        sched_link_call(store->link, "callback_take", &args, on_taken, taking);
    if (err)
        free(taking);
    return err;
}

enum err sched_callback_tried(struct sched_store *store, const char *id,
                              const uint8_t lease[SCHED_LEASE_LEN],
                              int32_t status, int64_t retry_ms,
                              sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(id, 1, SCHED_ID_MAX))
        return ERR_RANGE;
    sched_args_text(&args, id);
    sched_args_put(&args, lease, SCHED_LEASE_LEN);
    sched_args_i64(&args, status);
    sched_args_i64(&args, retry_ms);
    return sched_call_done(store, "callback_tried", &args, fn, ctx);
}

int64_t sched_callback_delay_ms(uint32_t attempt, uint32_t jitter)
{
    static const int64_t first[] = {5000, 30000, 120000, 600000, 3600000};
    const int64_t later = 6 * INT64_C(3600000);
    const uint32_t last = 5 + 12; // 1.2 hours and 12 times 6: three days
    int64_t ms;

    if (!attempt || attempt > last)
        return attempt ? -1 : 0;
    ms = attempt <= 5 ? first[attempt - 1] : later;
    return ms + ms / 10 * (int64_t)(jitter % 1024) / 1024;
}
