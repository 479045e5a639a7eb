#include "scheduler/file.h"

#include <stdlib.h>

#include "scheduler/state.h"

// Each kind of read is awaited by one of these.
struct one {
    sched_file_fn *fn;
    void *ctx;
};

struct many {
    sched_files_fn *fn;
    void *ctx;
};

enum err sched_file_create(struct sched_store *store,
                           const struct sched_file_new *f, sched_done_fn *fn,
                           void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(f->id, 1, SCHED_ID_MAX) ||
        !sched_text_fits(f->key, 1, SCHED_ID_MAX) ||
        !sched_text_fits(f->path, 1, SCHED_FILE_NAME_MAX) ||
        !sched_text_fits(f->name, 0, SCHED_FILE_NAME_MAX) ||
        !sched_text_fits(f->purpose, 1, SCHED_ID_MAX) || f->keep_ms < 0)
        return ERR_RANGE;
    sched_args_text(&args, f->id);
    sched_args_text(&args, f->key);
    sched_args_text(&args, f->path);
    sched_args_text(&args, f->name);
    sched_args_text(&args, f->purpose);
    sched_args_u64(&args, f->bytes);
    sched_args_u64(&args, f->lines);
    if (f->keep_ms)
        sched_args_i64(&args, f->keep_ms);
    else
        sched_args_text(&args, "");
    sched_args_u64(&args, f->stored_max);
    sched_args_text(&args, store->policy_text);
    return sched_call_done(store, "file_create", &args, fn, ctx);
}

static enum err file_read(const redisReply *reply, struct sched_file *out)
{
    struct sched_walk w = sched_walk_over(reply);
    struct sched_file f = {0};

    f.id = sched_walk_text(&w);
    f.path = sched_walk_text(&w);
    f.name = sched_walk_text(&w);
    f.purpose = sched_walk_text(&w);
    f.bytes = sched_walk_u64(&w);
    f.lines = sched_walk_u64(&w);
    f.created_ms = sched_walk_i64(&w);
    f.expires_ms = sched_walk_i64(&w);
    if (w.bad)
        return ERR_FORMAT;
    *out = f;
    return ERR_OK;
}

static void on_one(enum err err, const redisReply *reply, void *ctx)
{
    struct one *one = ctx;
    struct sched_file file;

    if (!err && reply->type == REDIS_REPLY_NIL)
        err = ERR_NOT_FOUND;
    if (!err)
        err = file_read(reply, &file);
    one->fn(err, err ? NULL : &file, one->ctx);
    free(one);
}

enum err sched_file_get(struct sched_store *store, const char *id,
                        const char *key, sched_file_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct one *one;
    enum err err;

    if (!sched_text_fits(id, 1, SCHED_ID_MAX) ||
        !sched_text_fits(key, 1, SCHED_ID_MAX))
        return ERR_RANGE;
    one = malloc(sizeof *one);
    if (!one)
        return ERR_NOMEM;
    *one = (struct one){fn, ctx};
    sched_args_text(&args, id);
    sched_args_text(&args, key);
    err = sched_link_call(store->link, "file_get", &args, on_one, one);
    if (err)
        free(one);
    return err;
}

static void on_many(enum err err, const redisReply *reply, void *ctx)
{
    struct many *many = ctx;
    struct sched_walk walk;
    struct sched_file *files = NULL;
    size_t n = 0;
    bool more = false;

    if (!err && reply->type == REDIS_REPLY_NIL)
        err = ERR_NOT_FOUND;
    if (!err) {
        walk = sched_walk_over(reply);
        more = sched_walk_u64(&walk);
        if (walk.bad)
            err = ERR_FORMAT;
    }
    if (!err) {
        files = calloc(reply->elements + 1, sizeof *files);
        if (!files)
            err = ERR_BUSY;
        while (!err && sched_walk_has(&walk, 1))
            err = file_read(sched_walk_any(&walk), &files[n++]);
    }
    many->fn(err, err ? NULL : files, err ? 0 : n, !err && more, many->ctx);
    free(files);
    free(many);
}

static enum err many_call(struct sched_store *store, const char *function,
                          struct sched_args *args, sched_reply_fn *on_reply,
                          sched_files_fn *fn, void *ctx)
{
    struct many *many = malloc(sizeof *many);
    enum err err;

    if (!many) {
        sched_args_release(args);
        return ERR_NOMEM;
    }
    *many = (struct many){fn, ctx};
    err = sched_link_call(store->link, function, args, on_reply, many);
    if (err)
        free(many);
    return err;
}

enum err sched_file_list(struct sched_store *store,
                         const struct sched_file_query *q, sched_files_fn *fn,
                         void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(q->key, 1, SCHED_ID_MAX) ||
        !sched_text_fits(q->after, 0, SCHED_ID_MAX) ||
        !sched_text_fits(q->purpose, 0, SCHED_ID_MAX) || !q->limit ||
        q->limit > SCHED_FILES_MAX)
        return ERR_RANGE;
    sched_args_text(&args, q->key);
    sched_args_text(&args, q->after);
    sched_args_u64(&args, q->limit);
    sched_args_text(&args, q->purpose);
    sched_args_text(&args, q->oldest_first ? "1" : "");
    return many_call(store, "file_list", &args, on_many, fn, ctx);
}

enum err sched_file_delete(struct sched_store *store, const char *id,
                           const char *key, sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(id, 1, SCHED_ID_MAX) ||
        (key && !sched_text_fits(key, 1, SCHED_ID_MAX)))
        return ERR_RANGE;
    sched_args_text(&args, id);
    sched_args_text(&args, key ? key : "");
    return sched_call_done(store, "file_delete", &args, fn, ctx);
}

static void on_expired(enum err err, const redisReply *reply, void *ctx)
{
    struct many *many = ctx;
    struct sched_walk walk;
    struct sched_file files[SCHED_FILES_EXPIRED_MAX] = {0};
    size_t n = 0;

    if (!err) {
        walk = sched_walk_over(reply);
        while (n < SCHED_FILES_EXPIRED_MAX && sched_walk_has(&walk, 2)) {
            files[n].id = sched_walk_text(&walk);
            files[n++].path = sched_walk_text(&walk);
        }
        if (walk.bad)
            err = ERR_FORMAT;
    }
    many->fn(err, err ? NULL : files, err ? 0 : n,
             !err && n == SCHED_FILES_EXPIRED_MAX, many->ctx);
    free(many);
}

enum err sched_file_expired(struct sched_store *store, sched_files_fn *fn,
                            void *ctx)
{
    struct sched_args args = {0};

    sched_args_u64(&args, SCHED_FILES_EXPIRED_MAX);
    return many_call(store, "file_expired", &args, on_expired, fn, ctx);
}
