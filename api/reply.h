// reply.h - the answers. Each of these answers its request, once.
#ifndef API_REPLY_H
#define API_REPLY_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "api/request.h"
#include "base/err.h"

// The HTTP status that stands for an error (200 for ERR_OK).
unsigned api_reply_status(enum err err);

// A JSON value, which is stolen; NULL answers 500.
void api_reply_json(struct api_request *req, unsigned status, json_t *value);

// {"error": {message, type, param, code}}. The type follows from the status;
// param and code may be NULL. The message says what to do.
void api_reply_error(struct api_request *req, unsigned status,
                     const char *param, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

// The same, with status and text of an error that a module returned.
void api_reply_err(struct api_request *req, enum err err);

// 204.
void api_reply_nothing(struct api_request *req);

// Bytes; copied. extra is one more header, or NULL.
void api_reply_bytes(struct api_request *req, unsigned status,
                     const char *content_type, const void *buf, size_t len,
                     const char *extra, const char *extra_value);

// An open file of size bytes, from which ranges are served; fd is taken over.
// etag comes without quotes. With immutable set, clients may keep it for good.
struct api_reply_file {
    int fd;
    uint64_t size;
    const char *content_type;
    const char *etag;
    bool immutable;
};
void api_reply_file(struct api_request *req, const struct api_reply_file *file);

#endif
