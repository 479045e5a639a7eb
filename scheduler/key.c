#include "scheduler/key.h"

#include <stdlib.h>

#include "scheduler/state.h"

enum { HINT_MAX = 16 };

struct finding {
    sched_key_fn *fn;
    void *ctx;
};

struct listing {
    sched_keys_fn *fn;
    void *ctx;
};

enum err sched_key_create(struct sched_store *store, const char *id,
                          const uint8_t hash[SCHED_HASH_LEN], const char *name,
                          const char *hint, sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(id, 1, SCHED_ID_MAX) ||
        !sched_text_fits(name, 0, SCHED_NAME_MAX) ||
        !sched_text_fits(hint, 0, HINT_MAX))
        return ERR_RANGE;
    sched_args_text(&args, id);
    sched_args_put(&args, hash, SCHED_HASH_LEN);
    sched_args_text(&args, name);
    sched_args_text(&args, hint);
    return sched_call_done(store, "key_create", &args, fn, ctx);
}

static enum err key_read(const redisReply *reply, struct sched_key *out)
{
    struct sched_walk walk = sched_walk_over(reply);
    struct sched_key key = {0};

    key.id = sched_walk_text(&walk);
    key.name = sched_walk_text(&walk);
    key.hint = sched_walk_text(&walk);
    key.created_ms = sched_walk_i64(&walk);
    key.revoked_ms = sched_walk_i64(&walk);
    key.stored_bytes = sched_walk_u64(&walk);
    if (walk.bad)
        return ERR_FORMAT;
    *out = key;
    return ERR_OK;
}

static void on_found(enum err err, const redisReply *reply, void *ctx)
{
    struct finding *finding = ctx;
    struct sched_key key;

    if (!err && reply->type == REDIS_REPLY_NIL)
        err = ERR_NOT_FOUND;
    if (!err)
        err = key_read(reply, &key);
    finding->fn(err, err ? NULL : &key, finding->ctx);
    free(finding);
}

enum err sched_key_find(struct sched_store *store,
                        const uint8_t hash[SCHED_HASH_LEN], sched_key_fn *fn,
                        void *ctx)
{
    struct sched_args args = {0};
    struct finding *finding = malloc(sizeof *finding);
    enum err err;

    if (!finding)
        return ERR_NOMEM;
    *finding = (struct finding){fn, ctx};
    sched_args_put(&args, hash, SCHED_HASH_LEN);
    err = sched_link_call(store->link, "key_find", &args, on_found, finding);
    if (err)
        free(finding);
    return err;
}

static void on_listed(enum err err, const redisReply *reply, void *ctx)
{
    struct listing *listing = ctx;
    struct sched_walk walk;
    struct sched_key *keys = NULL;
    size_t n = 0;

    if (!err) {
        walk = sched_walk_over(reply);
        if (walk.bad)
            err = ERR_FORMAT;
    }
    if (!err) {
        keys = calloc(reply->elements + 1, sizeof *keys);
        if (!keys)
            err = ERR_BUSY;
        while (!err && sched_walk_has(&walk, 1))
            err = key_read(sched_walk_any(&walk), &keys[n++]);
    }
    listing->fn(err, err ? NULL : keys, err ? 0 : n, listing->ctx);
    free(keys);
    free(listing);
}

enum err sched_key_list(struct sched_store *store, sched_keys_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct listing *listing = malloc(sizeof *listing);
    enum err err;

    if (!listing)
        return ERR_NOMEM;
    *listing = (struct listing){fn, ctx};
    err = sched_link_call(store->link, "key_list", &args, on_listed, listing);
    if (err)
        free(listing);
    return err;
}

enum err sched_key_revoke(struct sched_store *store, const char *id,
                          sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(id, 1, SCHED_ID_MAX))
        return ERR_RANGE;
    sched_args_text(&args, id);
    return sched_call_done(store, "key_revoke", &args, fn, ctx);
}
