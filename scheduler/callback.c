#include "scheduler/callback.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/state.h"

enum { TTL_MIN_MS = 1000, TTL_MAX_MS = 600000, SECRET_MAX = 255 };

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
        event.old_secret = sched_walk_text(&walk);
        event.created_ms = sched_walk_i64(&walk);
        event.attempts = sched_walk_u32(&walk);
        event.line = sched_walk_u64(&walk);
        event.custom_id = sched_walk_bytes(&walk);
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
                              const struct sched_callback_try *how,
                              sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(id, 1, SCHED_ID_MAX))
        return ERR_RANGE;
    sched_args_text(&args, id);
    sched_args_put(&args, lease, SCHED_LEASE_LEN);
    sched_args_i64(&args, how->status);
    sched_args_i64(&args, how->retry_ms);
    sched_args_i64(&args, how->took_ms);
    sched_args_put(&args, how->why, strnlen(how->why, SCHED_CALLBACK_WHY_MAX));
    sched_args_text(&args, store->policy_text);
    return sched_call_done(store, "callback_tried", &args, fn, ctx);
}

struct looking {
    sched_callback_log_fn *fn;
    void *ctx;
};

static struct sched_callback_entry entry_read(const redisReply *reply,
                                              bool *bad)
{
    struct sched_walk w = sched_walk_over(reply);
    struct sched_callback_entry e = {0};

    e.at_ms = sched_walk_i64(&w);
    e.id = sched_walk_text(&w);
    e.type = sched_walk_text(&w);
    e.attempt = sched_walk_u32(&w);
    e.status = (int32_t)sched_walk_i64(&w);
    e.took_ms = sched_walk_i64(&w);
    e.retry_at_ms = sched_walk_i64(&w);
    e.why = sched_walk_text(&w);
    *bad |= w.bad;
    return e;
}

static void on_log(enum err err, const redisReply *reply, void *ctx)
{
    struct looking *looking = ctx;
    struct sched_callback_entry *entries = NULL;
    size_t n = 0;
    bool bad = false;

    if (!err && reply->type == REDIS_REPLY_NIL)
        err = ERR_NOT_FOUND;
    if (!err) {
        struct sched_walk walk = sched_walk_over(reply);

        bad = walk.bad;
        if (!bad)
            entries = calloc(reply->elements + 1, sizeof *entries);
        if (!bad && !entries)
            err = ERR_BUSY;
        while (entries && sched_walk_has(&walk, 1))
            entries[n++] = entry_read(sched_walk_any(&walk), &bad);
        if (!err && bad)
            err = ERR_FORMAT;
    }
    looking->fn(err, err ? NULL : entries, err ? 0 : n, looking->ctx);
    free(entries);
    free(looking);
}

// The arguments that name a batch of a key.
static bool put_batch(struct sched_args *args, const char *batch,
                      const char *key)
{
    if (!sched_text_fits(batch, 1, SCHED_ID_MAX) ||
        !sched_text_fits(key, 1, SCHED_ID_MAX))
        return false;
    sched_args_text(args, batch);
    sched_args_text(args, key);
    return true;
}

enum err sched_callback_log(struct sched_store *store, const char *batch,
                            const char *key, uint32_t limit,
                            sched_callback_log_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct looking *looking;
    enum err err;

    if (!limit || limit > SCHED_CALLBACK_LOG_MAX ||
        !put_batch(&args, batch, key))
        return ERR_RANGE;
    looking = malloc(sizeof *looking);
    if (!looking) {
        sched_args_release(&args);
        return ERR_NOMEM;
    }
    *looking = (struct looking){fn, ctx};
    sched_args_u64(&args, limit);
    err = sched_link_call(store->link, "callback_log", &args, on_log, looking);
    if (err)
        free(looking);
    return err;
}

enum err sched_callback_again(struct sched_store *store, const char *batch,
                              const char *key, const char *event,
                              sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(event, 0, SCHED_ID_MAX) ||
        !put_batch(&args, batch, key))
        return ERR_RANGE;
    sched_args_text(&args, event);
    sched_args_text(&args, store->policy_text);
    return sched_call_done(store, "callback_again", &args, fn, ctx);
}

enum err sched_callback_secret(struct sched_store *store, const char *batch,
                               const char *key, const char *secret,
                               int64_t old_ms, sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(secret, 1, SECRET_MAX) || old_ms < 0 ||
        !put_batch(&args, batch, key))
        return ERR_RANGE;
    sched_args_text(&args, secret);
    sched_args_i64(&args, old_ms);
    return sched_call_done(store, "callback_secret", &args, fn, ctx);
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
