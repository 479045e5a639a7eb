#include "api/file_upload.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/file_form.h"
#include "api/file_routes.h"
#include "api/files.h"
#include "api/keys.h"
#include "api/quota.h"
#include "api/reply.h"
#include "api/secret.h"
#include "api/server.h"
#include "scheduler/file.h"

enum { POST_BUFFER = 32 << 10 }; // a form part's headers must fit

// A file on its way in.
struct upload {
    char id[API_ID_MAX + 1];
    char key[SCHED_ID_MAX + 1];
    struct api_request *req;
    struct MHD_PostProcessor *post;
    struct api_file file;
    struct api_file_form form;
};

static void upload_free(void *ctx)
{
    struct upload *up = ctx;

    if (up->post)
        MHD_destroy_post_processor(up->post);
    api_file_release(&up->file);
    free(up);
}

static enum err on_bytes(void *ctx, const char *buf, size_t len)
{
    struct upload *up = ctx;

    return api_file_write(&up->file, buf, len);
}

static void form_wrong(const struct upload *up)
{
    const struct api_file_form *f = &up->form;

    api_reply_error(up->req, f->status, *f->param ? f->param : NULL, f->code,
                    "%s", f->why);
}

static enum MHD_Result on_part(void *ctx, enum MHD_ValueKind kind,
                               const char *key, const char *filename,
                               const char *type, const char *coding,
                               const char *buf, uint64_t at, size_t len)
{
    struct upload *up = ctx;

    (void)kind, (void)type, (void)coding;
    if (!key || api_request_is_answered(up->req))
        return MHD_NO;
    if (api_file_form_part(&up->form, key, filename, buf, at, len))
        return MHD_YES;
    form_wrong(up);
    return MHD_NO;
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
    api_file_form_init(&up->form, on_bytes, up);
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
    if (!api_file_form_end(&up->form, &file.keep_ms)) {
        form_wrong(up);
        return;
    }
    err = api_file_finish(&up->file);
    if (err) {
        api_reply_error(req, 503, NULL, "storage_error",
                        "the file cannot be written, try again");
        return;
    }
    file.id = up->id;
    file.key = up->key;
    file.path = up->file.name;
    file.name = up->form.name;
    file.purpose = up->form.purpose;
    file.bytes = up->file.n_bytes;
    file.lines = up->form.n_lines;
    err = sched_file_create(req->server->store, &file, on_created, req);
    if (err) {
        unlinkat(req->server->files_fd, up->file.name, 0);
        api_reply_err(req, err);
    }
}
