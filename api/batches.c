#include "api/batches.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/callback_kinds.h"
#include "api/eta.h"
#include "api/keys.h"
#include "api/reply.h"
#include "api/server.h"

// ---- the object ----

static json_t *seconds(int64_t ms)
{
    return ms ? json_integer(ms / 1000) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *callback_json(const struct sched_batch *b)
{
    if (!*b->callback_url)
        return json_null();
    return json_pack(
        "{s:s, s:o, s:o, s:I, s:o}", "url", b->callback_url, "events",
        api_callback_kinds_json(b->callback_kinds), "delivered_at",
        seconds(b->callback_delivered_ms), "attempts",
        (json_int_t)b->callback_attempts, "last_status",
        b->callback_status ? json_integer(b->callback_status) : json_null());
}

static json_t *errors_json(const struct sched_batch *b)
{
    if (!*b->error_code)
        return json_null();
    return json_pack(
        "{s:s, s:[{s:s, s:s, s:n, s:o}]}", "object", "list", "data", "code",
        b->error_code, "message", b->error_text, "param", "line",
        b->error_line ? json_integer((json_int_t)b->error_line) : json_null());
}

static json_t *waiting_json(const char *why)
{
    if (strcmp(why, "volunteers") == 0)
        return json_string("no volunteer is there: open /contribute on some "
                           "device");
    if (strcmp(why, "checks") == 0)
        return json_string("no second volunteer and no referee is there to "
                           "check the answers");
    if (strncmp(why, "shard ", 6) == 0)
        return json_sprintf("%s has nobody: no volunteer that is there has the "
                            "memory for it",
                            why);
    return text_or_null(why);
}

// When it was over, if it ended like that.
static json_t *ended(const struct sched_batch *b, enum sched_batch_status how)
{
    return b->status == how ? seconds(b->completed_ms) : json_null();
}

static json_t *window_json(int64_t ms)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRId64 "h", ms / 3600000);
    return json_string(text);
}

// Of so many choices under way: as how many lines do they count?
static uint64_t lines_of(const struct sched_batch *b, uint64_t choices)
{
    uint64_t all = b->queued + b->running + b->checking;
    uint64_t open = b->ingested - b->completed - b->failed;

    return all > open ? choices * open / all : choices;
}

static json_t *eta_json(const struct sched_batch *b)
{
    const struct api_eta_state state = {
        .busy_ms = b->busy_ms,
        .total = b->total,
        .final = b->completed + b->failed,
        .checking = lines_of(b, b->checking),
        .running = lines_of(b, b->running),
        .recent_ms = b->recent_ms,
        .recent_final = b->recent_final,
    };
    struct api_eta eta;

    if (b->status != SCHED_IN_PROGRESS || *b->waiting ||
        !api_eta_of(&state, &eta))
        return json_null();
    return json_pack("{s:f, s:f}", "p50", floor(eta.p50_s * 10) / 10, "p90",
                     ceil(eta.p90_s * 10) / 10);
}

static json_t *times_json(const struct sched_batch *b)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "created_at",
        seconds(b->created_ms), "in_progress_at", seconds(b->in_progress_ms),
        "expires_at", seconds(b->expires_ms), "finalizing_at",
        seconds(b->finalizing_ms), "completed_at", ended(b, SCHED_COMPLETED),
        "failed_at", ended(b, SCHED_FAILED), "expired_at",
        ended(b, SCHED_EXPIRED), "cancelling_at", seconds(b->cancelling_ms),
        "cancelled_at", ended(b, SCHED_CANCELLED));
}

// Of the lines that are final; a prompt counts once, whatever its choices.
static json_t *usage_json(const struct sched_batch *b)
{
    return json_pack("{s:I, s:{s:i}, s:I, s:{s:i}, s:I}", "input_tokens",
                     (json_int_t)b->prompt_tokens, "input_tokens_details",
                     "cached_tokens", 0, "output_tokens", (json_int_t)b->tokens,
                     "output_tokens_details", "reasoning_tokens", 0,
                     "total_tokens",
                     (json_int_t)(b->prompt_tokens + b->tokens));
}

// What checks computed, beside the tokens that are confirmed.
static double check_overhead(const struct sched_batch *b)
{
    return b->tokens ? (double)b->recomputed_tokens / (double)b->tokens : 0;
}

static json_t *synapse_json(const struct sched_batch *b)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:I, s:f, s:o}", "queued",
        (json_int_t)b->queued, "running", (json_int_t)b->running, "checking",
        (json_int_t)b->checking, "confirmed", (json_int_t)b->completed,
        "tokens", (json_int_t)b->tokens, "redundancy",
        (json_int_t)b->redundancy, "receipts", b->receipts, "exact", !b->near,
        "checked_tokens", (json_int_t)b->checked_tokens, "check_overhead",
        check_overhead(b), "waiting_because", waiting_json(b->waiting));
}

json_t *api_batch_json(const struct sched_batch *b)
{
    static const char *const status[] = {
        "validating", "in_progress", "finalizing", "completed",
        "failed",     "cancelled",   "expired",    "cancelling"};
    json_t *metadata = NULL, *batch, *times;

    if (b->metadata.len > 0)
        metadata =
            json_loadb((const char *)b->metadata.ptr, b->metadata.len, 0, NULL);
    batch = json_pack(
        "{s:s, s:s, s:s, s:o, s:s, s:s, s:o, s:{s:I, s:I, s:I}, s:o, s:o, s:o, "
        "s:o, s:o, s:o, s:o}",
        "id", b->id, "object", "batch", "endpoint", b->endpoint, "model",
        text_or_null(b->model), "status", status[b->status], "input_file_id",
        b->input_id, "completion_window", window_json(b->window_ms),
        "request_counts", "total", (json_int_t)b->total, "completed",
        (json_int_t)b->completed, "failed", (json_int_t)b->failed,
        "output_file_id", text_or_null(b->output_id), "error_file_id",
        text_or_null(b->error_id), "callback", callback_json(b), "metadata",
        metadata ? metadata : json_null(), "errors", errors_json(b), "usage",
        usage_json(b), "synapse", synapse_json(b));
    times = times_json(b);
    if (!batch || !times || json_object_set_new(batch, "eta", eta_json(b)) ||
        json_object_update(batch, times)) {
        json_decref(batch);
        batch = NULL;
    }
    json_decref(times);
    return batch;
}

void api_batch_refuse(struct api_request *req, enum err err)
{
    if (err == ERR_NOT_FOUND)
        api_reply_error(req, 404, "batch_id", "batch_not_found",
                        "this key has no batch %s", req->args[0]);
    else if (err == ERR_RANGE)
        api_reply_error(req, 404, "batch_id", "batch_not_found",
                        "that is no batch id");
    else
        api_reply_err(req, err);
}

// ---- one ----

static void on_batch(enum err err, const struct sched_batch *batch, void *ctx)
{
    if (err)
        api_batch_refuse(ctx, err);
    else
        api_reply_json(ctx, 200, api_batch_json(batch));
}

static void get(struct api_request *req, const char *key)
{
    enum err err =
        sched_batch_get(req->server->store, req->args[0], key, on_batch, req);

    if (err)
        api_batch_refuse(req, err);
}

void api_batch_get(struct api_request *req)
{
    api_key_find(req, get);
}

// ---- cancelling ----

struct cancel {
    char key[SCHED_ID_MAX + 1];
};

static void on_cancelled(enum err err, void *ctx)
{
    struct api_request *req = ctx;
    const struct cancel *cancel = req->ctx;

    if (err == ERR_EXISTS)
        api_reply_error(req, 409, "batch_id", "batch_over",
                        "batch %s is over: there is nothing to cancel",
                        req->args[0]);
    else if (err)
        api_batch_refuse(req, err);
    else
        get(req, cancel->key);
}

static void cancel(struct api_request *req, const char *key)
{
    struct cancel *c = calloc(1, sizeof *c);
    enum err err;

    if (!c) {
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    snprintf(c->key, sizeof c->key, "%s", key);
    req->ctx = c;
    req->ctx_free = free;
    err = sched_batch_cancel(req->server->store, req->args[0], key,
                             on_cancelled, req);
    if (err)
        api_batch_refuse(req, err);
}

void api_batch_cancel(struct api_request *req)
{
    api_key_find(req, cancel);
}

// ---- many ----

static void on_batches(enum err err, const struct sched_batch *batches,
                       size_t n, bool more, void *ctx)
{
    struct api_request *req = ctx;
    json_t *data;

    if (err == ERR_NOT_FOUND || err == ERR_RANGE) {
        api_reply_error(req, 400, "after", "invalid_field",
                        "after must be the id of one of this key's batches");
        return;
    }
    if (err) {
        api_reply_err(req, err);
        return;
    }
    data = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(data, api_batch_json(&batches[i]));
    api_reply_json(req, 200,
                   json_pack("{s:s, s:o, s:s?, s:s?, s:b}", "object", "list",
                             "data", data, "first_id", n ? batches[0].id : NULL,
                             "last_id", n ? batches[n - 1].id : NULL,
                             "has_more", more));
}

static void list(struct api_request *req, const char *key)
{
    const char *after = api_request_query(req, "after");
    uint64_t limit;
    enum err err;

    if (!api_request_query_u64(req, "limit", 1, 100, 20, &limit))
        return;
    err = sched_batch_list(req->server->store, key, after ? after : "",
                           (uint32_t)limit, on_batches, req);
    if (err)
        on_batches(err, NULL, 0, false, req);
}

void api_batch_list(struct api_request *req)
{
    api_key_find(req, list);
}
