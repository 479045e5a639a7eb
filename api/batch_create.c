#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/batch_body.h"
#include "api/batch_line.h"
#include "api/batches.h"
#include "api/callback_kinds.h"
#include "api/fields.h"
#include "api/files.h"
#include "api/keys.h"
#include "api/quota.h"
#include "api/reply.h"
#include "api/secret.h"
#include "api/server.h"
#include "api/webhook.h"
#include "scheduler/file.h"

enum {
    METADATA_PAIRS_MAX = 16,
    METADATA_KEY_MAX = 64,
    METADATA_VALUE_MAX = 512,
};

#define WINDOW_MIN_MS (INT64_C(3600) * 1000)
#define WINDOW_MAX_MS (INT64_C(7) * 86400 * 1000)

// A batch on its way in.
struct upload {
    char id[API_ID_MAX + 1];
    char key[SCHED_ID_MAX + 1];
    char secret[API_WEBHOOK_SECRET_MAX + 1]; // made here, told once
    char endpoint[API_WEBHOOK_ENDPOINT_MAX + 1];
    char kinds[API_CALLBACK_KINDS_MAX + 1];
    struct api_file file;
    struct api_batch_body body;
    json_t *head; // what batch points into
    char *metadata;
    struct sched_batch_new batch;
    char input[SCHED_FILE_NAME_MAX + 1]; // the input file's name in --files
    char input_id[SCHED_ID_MAX + 1];     // and the id of its record
};

static void upload_free(void *ctx)
{
    struct upload *up = ctx;

    api_file_release(&up->file);
    json_decref(up->head);
    free(up->metadata);
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
    if (!api_request_is_open(req)) { // nobody is there to read it from
        api_reply_err(req, ERR_IO);
        return;
    }
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

// The model of inline requests; "" where the lines of a file name theirs.
static const char *model_read(struct api_fields *f, bool of_file,
                              const struct api_models *models)
{
    const char *name =
        api_fields_text(f, "model", !of_file && models->n > 1, 256, NULL);
    const struct api_model *m;
    char names[160];

    if (f->wrong || (of_file && !name))
        return "";
    m = name ? api_models_find(models, name) : &models->items[0];
    api_models_names(models, names, sizeof names);
    if (!m)
        api_fields_wrong(f, "model",
                         "this server has no model %.64s; it has %s", name,
                         names);
    return m ? m->manifest.name : "";
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
        if (api_fields_get(f, "callback_events"))
            api_fields_wrong(f, "callback_events",
                             "callback_events is of no use without "
                             "callback_url");
        return;
    }
    api_callback_kinds_read(f, up->kinds);
    batch->callback_kinds = up->kinds;
    api_webhook_endpoint(batch->callback_url, up->endpoint);
    batch->callback_endpoint = up->endpoint;
    why = api_webhook_url_check(batch->callback_url,
                                opt->allow_private_callbacks);
    if (why)
        api_fields_wrong(f, "callback_url", "callback_url %s", why);
    if (*batch->callback_secret &&
        !api_webhook_secret_ok(batch->callback_secret))
        api_fields_wrong(f, "callback_secret", "callback_secret %s",
                         API_WEBHOOK_SECRET_SHAPE);
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

// "24h" or "7d", from an hour to a week, in ms.
static int64_t window_read(struct api_fields *f)
{
    const char *text = api_fields_text(f, "completion_window", false, 8, "24h");
    int64_t n = 0, unit;
    size_t len = strlen(text);

    for (size_t i = 0; i + 1 < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            n = 0;
            break;
        }
        n = n * 10 + (text[i] - '0');
    }
    unit = len && text[len - 1] == 'd' ? 24 : 1;
    n *= unit * 3600 * 1000;
    if (!len || !strchr("hd", text[len - 1]) || n < WINDOW_MIN_MS ||
        n > WINDOW_MAX_MS)
        api_fields_wrong(f, "completion_window",
                         "completion_window must be between 1h and 7d");
    return n;
}

static void common_read(struct api_fields *f, bool of_file,
                        struct sched_batch_new *batch)
{
    static const char *const known[] = {
        "model",      "requests", "input_file_id",     "callback_url",
        "metadata",   "endpoint", "completion_window", "callback_secret",
        "redundancy", "receipts", "callback_events",   "exact",
        NULL};

    api_fields_only(f, known);
    batch->endpoint =
        api_fields_text(f, "endpoint", of_file, 64, API_ENDPOINT_TEXT);
    if (!f->wrong && strcmp(batch->endpoint, API_ENDPOINT_TEXT) != 0 &&
        strcmp(batch->endpoint, API_ENDPOINT_CHAT) != 0)
        api_fields_wrong(f, "endpoint", "endpoint must be %s or %s",
                         API_ENDPOINT_TEXT, API_ENDPOINT_CHAT);
    batch->window_ms = window_read(f);
}

// Either requests or the id of a file with them.
static void requests_check(struct api_fields *f, struct upload *up)
{
    const json_t *v = api_fields_get(f, "requests");
    const char *id =
        api_fields_text(f, "input_file_id", false, SCHED_ID_MAX, "");

    snprintf(up->input_id, sizeof up->input_id, "%s", id);
    if (f->wrong)
        return;
    if (*id && v)
        api_fields_wrong(f, "input_file_id",
                         "send either input_file_id or requests");
    else if (*id)
        return;
    else if (api_fields_get(f, "input_file_id"))
        api_fields_wrong(f, "input_file_id", "input_file_id must not be empty");
    else if (!v)
        api_fields_wrong(f, "input_file_id",
                         "send input_file_id, a file's, or requests");
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

    // for certain it was not made
    if ((err == ERR_FULL || err == ERR_BUSY) && up->batch.input_bytes)
        unlinkat(req->server->files_fd, up->file.name, 0);
    if (err == ERR_FULL) {
        api_quota_refuse(req, up->key, up->batch.n_lines,
                         up->batch.input_bytes);
        return;
    }
    if (!err)
        err =
            sched_batch_get(req->server->store, up->id, up->key, on_made, req);
    if (err)
        api_reply_err(req, err);
}

static void create(struct api_request *req)
{
    struct upload *up = req->ctx;
    enum err err;

    up->batch.id = up->id;
    up->batch.key = up->key;
    up->batch.input_file = up->input;
    up->batch.input_id = up->input_id;
    up->batch.stored_max = API_STORED_MAX;
    if (up->metadata)
        up->batch.metadata =
            (struct bytes){(const uint8_t *)up->metadata, strlen(up->metadata)};
    err = sched_batch_create(req->server->store, &up->batch, on_created, req);
    if (err) {
        if (up->batch.input_bytes)
            unlinkat(req->server->files_fd, up->file.name, 0);
        api_reply_err(req, err);
    }
}

static void on_input(enum err err, const struct sched_file *file, void *ctx)
{
    struct api_request *req = ctx;
    struct upload *up = req->ctx;

    if (err == ERR_NOT_FOUND) {
        api_reply_error(req, 400, "input_file_id", "file_not_found",
                        "this key has no file %s", up->input_id);
    } else if (err) {
        api_reply_err(req, err);
    } else if (strcmp(file->purpose, "batch") != 0) {
        api_reply_error(req, 400, "input_file_id", "invalid_field",
                        "the purpose of this file is %s, not batch",
                        file->purpose);
    } else {
        snprintf(up->input, sizeof up->input, "%s", file->path);
        up->batch.n_lines = file->lines;
        create(req);
    }
}

static void create_from_file(struct api_request *req)
{
    struct upload *up = req->ctx;
    enum err err;

    api_file_release(&up->file); // no requests came
    err = sched_file_get(req->server->store, up->input_id, up->key, on_input,
                         req);
    if (err)
        api_reply_err(req, err);
}

// The requests that came become the input file.
static void create_inline(struct api_request *req)
{
    struct upload *up = req->ctx;

    if (api_file_finish(&up->file)) {
        api_reply_error(req, 503, NULL, "storage_error",
                        "the request file cannot be written, try again");
        return;
    }
    snprintf(up->input, sizeof up->input, "%s", up->file.name);
    snprintf(up->input_id, sizeof up->input_id, "file-in-%.48s",
             up->id + strlen("batch_"));
    up->batch.input_bytes = up->file.n_bytes;
    up->batch.n_lines = up->body.n_lines;
    create(req);
}

void api_batch_create(struct api_request *req)
{
    struct upload *up = req->ctx;
    struct api_fields f;
    json_error_t error;
    bool of_file;
    enum err err = api_batch_body_finish(&up->body);

    if (err) {
        body_refuse(req, err);
        return;
    }
    up->head = json_loadb(up->body.head, up->body.head_len,
                          JSON_REJECT_DUPLICATES, &error);
    if (!up->head) {
        api_reply_error(req, 400, NULL, "invalid_json",
                        "the body is not valid JSON: %s", error.text);
        return;
    }
    api_fields_init(&f, up->head);
    requests_check(&f, up);
    of_file = *up->input_id;
    common_read(&f, of_file, &up->batch);
    up->batch.model = model_read(&f, of_file, &req->server->models);
    callback_read(&f, &req->server->options, up, &up->batch);
    up->metadata = metadata_read(&f);
    up->batch.redundancy = (uint32_t)api_fields_int(&f, "redundancy", false, 1,
                                                    SCHED_REDUNDANCY_MAX, 1);
    up->batch.receipts = api_fields_bool(&f, "receipts", false);
    up->batch.near = !api_fields_bool(&f, "exact", true);
    if (f.wrong)
        api_reply_error(req, 400, f.param,
                        strcmp(f.param, "model") ? "invalid_field"
                                                 : "model_not_found",
                        "%s", f.message);
    else if (of_file)
        create_from_file(req);
    else
        create_inline(req);
}
