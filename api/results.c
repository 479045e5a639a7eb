#include "api/results.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/batches.h"
#include "api/keys.h"
#include "api/log.h"
#include "api/reply.h"
#include "api/result_line.h"
#include "api/server.h"

#define JSON_LINES "application/jsonl"

enum { LIMIT_DEFAULT = 100, BLOCK = 64 << 10 };

struct page {
    char key[SCHED_ID_MAX + 1];
    uint64_t after, limit;
    bool again; // the file was looked for already
};

static void lines_reply(struct api_request *req, const char *text, size_t len,
                        uint64_t next)
{
    char number[24];

    snprintf(number, sizeof number, "%" PRIu64, next);
    api_reply_bytes(req, 200, JSON_LINES, text, len, "X-Synapse-Next", number);
}

// ---- from the store ----

static enum err lines_write(struct api_request *req, FILE *out,
                            const struct sched_result *results, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *line = NULL;
        enum err err =
            api_result_line(&req->server->models, req->server->signer,
                            req->args[0], &results[i], &line);

        if (err)
            return err;
        fprintf(out, "%s\n", line);
        free(line);
    }
    return ERR_OK;
}

static void look(struct api_request *req);

static void on_results(enum err err, const struct sched_result *results,
                       size_t n, uint64_t next, bool more, void *ctx)
{
    struct api_request *req = ctx;
    struct page *page = req->ctx;
    char *text = NULL;
    size_t len = 0;
    FILE *out;

    (void)more;
    if (err == ERR_GONE && !page->again) { // completed since we looked
        page->again = true;
        look(req);
        return;
    }
    if (err) {
        api_batch_refuse(req, err);
        return;
    }
    out = open_memstream(&text, &len);
    if (!out) {
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    err = lines_write(req, out, results, n);
    if (fclose(out) && !err)
        err = ERR_NOMEM;
    if (err)
        api_reply_err(req, err == ERR_NOT_FOUND ? ERR_IO : err);
    else
        lines_reply(req, text, len, next);
    free(text);
}

// ---- from the output file ----

// Find where line `after` begins and where the limit-th line from there ends.
static bool range_find(int fd, uint64_t after, uint64_t limit, uint64_t *begin,
                       uint64_t *end, uint64_t *n_found)
{
    char *buf = malloc(BLOCK);
    uint64_t at = 0, line = 0;
    ssize_t n = 0;

    *begin = UINT64_MAX;
    *end = 0;
    if (after == 0)
        *begin = 0;
    while (buf && line < after + limit &&
           (n = pread(fd, buf, BLOCK, (off_t)at)) > 0) {
        const char *p = buf, *stop = buf + n;

        while (line < after + limit &&
               (p = memchr(p, '\n', (size_t)(stop - p)))) {
            p++;
            line++;
            if (line == after)
                *begin = at + (uint64_t)(p - buf);
            *end = at + (uint64_t)(p - buf);
        }
        at += (uint64_t)n;
    }
    free(buf);
    *n_found = line > after ? line - after : 0;
    return buf && n >= 0;
}

static void file_reply(struct api_request *req, const char *name)
{
    const struct page *page = req->ctx;
    int fd = openat(req->server->files_fd, name, O_RDONLY | O_CLOEXEC);
    uint64_t begin, end, n;
    struct MHD_Response *r;
    char number[24];

    if (fd < 0 && errno == ENOENT) {
        api_reply_error(req, 404, NULL, "file_deleted",
                        "the results of this batch were deleted");
        return;
    }
    if (fd < 0 || !range_find(fd, page->after, page->limit, &begin, &end, &n)) {
        if (fd >= 0)
            close(fd);
        api_log(API_LOG_ERROR, "output_file", "file=%s error=missing", name);
        api_reply_error(req, 500, NULL, "file_missing",
                        "the output file of this batch cannot be read");
        return;
    }
    if (n == 0) {
        close(fd);
        lines_reply(req, "", 0, page->after);
        return;
    }
    r = MHD_create_response_from_fd_at_offset64(end - begin, fd, begin);
    if (!r) {
        close(fd);
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    snprintf(number, sizeof number, "%" PRIu64, page->after + n);
    (void)!MHD_add_response_header(r, "Content-Type", JSON_LINES);
    (void)!MHD_add_response_header(r, "Cache-Control", "no-store");
    (void)!MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    (void)!MHD_add_response_header(r, "X-Synapse-Next", number);
    api_request_answer(req, 200, r);
}

// ---- where are they? ----

static void on_batch(enum err err, const struct sched_batch *batch, void *ctx)
{
    struct api_request *req = ctx;
    const struct page *page = req->ctx;

    if (!err && *batch->output_file) {
        file_reply(req, batch->output_file);
        return;
    }
    if (!err)
        err = sched_batch_results(req->server->store, req->args[0], page->key,
                                  page->after, (uint32_t)page->limit,
                                  on_results, req);
    if (err)
        api_batch_refuse(req, err);
}

static void look(struct api_request *req)
{
    const struct page *page = req->ctx;
    enum err err = sched_batch_get(req->server->store, req->args[0], page->key,
                                   on_batch, req);

    if (err)
        api_batch_refuse(req, err);
}

static void on_key(struct api_request *req, const char *key)
{
    struct page *page = req->ctx;

    snprintf(page->key, sizeof page->key, "%s", key);
    look(req);
}

void api_result_list(struct api_request *req)
{
    struct page page = {.after = 0}, *copy;

    if (!api_request_query_u64(req, "after", 0, UINT32_MAX, 0, &page.after) ||
        !api_request_query_u64(req, "limit", 1, SCHED_RESULTS_MAX,
                               LIMIT_DEFAULT, &page.limit))
        return;
    copy = malloc(sizeof *copy);
    if (!copy) {
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    *copy = page;
    req->ctx = copy;
    req->ctx_free = free;
    api_key_find(req, on_key);
}
