#include "scheduler/ask.h"

#include <stdlib.h>

#include "scheduler/batch_read.h"
#include "scheduler/state.h"

enum { NAMES_MAX = 4096 }; // of one result: model, checker, makers

struct looking {
    sched_ask_fn *fn;
    void *ctx;
};

enum err sched_ask_create(struct sched_store *store, const char *id,
                          const char *key, const struct sched_line *lines,
                          size_t n, int64_t ttl_ms, sched_done_fn *fn,
                          void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(id, 1, SCHED_ID_MAX) ||
        !sched_text_fits(key, 1, SCHED_ID_MAX) || n == 0 ||
        n > SCHED_ASK_LINES_MAX || ttl_ms <= 0)
        return ERR_RANGE;
    for (size_t i = 0; i < n; i++)
        if (lines[i].error.len > 0 || lines[i].n_choices > 1 ||
            !sched_line_fits(&lines[i]))
            return ERR_RANGE;
    sched_args_text(&args, id);
    sched_args_text(&args, key);
    sched_args_i64(&args, ttl_ms);
    for (size_t i = 0; i < n; i++)
        sched_line_put(&args, &lines[i]);
    return sched_call_done(store, "ask_create", &args, fn, ctx);
}

// What a reply holds, in memory of our own.
struct shelf {
    struct sched_ask_line *lines;
    struct sched_result *results;
    uint32_t *tokens;
    char *names;
};

static bool shelf_new(struct shelf *shelf, const redisReply *reply)
{
    size_t n = reply->elements, bytes = 0;

    for (size_t i = 0; i < n; i++)
        bytes += (size_t)reply->element[i]->len;
    shelf->lines = calloc(n + 1, sizeof *shelf->lines);
    shelf->results = calloc(n + 1, sizeof *shelf->results);
    shelf->tokens = malloc(bytes + 4);
    shelf->names = malloc((n + 1) * NAMES_MAX);
    return shelf->lines && shelf->results && shelf->tokens && shelf->names;
}

static void shelf_release(struct shelf *shelf)
{
    free(shelf->lines);
    free(shelf->results);
    free(shelf->tokens);
    free(shelf->names);
}

static enum err ask_read(const redisReply *reply, struct shelf *shelf,
                         struct sched_ask *out)
{
    struct sched_walk walk = sched_walk_over(reply);
    uint32_t *tokens = shelf->tokens;
    uint64_t n_open;
    enum err err = ERR_OK;

    out->n_lines = sched_walk_u64(&walk);
    n_open = sched_walk_u64(&walk);
    while (out->n_open < n_open && sched_walk_has(&walk, 4)) {
        struct sched_ask_line *line = &shelf->lines[out->n_open++];
        struct bytes ids;

        line->number = sched_walk_u64(&walk);
        line->epoch = sched_walk_u32(&walk);
        ids = sched_walk_bytes(&walk);
        line->logprobs = sched_walk_bytes(&walk);
        line->n_tokens = (uint32_t)(ids.len / 4);
        line->tokens = tokens;
        for (uint32_t i = 0; i < line->n_tokens; i++)
            *tokens++ = bytes_peek_u32(ids.ptr + (size_t)i * 4);
    }
    while (!err && sched_walk_has(&walk, 1)) {
        err = sched_result_read(sched_walk_bytes(&walk), tokens,
                                shelf->names + out->n_final * NAMES_MAX,
                                NAMES_MAX, &shelf->results[out->n_final]);
        if (!err)
            tokens += shelf->results[out->n_final++].n_tokens;
    }
    out->lines = shelf->lines;
    out->results = shelf->results;
    return err ? err : walk.bad || out->n_open != n_open ? ERR_FORMAT : ERR_OK;
}

static void on_look(enum err err, const redisReply *reply, void *ctx)
{
    struct looking *looking = ctx;
    struct shelf shelf = {0};
    struct sched_ask ask = {0};

    if (!err && reply->type == REDIS_REPLY_NIL)
        err = ERR_NOT_FOUND;
    if (!err && reply->type != REDIS_REPLY_ARRAY)
        err = ERR_FORMAT;
    if (!err && !shelf_new(&shelf, reply))
        err = ERR_BUSY;
    if (!err)
        err = ask_read(reply, &shelf, &ask);
    looking->fn(err, err ? NULL : &ask, looking->ctx);
    shelf_release(&shelf);
    free(looking);
}

enum err sched_ask_look(struct sched_store *store, const char *id,
                        int64_t ttl_ms, sched_ask_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct looking *looking;
    enum err err;

    if (!sched_text_fits(id, 1, SCHED_ID_MAX))
        return ERR_RANGE;
    looking = malloc(sizeof *looking);
    if (!looking)
        return ERR_NOMEM;
    *looking = (struct looking){fn, ctx};
    sched_args_text(&args, id);
    if (ttl_ms > 0)
        sched_args_i64(&args, ttl_ms);
    else
        sched_args_text(&args, "");
    err = sched_link_call(store->link, "ask_look", &args, on_look, looking);
    if (err)
        free(looking);
    return err;
}

enum err sched_ask_end(struct sched_store *store, const char *id,
                       sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(id, 1, SCHED_ID_MAX))
        return ERR_RANGE;
    sched_args_text(&args, id);
    return sched_call_done(store, "ask_end", &args, fn, ctx);
}
