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

struct signing {
    sched_signing_key_fn *fn;
    void *ctx;
};

enum err sched_key_create(struct sched_store *store, const char *id,
                          const uint8_t hash[SCHED_HASH_LEN], const char *name,
                          const char *hint, const struct sched_rights *rights,
                          sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(id, 1, SCHED_ID_MAX) ||
        !sched_text_fits(name, 0, SCHED_NAME_MAX) ||
        !sched_text_fits(hint, 0, HINT_MAX) || rights->scopes > SCHED_SCOPES ||
        !rights->priority || rights->priority > SCHED_PRIORITY_MAX)
        return ERR_RANGE;
    sched_args_text(&args, id);
    sched_args_put(&args, hash, SCHED_HASH_LEN);
    sched_args_text(&args, name);
    sched_args_text(&args, hint);
    sched_args_u64(&args, rights->scopes);
    sched_args_u64(&args, rights->priority);
    sched_args_u64(&args, rights->requests);
    sched_args_u64(&args, rights->bytes);
    sched_args_u64(&args, rights->tokens);
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
    key.hash = sched_walk_bytes(&walk);
    key.rights.scopes = sched_walk_u32(&walk);
    key.rights.priority = sched_walk_u32(&walk);
    key.rights.requests = sched_walk_u64(&walk);
    key.rights.bytes = sched_walk_u64(&walk);
    key.rights.tokens = sched_walk_u64(&walk);
    key.requests = sched_walk_u64(&walk);
    key.bytes = sched_walk_u64(&walk);
    key.tokens = sched_walk_u64(&walk);
    key.bytes_ms = sched_walk_i64(&walk);
    key.day_ms = sched_walk_i64(&walk);
    if (walk.bad || key.hash.len != SCHED_HASH_LEN)
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

// Call a function that answers with one key. args is released.
static enum err find_by(struct sched_store *store, const char *function,
                        struct sched_args *args, sched_key_fn *fn, void *ctx)
{
    struct finding *finding = malloc(sizeof *finding);
    enum err err;

    if (!finding) {
        sched_args_release(args);
        return ERR_NOMEM;
    }
    *finding = (struct finding){fn, ctx};
    err = sched_link_call(store->link, function, args, on_found, finding);
    if (err)
        free(finding);
    return err;
}

enum err sched_key_find(struct sched_store *store,
                        const uint8_t hash[SCHED_HASH_LEN], sched_key_fn *fn,
                        void *ctx)
{
    struct sched_args args = {0};

    sched_args_put(&args, hash, SCHED_HASH_LEN);
    return find_by(store, "key_find", &args, fn, ctx);
}

enum err sched_key_get(struct sched_store *store, const char *id,
                       sched_key_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(id, 1, SCHED_ID_MAX))
        return ERR_RANGE;
    sched_args_text(&args, id);
    return find_by(store, "key_get", &args, fn, ctx);
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

static void on_signing_key(enum err err, const redisReply *reply, void *ctx)
{
    struct signing *signing = ctx;

    if (!err &&
        (reply->type != REDIS_REPLY_STRING || reply->len != SCHED_HASH_LEN))
        err = ERR_FORMAT;
    signing->fn(err, err ? NULL : (const uint8_t *)reply->str, signing->ctx);
    free(signing);
}

enum err sched_signing_key(struct sched_store *store,
                           const uint8_t fresh[SCHED_HASH_LEN],
                           sched_signing_key_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct signing *signing = malloc(sizeof *signing);
    enum err err;

    if (!signing)
        return ERR_NOMEM;
    *signing = (struct signing){fn, ctx};
    sched_args_put(&args, fresh, SCHED_HASH_LEN);
    err = sched_link_call(store->link, "signing_key", &args, on_signing_key,
                          signing);
    if (err)
        free(signing);
    return err;
}
