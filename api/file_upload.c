#include "api/file_upload.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/batch_body.h"
#include "api/file_routes.h"
#include "api/files.h"
#include "api/keys.h"
#include "api/query.h"
#include "api/quota.h"
#include "api/reply.h"
#include "api/secret.h"
#include "api/server.h"
#include "scheduler/file.h"

enum {
    POST_BUFFER = 32 << 10, // a form part's headers must fit
    FIELD_MAX = 64,
    KEEP_S_MIN = 3600,
    KEEP_S_MAX = 30 * 86400,
};

// A file on its way in.
struct upload {
    char id[API_ID_MAX + 1];
    char key[SCHED_ID_MAX + 1];
    struct api_request *req;
    struct MHD_PostProcessor *post;
    struct api_file file;
    char name[SCHED_FILE_NAME_MAX + 1];
    char purpose[FIELD_MAX + 1];
    char anchor[FIELD_MAX + 1];
    char seconds[FIELD_MAX + 1];
    bool has_file;
    bool in_line; // the present line is not blank
    uint64_t n_lines;
};

static void upload_free(void *ctx)
{
    struct upload *up = ctx;

    if (up->post)
        MHD_destroy_post_processor(up->post);
    api_file_release(&up->file);
    free(up);
}

// ---- the parts of the form ----

static bool field_put(struct upload *up, const char *name, char *out,
                      const char *buf, uint64_t at, size_t len)
{
    if (at + len > FIELD_MAX) {
        api_reply_error(up->req, 400, name, "invalid_field",
                        "%s is over %d bytes long", name, FIELD_MAX);
        return false;
    }
    memcpy(out + at, buf, len);
    out[at + len] = '\0';
    return true;
}

// Count the lines that are not blank.
static void lines_count(struct upload *up, const char *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (buf[i] == '\n') {
            up->in_line = false;
        } else if (!up->in_line && buf[i] != ' ' && buf[i] != '\t' &&
                   buf[i] != '\r') {
            up->in_line = true;
            up->n_lines++;
        }
    }
}

static bool file_begin(struct upload *up, const char *filename)
{
    // A part's beginning may be told twice while none of its bytes is there.
    if (up->has_file && up->file.n_bytes == 0)
        return true;
    if (up->has_file) {
        api_reply_error(up->req, 400, "file", "invalid_field",
                        "send one file in a request");
        return false;
    }
    up->has_file = true;
    if (!filename || !*filename)
        filename = "upload.jsonl";
    if (strlen(filename) > SCHED_FILE_NAME_MAX ||
        api_query_name_len(filename) < 0) {
        api_reply_error(up->req, 400, "file", "invalid_field",
                        "the file's name must be UTF-8 of up to %d bytes",
                        SCHED_FILE_NAME_MAX);
        return false;
    }
    snprintf(up->name, sizeof up->name, "%s", filename);
    return true;
}

static bool file_put(struct upload *up, const char *buf, size_t len)
{
    enum err err;

    if (up->file.n_bytes + len > API_UPLOAD_MAX) {
        api_reply_error(up->req, 413, "file", "file_too_large",
                        "a file may have %d MB", API_UPLOAD_MAX >> 20);
        return false;
    }
    lines_count(up, buf, len);
    if (up->n_lines > API_BATCH_LINES_MAX) {
        api_reply_error(up->req, 400, "file", "too_many_requests",
                        "a batch file may have %d lines: send several",
                        API_BATCH_LINES_MAX);
        return false;
    }
    err = api_file_write(&up->file, buf, len);
    if (err)
        api_reply_error(up->req, 503, NULL, "storage_error",
                        "the file cannot be written, try again");
    return err == ERR_OK;
}

static enum MHD_Result on_part(void *ctx, enum MHD_ValueKind kind,
                               const char *key, const char *filename,
                               const char *type, const char *coding,
                               const char *buf, uint64_t at, size_t len)
{
    struct upload *up = ctx;
    bool ok;

    (void)kind, (void)type, (void)coding;
    if (!key || api_request_is_answered(up->req))
        return MHD_NO;
    if (strcmp(key, "file") == 0) {
        ok = (at > 0 || file_begin(up, filename)) && file_put(up, buf, len);
    } else if (strcmp(key, "purpose") == 0) {
        ok = field_put(up, key, up->purpose, buf, at, len);
    } else if (strcmp(key, "expires_after[anchor]") == 0) {
        ok = field_put(up, key, up->anchor, buf, at, len);
    } else if (strcmp(key, "expires_after[seconds]") == 0) {
        ok = field_put(up, key, up->seconds, buf, at, len);
    } else {
        api_reply_error(up->req, 400, key, "invalid_field",
                        "%.64s is not known here", key);
        ok = false;
    }
    return ok ? MHD_YES : MHD_NO;
}

// ---- its way in ----

static void form_refuse(struct api_request *req)
{
    api_reply_error(req, 400, NULL, "invalid_form",
                    "send a multipart/form-data body with purpose and file");
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
    up->req = req;
    req->ctx = up;
    req->ctx_free = upload_free;
    snprintf(up->key, sizeof up->key, "%s", key);
    if (!api_request_is_open(req)) { // nobody is there to read it from
        api_reply_err(req, ERR_IO);
        return;
    }
    up->post = MHD_create_post_processor(req->conn, POST_BUFFER, on_part, up);
    if (!up->post) {
        form_refuse(req);
        return;
    }
    err = api_secret_id("file-", up->id);
    if (!err) {
        snprintf(name, sizeof name, "%s.jsonl", up->id);
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

    if (MHD_post_process(up->post, (const char *)buf, len) != MHD_YES &&
        !api_request_is_answered(req))
        form_refuse(req);
}

const struct api_sink api_file_sink = {begin, chunk};

static void on_record(enum err err, const struct sched_file *file, void *ctx)
{
    if (err)
        api_reply_err(ctx, err);
    else
        api_reply_json(ctx, 200, api_file_json(file));
}

static void on_created(enum err err, void *ctx)
{
    struct api_request *req = ctx;
    const struct upload *up = req->ctx;

    if (err == ERR_FULL || err == ERR_BUSY) // for certain it was not made
        unlinkat(req->server->files_fd, up->file.name, 0);
    if (err == ERR_FULL) {
        api_quota_refuse(req, up->key, 0, up->file.n_bytes);
        return;
    }
    if (!err)
        err =
            sched_file_get(req->server->store, up->id, up->key, on_record, req);
    if (err)
        api_reply_err(req, err);
}

// The fields beside the file. False if one is wrong, and then the request has
// been answered.
static bool fields_check(struct api_request *req, int64_t *keep_ms)
{
    const struct upload *up = req->ctx;
    uint64_t seconds = 0;

    if (strcmp(up->purpose, "batch") != 0) {
        api_reply_error(req, 400, "purpose", "invalid_field",
                        "purpose must be batch");
        return false;
    }
    if (!up->has_file) {
        api_reply_error(req, 400, "file", "invalid_field", "file is missing");
        return false;
    }
    if (*up->anchor && strcmp(up->anchor, "created_at") != 0) {
        api_reply_error(req, 400, "expires_after[anchor]", "invalid_field",
                        "the anchor must be created_at");
        return false;
    }
    if (*up->seconds && (!api_query_number(up->seconds, &seconds) ||
                         seconds < KEEP_S_MIN || seconds > KEEP_S_MAX)) {
        api_reply_error(req, 400, "expires_after[seconds]", "invalid_field",
                        "a file may be kept for %d to %d seconds", KEEP_S_MIN,
                        KEEP_S_MAX);
        return false;
    }
    *keep_ms = (int64_t)seconds * 1000;
    return true;
}

void api_file_create_done(struct api_request *req)
{
    struct upload *up = req->ctx;
    struct sched_file_new file = {.stored_max = API_STORED_MAX};
    enum MHD_Result whole = MHD_destroy_post_processor(up->post);
    enum err err;

    up->post = NULL;
    if (whole != MHD_YES) {
        form_refuse(req);
        return;
    }
    if (!fields_check(req, &file.keep_ms))
        return;
    err = api_file_finish(&up->file);
    if (err) {
        api_reply_error(req, 503, NULL, "storage_error",
                        "the file cannot be written, try again");
        return;
    }
    file.id = up->id;
    file.key = up->key;
    file.path = up->file.name;
    file.name = up->name;
    file.purpose = up->purpose;
    file.bytes = up->file.n_bytes;
    file.lines = up->n_lines;
    err = sched_file_create(req->server->store, &file, on_created, req);
    if (err) {
        unlinkat(req->server->files_fd, up->file.name, 0);
        api_reply_err(req, err);
    }
}
