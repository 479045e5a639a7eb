#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/batch_body.h"
#include "api/batches.h"
#include "api/fields.h"
#include "api/files.h"
#include "api/keys.h"
#include "api/reply.h"
#include "api/secret.h"
#include "api/server.h"
#include "api/webhook.h"

enum {
    METADATA_PAIRS_MAX = 16,
    METADATA_KEY_MAX = 64,
    METADATA_VALUE_MAX = 512,
};

#define STORED_MAX (UINT64_C(8) << 30) // bytes kept for one API key

// A batch on its way in.
struct upload {
    char id[API_ID_MAX + 1];
    char key[SCHED_ID_MAX + 1];
    char secret[API_WEBHOOK_SECRET_MAX + 1]; // made here, told once
    struct api_file file;
    struct api_batch_body body;
};

static void upload_free(void *ctx)
{
    struct upload *up = ctx;

    api_file_release(&up->file);
    free(up);
}

static enum err on_lines(void *ctx, const char *buf, size_t len)
{
    struct upload *up = ctx;

    return api_file_write(&up->file, buf, len);
}

static void body_refuse(struct api_request *req, enum err err)
{
    const struct upload *up = req->ctx;

    if (err == ERR_FORMAT || err == ERR_TRUNCATED)
        api_reply_error(req, 400, NULL, "invalid_json",
                        "the body is not valid JSON: %s", up->body.why);
    else if (err == ERR_FULL)
        api_reply_error(req, 400, "requests", "too_many_requests",
                        "%s: send several batches", up->body.why);
    else
        api_reply_err(req, err);
}

static void on_key(struct api_request *req, const char *key)
{
    struct upload *up = calloc(1, sizeof *up);
    char name[API_FILE_NAME_MAX + 1];
    enum err err;

    if (!up) {
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    up->file.fd = -1;
    req->ctx = up;
    req->ctx_free = upload_free;
    snprintf(up->key, sizeof up->key, "%s", key);
    api_batch_body_init(&up->body, on_lines, up);
    err = api_secret_id("batch_", up->id);
    if (!err) {
        snprintf(name, sizeof name, "%s.in.jsonl", up->id);
        err = api_file_create(req->server->files_fd, name, &up->file);
    }
    if (err)
        api_reply_err(req, err);
    else
        api_request_go_on(req);
}

static void begin(struct api_request *req)
{
    api_request_hold_body(req);
    api_key_find(req, on_key);
}

static void chunk(struct api_request *req, const uint8_t *buf, size_t len)
{
    struct upload *up = req->ctx;
    enum err err = api_batch_body_put(&up->body, (const char *)buf, len);

    if (err)
        body_refuse(req, err);
}

const struct api_sink api_batch_sink = {begin, chunk};

// ---- the head ----

static const struct api_model *model_read(struct api_fields *f,
                                          const struct api_models *models)
{
    const char *name = api_fields_text(f, "model", models->n > 1, 256, NULL);
    const struct api_model *m;

    if (f->wrong)
        return NULL;
    m = name ? api_models_find(models, name) : &models->items[0];
    if (!m)
        api_fields_wrong(f, "model",
                         "this server has no model %.64s; GET "
                         "/v1/models lists those it has",
                         name);
    return m;
}

static void callback_read(struct api_fields *f, const struct api_options *opt,
                          struct upload *up, struct sched_batch_new *batch)
{
    const char *why;

    batch->callback_url =
        api_fields_text(f, "callback_url", false, API_WEBHOOK_URL_MAX, "");
    batch->callback_secret = api_fields_text(f, "callback_secret", false,
                                             API_WEBHOOK_SECRET_MAX, "");
    if (f->wrong)
        return;
    if (!*batch->callback_url) {
        if (*batch->callback_secret)
            api_fields_wrong(f, "callback_secret",
                             "callback_secret is of no use without "
                             "callback_url");
        return;
    }
    why = api_webhook_url_check(batch->callback_url,
                                opt->allow_private_callbacks);
    if (why)
        api_fields_wrong(f, "callback_url", "callback_url %s", why);
    if (*batch->callback_secret &&
        !api_webhook_secret_ok(batch->callback_secret))
        api_fields_wrong(f, "callback_secret",
                         "callback_secret must be whsec_ and the base64 of %d "
                         "to %d bytes",
                         API_WEBHOOK_KEY_MIN, API_WEBHOOK_KEY_MAX);
    if (!f->wrong && !*batch->callback_secret &&
        api_webhook_secret_make(up->secret) == ERR_OK)
        batch->callback_secret = up->secret;
}

// Up to 16 texts by name. The result is the caller's to free; NULL: none.
static char *metadata_read(struct api_fields *f)
{
    const json_t *v = api_fields_get(f, "metadata");
    const char *key;
    json_t *item;

    if (!v)
        return NULL;
    if (!json_is_object(v) || json_object_size(v) > METADATA_PAIRS_MAX) {
        api_fields_wrong(f, "metadata",
                         "metadata must be an object of up to %d texts",
                         METADATA_PAIRS_MAX);
        return NULL;
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        if (strlen(key) > METADATA_KEY_MAX || !json_is_string(item) ||
            json_string_length(item) > METADATA_VALUE_MAX)
            api_fields_wrong(f, "metadata",
                             "metadata takes texts of up to %d bytes under "
                             "names of up to %d",
                             METADATA_VALUE_MAX, METADATA_KEY_MAX);
    }
    return f->wrong ? NULL : json_dumps(v, JSON_COMPACT);
}

// What other clients send along and what has only one value here.
static void fixed_read(struct api_fields *f)
{
    static const char *const known[] = {
        "model",    "requests", "callback_url",      "callback_secret",
        "metadata", "endpoint", "completion_window", "redundancy",
        NULL};
    const char *text;

    api_fields_only(f, known);
    text = api_fields_text(f, "endpoint", false, 64, "/v1/completions");
    if (!f->wrong && strcmp(text, "/v1/completions") != 0)
        api_fields_wrong(f, "endpoint", "endpoint must be /v1/completions");
    text = api_fields_text(f, "completion_window", false, 64, "24h");
    if (!f->wrong && strcmp(text, "24h") != 0)
        api_fields_wrong(f, "completion_window",
                         "completion_window must be 24h");
}

static void requests_check(struct api_fields *f, const struct upload *up)
{
    const json_t *v = api_fields_get(f, "requests");

    if (f->wrong)
        return;
    if (!v)
        api_fields_wrong(f, "requests", "requests is missing");
    else if (!json_is_array(v) || json_array_size(v) > 0)
        api_fields_wrong(f, "requests", "requests must be a list");
    else if (up->body.n_lines == 0)
        api_fields_wrong(f, "requests", "requests must not be empty");
}

// ---- making it ----

static void on_made(enum err err, const struct sched_batch *batch, void *ctx)
{
    struct api_request *req = ctx;
    const struct upload *up = req->ctx;
    json_t *object = err ? NULL : api_batch_json(batch);

    if (err) {
        api_reply_err(req, err);
        return;
    }
    if (object && up->secret[0])
        json_object_set_new(object, "callback_secret", json_string(up->secret));
    api_reply_json(req, 200, object);
}

static void on_created(enum err err, void *ctx)
{
    struct api_request *req = ctx;
    const struct upload *up = req->ctx;

    if (err == ERR_FULL || err == ERR_BUSY) // for certain it was not made
        unlinkat(req->server->files_fd, up->file.name, 0);
    if (err == ERR_FULL) {
        api_reply_error(req, 429, NULL, "storage_full",
                        "the files of this key's batches have reached the "
                        "limit: wait until older ones expire");
        return;
    }
    if (!err)
        err =
            sched_batch_get(req->server->store, up->id, up->key, on_made, req);
    if (err)
        api_reply_err(req, err);
}

static void create(struct api_request *req, struct sched_batch_new *batch,
                   const char *metadata)
{
    struct upload *up = req->ctx;
    enum err err = api_file_finish(&up->file);

    if (err) {
        api_reply_error(req, 503, NULL, "storage_error",
                        "the request file cannot be written, try again");
        return;
    }
    batch->id = up->id;
    batch->key = up->key;
    batch->input_file = up->file.name;
    batch->input_bytes = up->file.n_bytes;
    batch->n_lines = up->body.n_lines;
    batch->stored_max = STORED_MAX;
    if (metadata)
        batch->metadata =
            (struct bytes){(const uint8_t *)metadata, strlen(metadata)};
    err = sched_batch_create(req->server->store, batch, on_created, req);
    if (err) {
        unlinkat(req->server->files_fd, up->file.name, 0);
        api_reply_err(req, err);
    }
}

void api_batch_create(struct api_request *req)
{
    struct upload *up = req->ctx;
    struct sched_batch_new batch = {0};
    const struct api_model *model;
    struct api_fields f;
    json_error_t error;
    json_t *head = NULL;
    char *metadata = NULL;
    enum err err = api_batch_body_finish(&up->body);

    if (err) {
        body_refuse(req, err);
        return;
    }
    head = json_loadb(up->body.head, up->body.head_len, JSON_REJECT_DUPLICATES,
                      &error);
    if (!head) {
        api_reply_error(req, 400, NULL, "invalid_json",
                        "the body is not valid JSON: %s", error.text);
        return;
    }
    api_fields_init(&f, head);
    fixed_read(&f);
    requests_check(&f, up);
    model = model_read(&f, &req->server->models);
    callback_read(&f, &req->server->options, up, &batch);
    metadata = metadata_read(&f);
    batch.redundancy = (uint32_t)api_fields_int(&f, "redundancy", false, 1,
                                                SCHED_REDUNDANCY_MAX, 1);
    if (f.wrong || !model) {
        api_reply_error(req, 400, f.param,
                        strcmp(f.param, "model") ? "invalid_field"
                                                 : "model_not_found",
                        "%s", f.message);
    } else {
        batch.model = model->manifest.name;
        create(req, &batch, metadata);
    }
    free(metadata);
    json_decref(head);
}
