#include "api/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/clock.h"
#include "api/log.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/server.h"

enum {
    HEADERS_MAX = 32 << 10,      // bytes, all headers of a request
    IDLE_S = 30,                 // a connection on which nothing moves
    READ_MS_MAX = 60 * 1000,     // to send headers, or a small body
    READ_BYTES_PER_S = 16 << 10, // larger bodies: at least so fast
    DROP_MAX = 1 << 20,          // bytes dropped politely after an early answer
    SWEEP_S = 2,
    BACKLOG = 1024,
};

enum state {
    STATE_BODY,    // headers are there, the body is being read
    STATE_RUNNING, // the handler has it
    STATE_ANSWERED,
    STATE_GONE,
};

// One connection: what it is doing, since when.
struct client {
    struct client *next, *prev;
    int fd;
    int64_t since_ms; // when it began to send what it is sending
    uint64_t n_read;  // body bytes of the present request
    bool busy;        // a request is running: no time limit
    bool cut;         // was shut down for being slow
};

// The whole of a request; handlers see its first member.
struct exchange {
    struct api_request req;
    struct exchange *next, *prev;
    struct api_http *http;
    struct client *client;
    char *path;
    enum state state;
    bool suspended;
    bool body_held;
    bool recall; // libmicrohttpd will make its first call once more
    bool orphan; // libmicrohttpd is done with it, the handler is not
    bool too_large;
    size_t body_cap, body_max;
    uint64_t n_dropped;
    void (*gone)(struct api_request *req);
    struct event *gone_event;
    unsigned status;
    struct MHD_Response *response; // the answer, not yet queued
};

struct api_http {
    struct MHD_Daemon *mhd;
    struct api_http_config config;
    struct event_base *base;
    struct event *readable, *tick, *sweep;
    struct exchange *exchanges;
    struct client *clients;
    size_t n_exchanges;
    uint64_t n_requests, n_answers[6];
    uint16_t port;
    bool draining, stopping;
};

static struct exchange *exchange_of(struct api_request *req)
{
    return (struct exchange *)(void *)req;
}

// ---- the loop ----

static void run(struct api_http *http)
{
    MHD_UNSIGNED_LONG_LONG ms;

    MHD_run(http->mhd);
    if (MHD_get_timeout(http->mhd, &ms) == MHD_YES) {
        struct timeval tv = {(time_t)(ms / 1000),
                             (suseconds_t)(ms % 1000 * 1000)};

        event_add(http->tick, &tv);
    } else {
        event_del(http->tick);
    }
}

static void on_loop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    run(arg);
}

void api_http_kick(struct api_http *http)
{
    event_active(http->tick, EV_TIMEOUT, 0);
}

// Cut off those who send too slowly.
static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct api_http *http = arg;
    int64_t now = api_clock_ms();

    (void)fd, (void)what;
    for (struct client *c = http->clients; c; c = c->next) {
        int64_t limit =
            READ_MS_MAX + (int64_t)(c->n_read / READ_BYTES_PER_S * 1000);

        if (!c->busy && !c->cut && now - c->since_ms > limit) {
            c->cut = true;
            shutdown(c->fd, SHUT_RDWR);
        }
    }
}

// ---- connections ----

static void on_connection(void *arg, struct MHD_Connection *conn, void **ctx,
                          enum MHD_ConnectionNotificationCode code)
{
    struct api_http *http = arg;
    struct client *c = *ctx;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);

        c = calloc(1, sizeof *c);
        if (!c || !info) {
            free(c);
            return; // its requests are refused
        }
        c->fd = info->connect_fd;
        c->since_ms = api_clock_ms();
        c->next = http->clients;
        if (c->next)
            c->next->prev = c;
        http->clients = c;
        *ctx = c;
    } else if (c) {
        if (c->next)
            c->next->prev = c->prev;
        if (c->prev)
            c->prev->next = c->next;
        else
            http->clients = c->next;
        free(c);
        *ctx = NULL;
    }
}

// ---- exchanges ----

static void exchange_free(struct exchange *x)
{
    if (x->next)
        x->next->prev = x->prev;
    if (x->prev)
        x->prev->next = x->next;
    else
        x->http->exchanges = x->next;
    x->http->n_exchanges--;
    if (x->req.ctx_free)
        x->req.ctx_free(x->req.ctx);
    if (x->response)
        MHD_destroy_response(x->response);
    if (x->gone_event)
        event_free(x->gone_event);
    free(x->req.body);
    free(x->path);
    free(x);
}

// Stop watching, and let libmicrohttpd call the handler again, which answers
// or closes.
static void wake(struct exchange *x)
{
    if (x->gone_event)
        event_del(x->gone_event);
    if (x->suspended) {
        x->suspended = false;
        MHD_resume_connection(x->req.conn);
        api_http_kick(x->http);
    }
}

static void on_gone(evutil_socket_t fd, short what, void *arg)
{
    struct exchange *x = arg;

    (void)fd, (void)what;
    if (x->state != STATE_RUNNING)
        return;
    x->state = STATE_GONE;
    x->gone(&x->req);
    wake(x);
}

void api_request_on_gone(struct api_request *req,
                         void (*gone)(struct api_request *req))
{
    exchange_of(req)->gone = gone;
}

void api_request_hold_body(struct api_request *req)
{
    exchange_of(req)->body_held = true;
}

void api_request_go_on(struct api_request *req)
{
    struct exchange *x = exchange_of(req);

    x->body_held = false;
    if (x->client)
        x->client->since_ms = api_clock_ms();
    if (x->client)
        x->client->busy = false;
    wake(x);
}

bool api_request_is_answered(const struct api_request *req)
{
    const struct exchange *x = (const struct exchange *)(const void *)req;

    return x->state == STATE_ANSWERED;
}

bool api_request_is_open(const struct api_request *req)
{
    const struct exchange *x = (const struct exchange *)(const void *)req;

    return !x->orphan;
}

void api_request_answer(struct api_request *req, unsigned status,
                        struct MHD_Response *response)
{
    struct exchange *x = exchange_of(req);

    if (x->orphan) {
        MHD_destroy_response(response);
        exchange_free(x);
        return;
    }
    if (x->state == STATE_ANSWERED || x->state == STATE_GONE) {
        MHD_destroy_response(response);
        return;
    }
    x->status = status;
    x->response = response;
    x->state = STATE_ANSWERED;
    if (status >= 100 && status < 600)
        x->http->n_answers[status / 100]++;
    x->body_held = false;
    wake(x);
}

// Suspend the connection, watching for the client to leave if asked to.
static void hold(struct exchange *x, bool watch)
{
    if (watch && x->gone && !x->gone_event)
        x->gone_event = event_new(x->http->base, x->client->fd,
                                  EV_CLOSED | EV_PERSIST, on_gone, x);
    if (watch && x->gone_event)
        event_add(x->gone_event, NULL);
    x->suspended = true;
    x->client->busy = true;
    MHD_suspend_connection(x->req.conn);
}

static enum MHD_Result answer_queue(struct exchange *x)
{
    enum MHD_Result ok;

    if (x->http->draining)
        (void)!MHD_add_response_header(x->response, "Connection", "close");
    ok = MHD_queue_response(x->req.conn, x->status, x->response);
    MHD_destroy_response(x->response);
    x->response = NULL;
    return ok;
}

// ---- requests ----

// Does path match pattern? Then the "{}" segments are copied to args.
static bool path_match(const char *pattern, const char *path,
                       char args[][API_ARG_LEN_MAX + 1])
{
    size_t n_args = 0;

    while (*pattern) {
        if (pattern[0] == '{') {
            size_t len = strcspn(path, "/");

            if (len == 0 || len > API_ARG_LEN_MAX)
                return false;
            memcpy(args[n_args], path, len);
            args[n_args++][len] = '\0';
            path += len;
            pattern += 2;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

// The route of a request; NULL with *allowed_other set if only the method is
// wrong.
static const struct api_route *route_find(struct api_http *http,
                                          struct exchange *x,
                                          const char *method, const char *path,
                                          bool *other)
{
    const char *want = strcmp(method, "HEAD") == 0 ? "GET" : method;

    *other = false;
    for (size_t i = 0; i < http->config.n_routes; i++) {
        const struct api_route *r = &http->config.routes[i];

        if (!path_match(r->pattern, path, x->req.args))
            continue;
        if (strcmp(r->method, want) == 0)
            return r;
        *other = true;
    }
    if (!*other && strcmp(want, "GET") == 0)
        return http->config.fallback;
    return NULL;
}

static struct exchange *exchange_new(struct api_http *http,
                                     struct MHD_Connection *conn,
                                     const char *path)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct exchange *x = calloc(1, sizeof *x);

    if (!x || !info || !info->socket_context)
        goto fail;
    x->path = strdup(path);
    if (!x->path)
        goto fail;
    x->http = http;
    x->client = info->socket_context;
    x->client->since_ms = api_clock_ms();
    x->client->n_read = 0;
    x->req.server = http->config.server;
    x->req.conn = conn;
    x->req.path = x->path;
    x->next = http->exchanges;
    if (x->next)
        x->next->prev = x;
    http->exchanges = x;
    http->n_exchanges++;
    http->n_requests++;
    return x;

fail:
    free(x);
    return NULL;
}

// The declared body length; 0 if there is none, UINT64_MAX if it is chunked.
static uint64_t declared_len(const struct api_request *req)
{
    const char *text = api_request_header(req, "Content-Length");
    const char *coding = api_request_header(req, "Transfer-Encoding");
    uint64_t len;

    if (coding)
        return UINT64_MAX;
    if (!text)
        return 0;
    return api_query_number(text, &len) ? len : UINT64_MAX;
}

// First call: headers only. Find the route, refuse what can be refused.
static enum MHD_Result begin(struct exchange *x, const char *method)
{
    bool other;
    uint64_t len = declared_len(&x->req);

    x->req.route = route_find(x->http, x, method, x->path, &other);
    x->body_max = 0;
    if (!x->req.route) {
        api_reply_error(&x->req, other ? 405 : 404, NULL, NULL,
                        other ? "this path does not take %s" : "no such path",
                        method);
    } else {
        x->body_max = x->req.route->body_max ? x->req.route->body_max
                                             : x->http->config.max_body;
        if (len != UINT64_MAX && len > x->body_max)
            x->too_large = true;
        else if (x->req.route->sink)
            x->req.route->sink->begin(&x->req);
    }
    if (x->body_held && x->state == STATE_BODY) {
        hold(x, false);
        x->recall = true;
        return MHD_YES;
    }
    // Read and drop a small body first: closing on a client that is still
    // sending would lose the answer.
    if (x->too_large && len > x->body_max + DROP_MAX)
        api_reply_error(&x->req, 413, NULL, "body_too_large",
                        "the body is over the limit of %zu bytes", x->body_max);
    if (x->state == STATE_ANSWERED && len > x->body_max + DROP_MAX)
        return answer_queue(x);
    return MHD_YES;
}

// Keep a piece of the body. False if the connection must end.
static bool body_take(struct exchange *x, const char *data, size_t len)
{
    struct api_request *req = &x->req;

    x->client->n_read += len;
    if (x->state != STATE_BODY || x->too_large) {
        x->n_dropped += len;
        return x->n_dropped <= x->body_max + DROP_MAX;
    }
    if (len > x->body_max || req->body_len > x->body_max - len) {
        x->too_large = true;
        x->n_dropped = req->body_len + len;
        return true;
    }
    if (req->route->sink) {
        req->body_len += len;
        req->route->sink->chunk(req, (const uint8_t *)data, len);
        return true;
    }
    if (x->body_cap - req->body_len <= len) {
        size_t cap = (req->body_len + len) * 2 + 1;
        uint8_t *p = realloc(req->body, cap);

        if (!p)
            return false;
        req->body = p;
        x->body_cap = cap;
    }
    memcpy(req->body + req->body_len, data, len);
    req->body_len += len;
    req->body[req->body_len] = '\0';
    return true;
}

static enum MHD_Result step(struct exchange *x)
{
    if (x->state == STATE_BODY) {
        x->client->busy = true;
        if (x->too_large) {
            api_reply_error(&x->req, 413, NULL, "body_too_large",
                            "the body is over the limit of %zu bytes",
                            x->body_max);
        } else {
            x->state = STATE_RUNNING;
            x->req.route->handle(&x->req);
        }
    }
    if (x->state == STATE_ANSWERED)
        return answer_queue(x);
    if (x->state == STATE_GONE || x->http->stopping)
        return MHD_NO;
    hold(x, true);
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn,
                                  const char *url, const char *method,
                                  const char *version, const char *data,
                                  size_t *len, void **ctx)
{
    struct api_http *http = arg;
    struct exchange *x = *ctx;

    (void)version;
    if (http->stopping && (!x || x->state == STATE_BODY))
        return MHD_NO; // nothing begins any more
    if (!x) {
        x = exchange_new(http, conn, url);
        if (!x)
            return MHD_NO;
        *ctx = x;
        return begin(x, method);
    }
    if (x->recall) { // held at its headers; the body comes now
        x->recall = false;
        return MHD_YES;
    }
    if (*len > 0) {
        bool ok = body_take(x, data, *len);

        *len = 0;
        return ok ? MHD_YES : MHD_NO;
    }
    return step(x);
}

static void on_completed(void *arg, struct MHD_Connection *conn, void **ctx,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *x = *ctx;

    (void)arg, (void)conn, (void)code;
    if (!x)
        return;
    *ctx = NULL;
    if (x->client) {
        x->client->busy = false;
        x->client->since_ms = api_clock_ms();
        x->client->n_read = 0;
        x->client = NULL;
    }
    x->suspended = false;
    if (x->state == STATE_RUNNING || (x->state == STATE_BODY && x->body_held)) {
        x->orphan = true; // its answer will free it
        return;
    }
    exchange_free(x);
}

// ---- start and end ----

static enum err socket_listen(const struct api_http_config *config, int *out)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char port[8];
    int one = 1, fd = -1;
    enum err err = ERR_OK;

    snprintf(port, sizeof port, "%u", config->port);
    if (getaddrinfo(config->host, port, &hints, &list) || !list)
        return ERR_RANGE;
    fd = socket(list->ai_family,
                list->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        bind(fd, list->ai_addr, list->ai_addrlen) || listen(fd, BACKLOG)) {
        err = errno == EADDRINUSE      ? ERR_EXISTS
              : errno == EACCES        ? ERR_DENIED
              : errno == EADDRNOTAVAIL ? ERR_RANGE
                                       : ERR_IO;
        if (fd >= 0)
            close(fd);
    } else {
        *out = fd;
    }
    freeaddrinfo(list);
    return err;
}

static uint16_t socket_port(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;

    if (getsockname(fd, (struct sockaddr *)&ss, &len))
        return 0;
    if (ss.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, &ss, sizeof in6);
        return ntohs(in6.sin6_port);
    } else {
        struct sockaddr_in in;

        memcpy(&in, &ss, sizeof in);
        return ntohs(in.sin_port);
    }
}

static struct MHD_Daemon *daemon_start(struct api_http *http, int fd)
{
    const struct api_http_config *c = &http->config;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, NULL},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, NULL},
        {MHD_OPTION_END, 0, NULL},
    };

    if (c->tls_cert) {
        flags |= MHD_USE_TLS;
        tls[0].ptr_value = (void *)(uintptr_t)c->tls_cert;
        tls[1].ptr_value = (void *)(uintptr_t)c->tls_key;
    } else {
        tls[0] = tls[2];
    }
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, http, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_ARRAY, tls, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)c->max_clients,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_MAX,
        MHD_OPTION_END);
}

enum err api_http_start(struct event_base *base,
                        const struct api_http_config *config,
                        struct api_http **out)
{
    struct api_http *http = calloc(1, sizeof *http);
    const union MHD_DaemonInfo *info;
    struct timeval sweep = {SWEEP_S, 0};
    enum err err;
    int fd = -1;

    if (!http)
        return ERR_NOMEM;
    http->config = *config;
    http->base = base;
    err = socket_listen(config, &fd);
    if (err)
        goto done;
    http->port = socket_port(fd);
    http->mhd = daemon_start(http, fd);
    if (!http->mhd) {
        err = config->tls_cert ? ERR_FORMAT : ERR_IO;
        goto done;
    }
    fd = -1;
    info = MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info) {
        err = ERR_IO;
        goto done;
    }
    http->readable =
        event_new(base, info->epoll_fd, EV_READ | EV_PERSIST, on_loop, http);
    http->tick = event_new(base, -1, 0, on_loop, http);
    http->sweep = event_new(base, -1, EV_PERSIST, on_sweep, http);
    if (!http->readable || !http->tick || !http->sweep ||
        event_add(http->readable, NULL) || event_add(http->sweep, &sweep)) {
        err = ERR_NOMEM;
        goto done;
    }
    api_http_kick(http);
    *out = http;
    http = NULL;

done:
    if (fd >= 0)
        close(fd);
    api_http_free(http);
    return err;
}

uint16_t api_http_port(const struct api_http *http)
{
    return http->port;
}

void api_http_drain(struct api_http *http)
{
    MHD_socket fd;

    if (http->draining)
        return;
    http->draining = true;
    fd = MHD_quiesce_daemon(http->mhd);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
}

size_t api_http_n_requests(const struct api_http *http)
{
    return http->n_exchanges;
}

void api_http_counts(const struct api_http *http, struct api_http_counts *out)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

    out->requests = http->n_requests;
    memcpy(out->answers, http->n_answers, sizeof out->answers);
    out->connections = info ? info->num_connections : 0;
}

void api_http_abort(struct api_http *http)
{
    for (struct exchange *x = http->exchanges; x; x = x->next) {
        if (x->state == STATE_RUNNING && x->gone && !x->orphan) {
            x->state = STATE_GONE;
            x->gone(&x->req);
            wake(x);
        }
    }
}

void api_http_free(struct api_http *http)
{
    if (!http)
        return;
    http->stopping = true;
    for (struct exchange *x = http->exchanges; x; x = x->next)
        wake(x);
    if (http->mhd) {
        MHD_run(http->mhd);
        MHD_stop_daemon(http->mhd);
    }
    while (http->exchanges)
        exchange_free(http->exchanges);
    if (http->readable)
        event_free(http->readable);
    if (http->tick)
        event_free(http->tick);
    if (http->sweep)
        event_free(http->sweep);
    free(http);
}

const char *api_request_header(const struct api_request *req, const char *name)
{
    return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

const char *api_request_query(const struct api_request *req, const char *name)
{
    return MHD_lookup_connection_value(req->conn, MHD_GET_ARGUMENT_KIND, name);
}

void api_request_address(const struct api_request *req, struct api_address *out)
{
    const struct exchange *x = (const struct exchange *)(const void *)req;
    const struct api_options *opt = &req->server->options;
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;

    memset(out, 0, sizeof *out);
    if (!x->client ||
        getpeername(x->client->fd, (struct sockaddr *)&ss, &len) ||
        !api_address_from((struct sockaddr *)&ss, out))
        return;
    api_query_forwarded(api_request_header(req, "X-Forwarded-For"),
                        opt->trust_proxy, opt->n_trust_proxy, out);
}
