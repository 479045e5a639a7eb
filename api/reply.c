#include "api/reply.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/query.h"

#define CONTENT_POLICY                                            \
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; "  \
    "worker-src 'self'; style-src 'self'; img-src 'self' data:; " \
    "object-src 'none'; base-uri 'none'; form-action 'self'; "    \
    "frame-ancestors 'none'"

unsigned api_reply_status(enum err err)
{
    switch (err) {
    case ERR_OK:
        return 200;
    case ERR_RANGE:
    case ERR_FORMAT:
    case ERR_TRUNCATED:
    case ERR_CHECKSUM:
    case ERR_VERSION:
    case ERR_UNSUPPORTED:
        return 400;
    case ERR_DENIED:
        return 401;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_EXISTS:
        return 409;
    case ERR_GONE:
        return 410;
    case ERR_FULL:
        return 429;
    case ERR_NOMEM:
    case ERR_BUSY:
    case ERR_STORE:
        return 503;
    case ERR_KV_MISSING:
    case ERR_IO:
        return 500;
    }
    return 500;
}

static const char *type_of(unsigned status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

static const char *code_of(enum err err)
{
    switch (err) {
#define X(name, text) \
    case ERR_##name:  \
        return #name;
        ERR_MAP(X)
#undef X
    }
    return NULL;
}

static void header(struct MHD_Response *r, const char *name, const char *value)
{
    // Fails only for lack of memory; the answer is then sent without it.
    (void)!MHD_add_response_header(r, name, value);
}

static void answer(struct api_request *req, unsigned status,
                   struct MHD_Response *r)
{
    char seconds[24];

    header(r, "X-Content-Type-Options", "nosniff");
    header(r, "Cross-Origin-Resource-Policy", "same-origin");
    header(r, "Referrer-Policy", "no-referrer");
    if (status == 401)
        header(r, "WWW-Authenticate", "Bearer");
    if (status == 503 || req->retry_s > 0) {
        snprintf(seconds, sizeof seconds, "%" PRId64,
                 req->retry_s > 0 ? req->retry_s : 1);
        header(r, "Retry-After", seconds);
    }
    api_request_answer(req, status, r);
}

static struct MHD_Response *response_of(const void *buf, size_t len,
                                        enum MHD_ResponseMemoryMode mode)
{
    // libmicrohttpd takes a plain pointer and only reads through it.
    return MHD_create_response_from_buffer(len, (void *)(uintptr_t)buf, mode);
}

// The last resort: no memory for a proper answer.
static void answer_static(struct api_request *req, unsigned status)
{
    static const char text[] =
        "{\"error\":{\"message\":\"the server is out of memory, try again\","
        "\"type\":\"server_error\",\"param\":null,\"code\":\"NOMEM\"}}\n";
    struct MHD_Response *r =
        response_of(text, sizeof text - 1, MHD_RESPMEM_PERSISTENT);

    if (!r)
        abort(); // not one small block left: the supervisor starts us anew
    header(r, "Content-Type", "application/json");
    answer(req, status, r);
}

void api_reply_json(struct api_request *req, unsigned status, json_t *value)
{
    char *text =
        value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    struct MHD_Response *r = NULL;

    json_decref(value);
    if (text)
        r = response_of(text, strlen(text), MHD_RESPMEM_MUST_FREE);
    if (!r) {
        free(text);
        answer_static(req, 503);
        return;
    }
    header(r, "Content-Type", "application/json");
    header(r, "Cache-Control", "no-store");
    answer(req, status, r);
}

// What a client sent may be cut inside a character, or be no UTF-8.
static void plain(char *text)
{
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p >= 127 || (unsigned char)*p < ' ')
            *p = '?';
    }
}

// The name of a field, as far as it is one.
static json_t *param_json(const char *param)
{
    json_t *value = param ? json_string(param) : json_null();
    char text[128];

    if (value)
        return value;
    snprintf(text, sizeof text, "%s", param);
    plain(text);
    return json_string(text);
}

void api_reply_error(struct api_request *req, unsigned status,
                     const char *param, const char *code, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    plain(text);
    api_reply_json(req, status,
                   json_pack("{s:{s:s, s:s, s:o, s:s?}}", "error", "message",
                             text, "type", type_of(status), "param",
                             param_json(param), "code", code));
}

void api_reply_err(struct api_request *req, enum err err)
{
    const char *text = err_text(err);

    if (err == ERR_STORE || err == ERR_BUSY)
        text = "the store is not reachable or refuses writes, try again";
    api_reply_error(req, api_reply_status(err), NULL, code_of(err), "%s", text);
}

void api_reply_nothing(struct api_request *req)
{
    struct MHD_Response *r = response_of("", 0, MHD_RESPMEM_PERSISTENT);

    if (!r) {
        answer_static(req, 503);
        return;
    }
    answer(req, 204, r);
}

void api_reply_bytes(struct api_request *req, unsigned status,
                     const char *content_type, const void *buf, size_t len,
                     const char *extra, const char *extra_value)
{
    struct MHD_Response *r = response_of(buf, len, MHD_RESPMEM_MUST_COPY);

    if (!r) {
        answer_static(req, 503);
        return;
    }
    header(r, "Content-Type", content_type);
    header(r, "Cache-Control", "no-store");
    if (extra)
        header(r, extra, extra_value);
    answer(req, status, r);
}

static void page_headers(struct MHD_Response *r)
{
    header(r, "Content-Security-Policy", CONTENT_POLICY);
    header(r, "Cross-Origin-Opener-Policy", "same-origin");
    header(r, "Cross-Origin-Embedder-Policy", "require-corp");
}

static void file_headers(struct MHD_Response *r,
                         const struct api_reply_file *file)
{
    char tag[80];

    if (file->etag) {
        snprintf(tag, sizeof tag, "\"%.70s\"", file->etag);
        header(r, "ETag", tag);
    }
    header(r, "Content-Type", file->content_type);
    header(r, "Accept-Ranges", "bytes");
    header(r, "Cache-Control",
           file->immutable ? "public, max-age=31536000, immutable"
                           : "no-cache");
    page_headers(r); // workers need them too
}

// Answer without a body from the file: 304 and 416.
static void file_bare(struct api_request *req,
                      const struct api_reply_file *file, unsigned status,
                      const char *range)
{
    struct MHD_Response *r = response_of("", 0, MHD_RESPMEM_PERSISTENT);

    close(file->fd);
    if (!r) {
        answer_static(req, 503);
        return;
    }
    file_headers(r, file);
    if (range)
        header(r, "Content-Range", range);
    answer(req, status, r);
}

void api_reply_file(struct api_request *req, const struct api_reply_file *file)
{
    const char *range = api_request_header(req, "Range");
    const char *if_range = api_request_header(req, "If-Range");
    const char *none = api_request_header(req, "If-None-Match");
    uint64_t first = 0, last = file->size ? file->size - 1 : 0;
    enum err found = ERR_NOT_FOUND;
    struct MHD_Response *r;
    char text[80];

    if (none && file->etag && api_query_etag_match(none, file->etag)) {
        file_bare(req, file, 304, NULL);
        return;
    }
    if (range && (!if_range ||
                  (file->etag && api_query_etag_match(if_range, file->etag))))
        found = api_query_range(range, file->size, &first, &last);
    if (found == ERR_RANGE) {
        snprintf(text, sizeof text, "bytes */%llu",
                 (unsigned long long)file->size);
        file_bare(req, file, 416, text);
        return;
    }
    r = MHD_create_response_from_fd_at_offset64(
        file->size ? last - first + 1 : 0, file->fd, first);
    if (!r) {
        close(file->fd);
        answer_static(req, 503);
        return;
    }
    file_headers(r, file);
    if (found == ERR_OK) {
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu",
                 (unsigned long long)first, (unsigned long long)last,
                 (unsigned long long)file->size);
        header(r, "Content-Range", text);
    }
    answer(req, found == ERR_OK ? 206 : 200, r);
}
