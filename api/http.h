// http.h - a listening HTTP or HTTPS server in the event loop: libmicrohttpd
// in external-epoll mode, whose one epoll descriptor is an event of the loop.
#ifndef API_HTTP_H
#define API_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct MHD_Connection;
struct api_http;
struct api_route;
struct api_server;
struct event_base;

struct api_http_config {
    const char *host;     // address to listen on
    uint16_t port;        // 0: a free one
    const char *tls_cert; // PEM text, or NULL for plain http
    const char *tls_key;
    uint32_t max_clients;
    uint64_t max_body; // for routes that name none
    uint32_t read_ms;  // to send headers or a small body; large ones get more
    const struct api_route *routes;
    size_t n_routes;
    const struct api_route *fallback; // GET and HEAD of any other path
    struct api_server *server;        // handed to the handlers
};

// Listen. Errors: ERR_EXISTS (the address is taken), ERR_DENIED (not allowed),
// ERR_RANGE (no such address here), ERR_FORMAT (certificate or key), ERR_IO.
MUST_USE enum err api_http_start(struct event_base *base,
                                 const struct api_http_config *config,
                                 struct api_http **out);

// The port it listens on.
uint16_t api_http_port(const struct api_http *http);

// Let libmicrohttpd look at its connections in the next turn of the loop;
// needed after MHD_resume_connection.
void api_http_kick(struct api_http *http);

// Accept no connections any more; what is open goes on, one answer each.
void api_http_drain(struct api_http *http);

// Requests that have begun and not ended.
size_t api_http_n_requests(const struct api_http *http);

// Requests begun since the start, answers by status class (index 1 .. 5) and
// connections open.
struct api_http_counts {
    uint64_t requests, answers[6];
    unsigned connections;
};
void api_http_counts(const struct api_http *http, struct api_http_counts *out);

// End the requests that asked for a gone call, which they get now.
void api_http_abort(struct api_http *http);

// Ends every connection. By now nothing may come back to a request: abort, and
// end what would answer the others (the store), first.
void api_http_free(struct api_http *http);

#endif
