#include "api/file_routes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/keys.h"
#include "api/log.h"
#include "api/reply.h"
#include "api/server.h"

json_t *api_file_json(const struct sched_file *f)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:s, s:n}", "id",
                     f->id, "object", "file", "bytes", (json_int_t)f->bytes,
                     "created_at", (json_int_t)(f->created_ms / 1000),
                     "expires_at", (json_int_t)(f->expires_ms / 1000),
                     "filename", f->name, "purpose", f->purpose, "status",
                     "processed", "status_details");
}

static void refuse(struct api_request *req, enum err err)
{
    if (err == ERR_NOT_FOUND || err == ERR_RANGE)
        api_reply_error(req, 404, "file_id", "file_not_found",
                        "this key has no file %.80s", req->args[0]);
    else
        api_reply_err(req, err);
}

static void get_with(struct api_request *req, const char *key,
                     sched_file_fn *fn)
{
    enum err err =
        sched_file_get(req->server->store, req->args[0], key, fn, req);

    if (err)
        refuse(req, err);
}

// ---- one ----

static void on_get(enum err err, const struct sched_file *file, void *ctx)
{
    if (err)
        refuse(ctx, err);
    else
        api_reply_json(ctx, 200, api_file_json(file));
}

static void get(struct api_request *req, const char *key)
{
    get_with(req, key, on_get);
}

void api_file_get(struct api_request *req)
{
    api_key_find(req, get);
}

static void on_content(enum err err, const struct sched_file *file, void *ctx)
{
    struct api_request *req = ctx;
    struct api_reply_file reply = {.content_type = "application/jsonl"};
    struct stat st;

    if (err) {
        refuse(req, err);
        return;
    }
    reply.fd = openat(req->server->files_fd, file->path, O_RDONLY | O_CLOEXEC);
    if (reply.fd < 0 || fstat(reply.fd, &st)) {
        if (reply.fd >= 0)
            close(reply.fd);
        api_log(API_LOG_ERROR, "file", "file=%s error=missing", file->id);
        api_reply_error(req, 500, NULL, "file_missing",
                        "the bytes of this file cannot be read");
        return;
    }
    reply.size = (uint64_t)st.st_size;
    reply.etag = file->id;
    api_reply_file(req, &reply);
}

static void content(struct api_request *req, const char *key)
{
    get_with(req, key, on_content);
}

void api_file_content(struct api_request *req)
{
    api_key_find(req, content);
}

// ---- deleting ----

static void on_deleted(enum err err, void *ctx)
{
    struct api_request *req = ctx;

    if (err && err != ERR_NOT_FOUND) // someone else was faster: as well
        refuse(req, err);
    else
        api_reply_json(req, 200,
                       json_pack("{s:s, s:s, s:b}", "id", req->args[0],
                                 "object", "file", "deleted", 1));
}

// The bytes first: a crash then leaves a record, which can be deleted again.
static void on_delete(enum err err, const struct sched_file *file, void *ctx)
{
    struct api_request *req = ctx;

    if (!err && unlinkat(req->server->files_fd, file->path, 0) &&
        errno != ENOENT)
        err = ERR_IO;
    if (!err)
        err = sched_file_delete(req->server->store, file->id, NULL, on_deleted,
                                req);
    if (err)
        refuse(req, err);
}

static void delete (struct api_request *req, const char *key)
{
    get_with(req, key, on_delete);
}

void api_file_delete(struct api_request *req)
{
    api_key_find(req, delete);
}

// ---- many ----

static void on_list(enum err err, const struct sched_file *files, size_t n,
                    bool more, void *ctx)
{
    struct api_request *req = ctx;
    json_t *data;

    if (err == ERR_NOT_FOUND || err == ERR_RANGE) {
        api_reply_error(req, 400, "after", "invalid_field",
                        "after must be the id of one of this key's files");
        return;
    }
    if (err) {
        api_reply_err(req, err);
        return;
    }
    data = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(data, api_file_json(&files[i]));
    api_reply_json(req, 200,
                   json_pack("{s:s, s:o, s:s?, s:s?, s:b}", "object", "list",
                             "data", data, "first_id", n ? files[0].id : NULL,
                             "last_id", n ? files[n - 1].id : NULL, "has_more",
                             more));
}

static void list(struct api_request *req, const char *key)
{
    const char *after = api_request_query(req, "after");
    const char *purpose = api_request_query(req, "purpose");
    const char *order = api_request_query(req, "order");
    struct sched_file_query query = {.key = key};
    uint64_t limit;
    enum err err;

    if (!api_request_query_u64(req, "limit", 1, SCHED_FILES_MAX, 1000, &limit))
        return;
    if (order && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0) {
        api_reply_error(req, 400, "order", "invalid_field",
                        "order must be asc or desc");
        return;
    }
    if (purpose && strlen(purpose) > SCHED_ID_MAX) {
        api_reply_error(req, 400, "purpose", "invalid_field",
                        "there is no such purpose");
        return;
    }
    query.after = after ? after : "";
    query.purpose = purpose ? purpose : "";
    query.limit = (uint32_t)limit;
    query.oldest_first = order && strcmp(order, "asc") == 0;
    err = sched_file_list(req->server->store, &query, on_list, req);
    if (err)
        on_list(err, NULL, 0, false, req);
}

void api_file_list(struct api_request *req)
{
    api_key_find(req, list);
}

// ---- expiry ----

static void on_forgotten(enum err err, void *ctx)
{
    (void)err, (void)ctx; // what was lost is found again
}

static void on_expired(enum err err, const struct sched_file *files, size_t n,
                       bool more, void *ctx)
{
    struct api_server *server = ctx;

    (void)more; // the next look finds them
    for (size_t i = 0; !err && i < n; i++) {
        if (*files[i].path && unlinkat(server->files_fd, files[i].path, 0) &&
            errno != ENOENT) {
            api_log(API_LOG_ERROR, "file", "file=%s error=\"%s\"", files[i].id,
                    strerror(errno));
            continue;
        }
        err = sched_file_delete(server->store, files[i].id, NULL, on_forgotten,
                                NULL);
    }
}

void api_file_expiry_look(struct api_server *server)
{
    if (!server->draining &&
        sched_file_expired(server->store, on_expired, server))
        return; // the next look finds them
}
