#include "scheduler/batch.h"

#include <stdlib.h>

#include "scheduler/batch_read.h"
#include "scheduler/callback.h"
#include "scheduler/state.h"
#include "scheduler/work_frame.h"

enum {
    URL_MAX = 4096,
    FILE_MAX = 255,
    ERROR_TEXT_MAX = 1000,
    LIST_MAX = 100,
    NAMES_MAX = 4096, // of one result: model, checker, makers
    EVENT_LEN = 16,
};

// Each kind of read is awaited by one of these.
struct one {
    sched_batch_fn *fn;
    void *ctx;
};

struct many {
    sched_batches_fn *fn;
    void *ctx;
};

struct page {
    sched_results_fn *fn;
    void *ctx;
    uint64_t after;
};

enum err sched_batch_create(struct sched_store *store,
                            const struct sched_batch_new *b, sched_done_fn *fn,
                            void *ctx)
{
    struct sched_args args = {0};
    const char *kinds =
        b->callback_kinds ? b->callback_kinds : SCHED_CALLBACK_ENDS;
    const char *endpoint = b->callback_endpoint ? b->callback_endpoint : "";

    if (!sched_text_fits(b->id, 1, SCHED_ID_MAX) ||
        !sched_text_fits(b->key, 1, SCHED_ID_MAX) ||
        !sched_text_fits(b->model, 0, FILE_MAX) ||
        !sched_text_fits(b->endpoint, 0, FILE_MAX) || b->window_ms <= 0 ||
        !sched_text_fits(b->input_file, 1, FILE_MAX) ||
        !sched_text_fits(b->input_id, 1, SCHED_ID_MAX) ||
        !sched_text_fits(b->callback_url, 0, URL_MAX) ||
        !sched_text_fits(b->callback_secret, 0, FILE_MAX) ||
        b->redundancy > SCHED_REDUNDANCY_MAX ||
        !sched_text_fits(kinds, 0, SCHED_ID_MAX) ||
        !sched_text_fits(endpoint, 0, FILE_MAX) ||
        b->metadata.len > SCHED_BLOB_MAX)
        return ERR_RANGE;
    sched_args_text(&args, b->id);
    sched_args_text(&args, b->key);
    sched_args_text(&args, b->model);
    sched_args_text(&args, b->input_file);
    sched_args_u64(&args, b->input_bytes);
    sched_args_u64(&args, b->n_lines);
    sched_args_text(&args, b->callback_url);
    sched_args_text(&args, b->callback_secret);
    sched_args_put(&args, b->metadata.ptr, b->metadata.len);
    sched_args_u64(&args, b->stored_max);
    sched_args_text(&args, store->policy_text);
    sched_args_text(&args, b->endpoint);
    sched_args_i64(&args, b->window_ms);
    sched_args_text(&args, b->input_id);
    sched_args_u64(&args, b->redundancy ? b->redundancy : 1);
    sched_args_text(&args, b->receipts ? "1" : "");
    sched_args_text(&args, endpoint);
    sched_args_text(&args, *b->callback_url ? kinds : "");
    sched_args_text(&args, b->near ? "1" : "");
    return sched_call_done(store, "batch_create", &args, fn, ctx);
}

enum err sched_batch_cancel(struct sched_store *store, const char *id,
                            const char *key, sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(id, 1, SCHED_ID_MAX) ||
        !sched_text_fits(key, 1, SCHED_ID_MAX))
        return ERR_RANGE;
    sched_args_text(&args, id);
    sched_args_text(&args, key);
    return sched_call_done(store, "batch_cancel", &args, fn, ctx);
}

bool sched_line_fits(const struct sched_line *l)
{
    if (l->custom_id.len > SCHED_CUSTOM_ID_MAX || l->error.len > SCHED_BLOB_MAX)
        return false;
    if (l->error.len)
        return true;
    return l->n_prompt && l->n_prompt < SYN1_POS_MAX && l->max_tokens &&
           l->n_choices <= SCHED_CHOICES_MAX && l->n_bias <= SYN1_BIAS_MAX &&
           l->n_stop <= SYN1_STOP_MAX && l->sampling.top_p_q16 >= 1 &&
           l->sampling.top_p_q16 <= 65536 && l->stops.len <= SCHED_BLOB_MAX &&
           l->blob.len <= SCHED_BLOB_MAX;
}

static void put_ids(struct sched_args *args, const uint32_t *ids, size_t n)
{
    sched_args_put(args, "", 0);
    for (size_t i = 0; i < n; i++) {
        uint8_t b[4] = {(uint8_t)ids[i], (uint8_t)(ids[i] >> 8),
                        (uint8_t)(ids[i] >> 16), (uint8_t)(ids[i] >> 24)};

        sched_args_append(args, b, sizeof b);
    }
}

void sched_line_put(struct sched_args *args, const struct sched_line *l)
{
    bool request = !l->error.len;
    uint32_t n = request && l->n_choices ? l->n_choices : 1;
    struct syn1_sampling each = l->sampling;

    sched_args_u64(args, l->number);
    sched_args_put(args, l->custom_id.ptr, l->custom_id.len);
    sched_args_put(args, l->error.ptr, l->error.len);
    sched_args_put(args, l->model, sizeof l->model);
    put_ids(args, l->prompt, request ? l->n_prompt : 0);
    sched_args_u64(args, l->max_tokens);
    sched_args_put(args, "", 0);
    for (uint32_t i = 0; i < n; i++, each.seed++) {
        uint8_t sampling[SCHED_SAMPLING_LEN];

        sched_sampling_put(sampling, &each);
        sched_args_append(args, sampling, sizeof sampling);
    }
    sched_args_text(args, l->seed_given ? "1" : "");
    sched_args_put(args, l->bias, request ? (size_t)l->n_bias * 8 : 0);
    put_ids(args, l->stop, request ? l->n_stop : 0);
    sched_args_put(args, l->stops.ptr, request ? l->stops.len : 0);
    sched_args_put(args, l->blob.ptr, request ? l->blob.len : 0);
    sched_args_text(args, l->sampling.flags & SYN1_IGNORE_END ? "1" : "");
}

enum err sched_batch_add(struct sched_store *store, const struct sched_job *job,
                         const struct sched_line *lines, size_t n,
                         uint64_t cursor_to, int64_t ttl_ms, sched_done_fn *fn,
                         void *ctx)
{
    struct sched_args args = {0};

    if (n > SCHED_LINES_MAX || job->kind != SCHED_JOB_INGEST)
        return ERR_RANGE;
    for (size_t i = 0; i < n; i++)
        if (!sched_line_fits(&lines[i]))
            return ERR_RANGE;
    sched_args_text(&args, job->batch);
    sched_args_put(&args, job->lease, sizeof job->lease);
    sched_args_u64(&args, job->cursor);
    sched_args_u64(&args, cursor_to);
    sched_args_i64(&args, ttl_ms);
    for (size_t i = 0; i < n; i++)
        sched_line_put(&args, &lines[i]);
    return sched_call_done(store, "batch_add", &args, fn, ctx);
}

enum err sched_batch_lines_done(struct sched_store *store,
                                const struct sched_job *job, sched_done_fn *fn,
                                void *ctx)
{
    struct sched_args args = {0};

    sched_args_text(&args, job->batch);
    sched_args_put(&args, job->lease, sizeof job->lease);
    return sched_call_done(store, "batch_lines_done", &args, fn, ctx);
}

enum err sched_batch_fail(struct sched_store *store,
                          const struct sched_job *job, const char *code,
                          const char *text, uint64_t line, sched_done_fn *fn,
                          void *ctx)
{
    struct sched_args args = {0};
    uint8_t event[EVENT_LEN];

    if (!sched_text_fits(code, 1, SCHED_ID_MAX) ||
        !sched_text_fits(text, 0, ERROR_TEXT_MAX))
        return ERR_RANGE;
    if (sched_random(event, sizeof event))
        return ERR_STORE;
    sched_args_text(&args, job->batch);
    sched_args_text(&args, job->kind == SCHED_JOB_INGEST ? "ingest" : "output");
    sched_args_put(&args, job->lease, sizeof job->lease);
    sched_args_text(&args, code);
    sched_args_text(&args, text);
    sched_args_u64(&args, line);
    sched_args_hex(&args, event, sizeof event);
    sched_args_text(&args, store->policy_text);
    return sched_call_done(store, "batch_fail", &args, fn, ctx);
}

static bool file_fits(const struct sched_batch_file *file)
{
    return !file->id || (sched_text_fits(file->id, 1, SCHED_ID_MAX) &&
                         sched_text_fits(file->path, 1, FILE_MAX));
}

static void put_file(struct sched_args *args,
                     const struct sched_batch_file *file)
{
    sched_args_text(args, file->id ? file->id : "");
    sched_args_text(args, file->id ? file->path : "");
    sched_args_u64(args, file->bytes);
    sched_args_u64(args, file->lines);
}

enum err sched_batch_output(struct sched_store *store,
                            const struct sched_job *job,
                            const struct sched_batch_files *files,
                            const char *event, sched_done_fn *fn, void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(files->results, 1, FILE_MAX) ||
        !file_fits(&files->output) || !file_fits(&files->error) ||
        !sched_text_fits(event, 1, SCHED_ID_MAX))
        return ERR_RANGE;
    sched_args_text(&args, job->batch);
    sched_args_put(&args, job->lease, sizeof job->lease);
    sched_args_text(&args, files->results);
    sched_args_u64(&args, files->results_bytes);
    sched_args_text(&args, event);
    sched_args_text(&args, store->policy_text);
    put_file(&args, &files->output);
    put_file(&args, &files->error);
    return sched_call_done(store, "batch_output", &args, fn, ctx);
}

static void on_one(enum err err, const redisReply *reply, void *ctx)
{
    struct one *one = ctx;
    struct sched_batch batch;

    if (!err && reply->type == REDIS_REPLY_NIL)
        err = ERR_NOT_FOUND;
    if (!err)
        err = sched_batch_read(reply, &batch);
    one->fn(err, err ? NULL : &batch, one->ctx);
    free(one);
}

enum err sched_batch_get(struct sched_store *store, const char *id,
                         const char *key, sched_batch_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct one *one;
    enum err err;

    if (!sched_text_fits(id, 1, SCHED_ID_MAX))
        return ERR_RANGE;
    one = malloc(sizeof *one);
    if (!one)
        return ERR_NOMEM;
    *one = (struct one){fn, ctx};
    sched_args_text(&args, id);
    sched_args_text(&args, key ? key : "");
    err = sched_link_call(store->link, "batch_get", &args, on_one, one);
    if (err)
        free(one);
    return err;
}

static void on_many(enum err err, const redisReply *reply, void *ctx)
{
    struct many *many = ctx;
    struct sched_walk walk;
    struct sched_batch *batches = NULL;
    size_t n = 0;
    bool more = false;

    if (!err && reply->type == REDIS_REPLY_NIL)
        err = ERR_NOT_FOUND;
    if (!err) {
        walk = sched_walk_over(reply);
        more = sched_walk_u64(&walk);
        batches = calloc(LIST_MAX, sizeof *batches);
        if (!batches)
            err = ERR_BUSY;
        while (!err && n < LIST_MAX && sched_walk_has(&walk, 1))
            err = sched_batch_read(sched_walk_any(&walk), &batches[n++]);
        if (!err && walk.bad)
            err = ERR_FORMAT;
    }
    many->fn(err, err ? NULL : batches, err ? 0 : n, !err && more, many->ctx);
    free(batches);
    free(many);
}

enum err sched_batch_list(struct sched_store *store, const char *key,
                          const char *after, uint32_t limit,
                          sched_batches_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct many *many;
    enum err err;

    if (!sched_text_fits(key, 1, SCHED_ID_MAX) ||
        !sched_text_fits(after, 0, SCHED_ID_MAX) || !limit || limit > LIST_MAX)
        return ERR_RANGE;
    many = malloc(sizeof *many);
    if (!many)
        return ERR_NOMEM;
    *many = (struct many){fn, ctx};
    sched_args_text(&args, key);
    sched_args_text(&args, after);
    sched_args_u64(&args, limit);
    err = sched_link_call(store->link, "batch_list", &args, on_many, many);
    if (err)
        free(many);
    return err;
}

// One block for the results, their tokens and their names.
struct shelf {
    struct sched_result *results;
    uint32_t *tokens;
    size_t n_tokens;
    char *names;
};

static bool shelf_new(struct shelf *shelf, const redisReply *reply)
{
    size_t n = reply->elements, bytes = 0;

    for (size_t i = 1; i < reply->elements; i++) {
        struct bytes record = {(const uint8_t *)reply->element[i]->str,
                               reply->element[i]->len};

        bytes += record.len;
        n += sched_result_choices(record);
    }
    shelf->results = calloc(n, sizeof *shelf->results);
    shelf->tokens = malloc(bytes + 4);
    shelf->names = malloc(n * NAMES_MAX);
    return shelf->results && shelf->tokens && shelf->names;
}

// Put the next record at place i, with its tokens and names.
static enum err record_read(struct bytes record, struct shelf *shelf, size_t i)
{
    enum err err = sched_result_read(record, shelf->tokens + shelf->n_tokens,
                                     shelf->names + i * NAMES_MAX, NAMES_MAX,
                                     &shelf->results[i]);

    if (!err)
        shelf->n_tokens += shelf->results[i].n_tokens;
    return err;
}

// A line at place i, its choices from place *at on.
static enum err line_read(struct bytes record, struct shelf *shelf, size_t i,
                          size_t *at)
{
    uint32_t n = sched_result_choices(record);
    size_t first = *at;
    enum err err = ERR_OK;

    if (n == 0)
        return record_read(record, shelf, i);
    for (uint32_t c = 0; !err && c < n; c++) {
        struct bytes choice;

        err = sched_result_choice(&record, c, &choice);
        if (!err)
            err = record_read(choice, shelf, (*at)++);
    }
    if (err)
        return err;
    shelf->results[i] = shelf->results[first];
    shelf->results[i].n_choices = n;
    shelf->results[i].choices = &shelf->results[first];
    return record.len ? ERR_FORMAT : ERR_OK;
}

static enum err read_page(const redisReply *reply, struct shelf *shelf,
                          uint64_t *total)
{
    struct sched_walk walk = sched_walk_over(reply);
    size_t n = 0;
    enum err err = ERR_OK;

    *total = sched_walk_u64(&walk);
    if (walk.bad)
        return ERR_FORMAT;
    if (!shelf_new(shelf, reply))
        return ERR_BUSY;
    // behind the lines stand the choices of those that have several
    for (size_t at = reply->elements - 1; !err && sched_walk_has(&walk, 1); n++)
        err = line_read(sched_walk_bytes(&walk), shelf, n, &at);
    return err ? err : walk.bad ? ERR_FORMAT : ERR_OK;
}

static void on_page(enum err err, const redisReply *reply, void *ctx)
{
    struct page *page = ctx;
    struct shelf shelf = {0};
    uint64_t total = 0, next = page->after;
    size_t n = 0;

    if (!err && sched_reply_is(reply, "none"))
        err = ERR_NOT_FOUND;
    if (!err && sched_reply_is(reply, "gone"))
        err = ERR_GONE;
    if (!err)
        err = read_page(reply, &shelf, &total);
    if (!err) {
        n = reply->elements - 1;
        next += n;
    }
    page->fn(err, err ? NULL : shelf.results, n, err ? 0 : next,
             !err && next < total, page->ctx);
    free(shelf.results);
    free(shelf.tokens);
    free(shelf.names);
    free(page);
}

enum err sched_batch_results(struct sched_store *store, const char *id,
                             const char *key, uint64_t after, uint32_t limit,
                             sched_results_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct page *page;
    enum err err;

    if (!sched_text_fits(id, 1, SCHED_ID_MAX) || !limit ||
        limit > SCHED_RESULTS_MAX || after > UINT32_MAX)
        return ERR_RANGE;
    page = malloc(sizeof *page);
    if (!page)
        return ERR_NOMEM;
    *page = (struct page){fn, ctx, after};
    sched_args_text(&args, id);
    sched_args_text(&args, key ? key : "");
    sched_args_u64(&args, after);
    sched_args_u64(&args, limit);
    err = sched_link_call(store->link, "batch_results", &args, on_page, page);
    if (err)
        free(page);
    return err;
}
