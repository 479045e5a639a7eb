// batch_body.h - cuts the body of POST /v1/batches while it arrives: what
// stands in "requests" becomes JSON Lines, one element a line, for the input
// file; the rest, the head, is kept. So a batch of any size takes little
// memory, and one bad request among many spoils only its own line.
//
// Elements are found by their brackets and quotes alone; whether one is valid
// JSON is seen later, when its line is read.
#ifndef API_BATCH_BODY_H
#define API_BATCH_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { API_BATCH_HEAD_MAX = 64 << 10, API_BATCH_LINES_MAX = 50000 };

// Takes bytes of the lines; anything but ERR_OK ends the cutting.
typedef enum err api_batch_write_fn(void *ctx, const char *buf, size_t len);

enum api_batch_place { // where the next byte stands
    API_BATCH_START,
    API_BATCH_HEAD,
    API_BATCH_ELEMENT,
    API_BATCH_END,
};

struct api_batch_body {
    api_batch_write_fn *write;
    void *ctx;
    enum api_batch_place place;
    unsigned depth;
    bool in_string, escaped;
    bool key_next; // at depth 1, a string here is a key
    bool in_key;
    bool requests_next; // the key was "requests", its value comes
    bool seen;          // "requests" was there
    bool element;       // something of the element was written
    size_t key_at;      // where the key begins in head
    uint64_t n_lines;
    size_t n_pending;
    char pending[4096]; // not yet written
    size_t head_len;
    char head[API_BATCH_HEAD_MAX + 1]; // NUL-terminated after finish
    const char *why;                   // on error: one line
};

void api_batch_body_init(struct api_batch_body *body, api_batch_write_fn *write,
                         void *ctx);

// The next bytes. Errors: ERR_FORMAT (no such JSON), ERR_FULL (too many
// requests or too large a head), those of write. *why is then set, and the
// body is of no more use.
MUST_USE enum err api_batch_body_put(struct api_batch_body *body,
                                     const char *buf, size_t len);

// The body has ended. Errors as above and ERR_TRUNCATED.
MUST_USE enum err api_batch_body_finish(struct api_batch_body *body);

#endif
