// request.h - one HTTP request, from its headers to the end of its answer.
//
// A handler looks at the request and answers it exactly once with a function
// of reply.h: at once, or later from the event loop. Until then the request is
// held, its connection suspended. Event-loop thread only.
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/address.h"
#include "base/err.h"

struct MHD_Connection;
struct MHD_Response;
struct api_request;
struct api_server;

enum {
    API_ARGS_MAX = 2,
    API_ARG_LEN_MAX = 255,
    API_BODY_JSON_MAX = 64 << 10, // of the small JSON bodies
};

typedef void api_handler_fn(struct api_request *req);

// Takes a body as it arrives, for routes whose bodies are not collected.
struct api_sink {
    // The headers are there. May hold the body back (api_request_hold_body),
    // or answer already; the rest of the body is then read and dropped.
    void (*begin)(struct api_request *req);
    // The next bytes. May answer, as above.
    void (*chunk)(struct api_request *req, const uint8_t *buf, size_t len);
};

struct api_route {
    const char *method; // GET serves HEAD too
    // Path; a segment "{}" matches one segment, which becomes an argument.
    const char *pattern;
    size_t body_max;             // bytes; 0: the server's --max-body
    api_handler_fn *handle;      // the whole body is there
    const struct api_sink *sink; // or NULL: the body is collected
    const char *query; // names that it takes, a blank between; NULL: any
};

struct api_request {
    struct api_server *server;
    struct MHD_Connection *conn;
    const struct api_route *route;
    const char *path; // valid until the request ends
    char args[API_ARGS_MAX][API_ARG_LEN_MAX + 1];
    uint8_t *body; // collected, NUL after body_len; NULL if empty
    size_t body_len;
    int64_t retry_s; // > 0: the answer says to try again so much later
    void *ctx;       // the handler's own
    // Runs when the request ends, on every path, if set; frees ctx.
    void (*ctx_free)(void *ctx);
};

// Tell me when the client leaves while the request is held: gone runs at most
// once, instead of the answer, which must not be given then any more (so it
// stops every way back to req). Without this call, a held request whose client
// left is just answered into the void. Call it from the handler.
void api_request_on_gone(struct api_request *req,
                         void (*gone)(struct api_request *req));

// For sinks, from begin: read no body until api_request_go_on or an answer.
void api_request_hold_body(struct api_request *req);
void api_request_go_on(struct api_request *req);

// A header of the request, or NULL. A query parameter, or NULL.
const char *api_request_header(const struct api_request *req, const char *name);
const char *api_request_query(const struct api_request *req, const char *name);

// A whole number min .. max from the query; fallback if it is absent. False if
// it is there and wrong, and then the request has been answered (400).
MUST_USE bool api_request_query_u64(struct api_request *req, const char *name,
                                    uint64_t min, uint64_t max,
                                    uint64_t fallback, uint64_t *out);

// The token of "Authorization: Bearer ...", or NULL.
const char *api_request_bearer(const struct api_request *req);

// Who asks: the peer, or, behind a trusted proxy, whom the proxy names.
void api_request_address(const struct api_request *req,
                         struct api_address *out);

// The collected body as JSON (a new reference); duplicate keys are refused.
// NULL: it is none, and the request has been answered (400).
struct json_t;
MUST_USE struct json_t *api_request_json(struct api_request *req);

// True once an answer was given.
bool api_request_is_answered(const struct api_request *req);

// False if the connection has ended; an answer is still to be given, and lost.
bool api_request_is_open(const struct api_request *req);

// For reply.c: give the answer. Takes over response (NULL only for a request
// that is not open).
void api_request_answer(struct api_request *req, unsigned status,
                        struct MHD_Response *response);

#endif
