#include "api/callback_routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/batches.h"
#include "api/clock.h"
#include "api/fields.h"
#include "api/keys.h"
#include "api/reply.h"
#include "api/server.h"
#include "api/webhook.h"
#include "scheduler/callback.h"

enum {
    LOG_DEFAULT = 100,
    OLD_VALID_S = 86400,
    OLD_VALID_MAX_S = 7 * 86400,
};

// A request on its way.
struct change {
    uint64_t limit;
    char event[SCHED_ID_MAX + 1];
    char secret[API_WEBHOOK_SECRET_MAX + 1];
    bool made; // the secret was drawn here
    int64_t old_s;
};

static void refuse(struct api_request *req, enum err err)
{
    if (err == ERR_FULL)
        api_reply_error(req, 400, "batch_id", "no_callback",
                        "batch %s has no callback_url", req->args[0]);
    else if (err == ERR_GONE)
        api_reply_error(req, 404, "event_id", "event_not_found",
                        "batch %s has no such event to deliver", req->args[0]);
    else
        api_batch_refuse(req, err);
}

// Keep what was asked while the key is looked up.
static void go(struct api_request *req, const struct change *change,
               void (*fn)(struct api_request *req, const char *key))
{
    req->ctx = malloc(sizeof *change);
    if (!req->ctx) {
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    memcpy(req->ctx, change, sizeof *change);
    req->ctx_free = free;
    api_key_find(req, fn);
}

// The body, an object, if there is one. False: it was answered.
static bool body_read(struct api_request *req, const char *const *known,
                      json_t **value, struct api_fields *f)
{
    *value = req->body_len ? api_request_json(req) : json_object();
    if (!*value) {
        if (!req->body_len)
            api_reply_err(req, ERR_NOMEM);
        return false;
    }
    api_fields_init(f, *value);
    api_fields_only(f, known);
    return true;
}

static bool fields_ok(struct api_request *req, const struct api_fields *f)
{
    if (f->wrong)
        api_reply_error(req, 400, f->param, "invalid_field", "%s", f->message);
    return !f->wrong;
}

// ---- the log ----

static json_t *entry_json(const struct sched_callback_entry *e)
{
    return json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:o, s:I, s:o, s:o}", "object",
        "callback.attempt", "event_id", e->id, "type", e->type, "attempt",
        (json_int_t)e->attempt, "at", (json_int_t)(e->at_ms / 1000), "status",
        e->status ? json_integer(e->status) : json_null(), "duration_ms",
        (json_int_t)e->took_ms, "error",
        *e->why ? json_string(e->why) : json_null(), "next_attempt_at",
        e->retry_at_ms ? json_integer(e->retry_at_ms / 1000) : json_null());
}

static void on_log(enum err err, const struct sched_callback_entry *entries,
                   size_t n, void *ctx)
{
    json_t *data;

    if (err) {
        refuse(ctx, err);
        return;
    }
    data = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(data, entry_json(&entries[i]));
    api_reply_json(ctx, 200,
                   json_pack("{s:s, s:o}", "object", "list", "data", data));
}

static void log_get(struct api_request *req, const char *key)
{
    const struct change *change = req->ctx;
    enum err err = sched_callback_log(req->server->store, req->args[0], key,
                                      (uint32_t)change->limit, on_log, req);

    if (err)
        refuse(req, err);
}

void api_callback_log(struct api_request *req)
{
    struct change change = {0};

    if (api_request_query_u64(req, "limit", 1, SCHED_CALLBACK_LOG_MAX,
                              LOG_DEFAULT, &change.limit))
        go(req, &change, log_get);
}

// ---- once more ----

static void on_again(enum err err, void *ctx)
{
    struct api_request *req = ctx;

    if (err)
        refuse(req, err);
    else
        api_reply_json(req, 202,
                       json_pack("{s:s, s:s}", "object", "callback.redelivery",
                                 "batch_id", req->args[0]));
}

static void again(struct api_request *req, const char *key)
{
    const struct change *change = req->ctx;
    enum err err = sched_callback_again(req->server->store, req->args[0], key,
                                        change->event, on_again, req);

    if (err)
        refuse(req, err);
}

void api_callback_redeliver(struct api_request *req)
{
    static const char *const known[] = {"event_id", NULL};
    struct change change = {0};
    struct api_fields f;
    json_t *value;

    if (!body_read(req, known, &value, &f))
        return;
    snprintf(change.event, sizeof change.event, "%s",
             api_fields_text(&f, "event_id", false, SCHED_ID_MAX, ""));
    if (fields_ok(req, &f))
        go(req, &change, again);
    json_decref(value);
}

// ---- another secret ----

static void on_rotated(enum err err, void *ctx)
{
    struct api_request *req = ctx;
    const struct change *change = req->ctx;
    json_t *answer;

    if (err) {
        refuse(req, err);
        return;
    }
    answer =
        json_pack("{s:s, s:s, s:I}", "object", "callback.secret", "batch_id",
                  req->args[0], "old_valid_until",
                  (json_int_t)(api_clock_unix_ms() / 1000 + change->old_s));
    if (answer && change->made)
        json_object_set_new(answer, "callback_secret",
                            json_string(change->secret));
    api_reply_json(req, 200, answer);
}

static void rotate(struct api_request *req, const char *key)
{
    const struct change *change = req->ctx;
    enum err err = sched_callback_secret(req->server->store, req->args[0], key,
                                         change->secret, change->old_s * 1000,
                                         on_rotated, req);

    if (err)
        refuse(req, err);
}

void api_callback_rotate(struct api_request *req)
{
    static const char *const known[] = {"callback_secret", "old_valid_seconds",
                                        NULL};
    struct change change = {0};
    struct api_fields f;
    const char *secret;
    json_t *value;

    if (!body_read(req, known, &value, &f))
        return;
    secret = api_fields_text(&f, "callback_secret", false,
                             API_WEBHOOK_SECRET_MAX, NULL);
    change.old_s = api_fields_int(&f, "old_valid_seconds", false, 0,
                                  OLD_VALID_MAX_S, OLD_VALID_S);
    if (secret && !api_webhook_secret_ok(secret))
        api_fields_wrong(&f, "callback_secret", "callback_secret %s",
                         API_WEBHOOK_SECRET_SHAPE);
    change.made = !secret;
    if (fields_ok(req, &f)) {
        if (secret)
            snprintf(change.secret, sizeof change.secret, "%s", secret);
        if (!secret && api_webhook_secret_make(change.secret))
            api_reply_err(req, ERR_IO);
        else
            go(req, &change, rotate);
    }
    json_decref(value);
}
