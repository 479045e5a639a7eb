#include "api/exchange.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "api/clock.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/server.h"

enum {
    DROP_MAX = 1 << 20, // bytes dropped politely after an early answer
};

// What all bodies that are being collected may take together.
#define COLLECTED_MAX (UINT64_C(512) << 20)

enum state {
    STATE_BODY,    // headers are there, the body is being read
    STATE_RUNNING, // the handler has it
    STATE_ANSWERED,
    STATE_GONE,
};

// The whole of a request; handlers see its first member.
struct exchange {
    struct api_request req;
    struct exchange *next, *prev;
    struct api_http *http;
    struct api_client *client;
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

static struct exchange *exchange_of(struct api_request *req)
{
    return (struct exchange *)(void *)req;
}

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
    x->http->n_collected -= x->body_cap;
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

// Is name one of those in list, which has a blank between two?
static bool list_has(const char *list, const char *name)
{
    size_t len = strlen(name);

    while (*list) {
        size_t n = strcspn(list, " ");

        if (n == len && memcmp(list, name, n) == 0)
            return true;
        list += n;
        list += strspn(list, " ");
    }
    return false;
}

// One parameter of the query: each may stand there once, with a value.
static enum MHD_Result on_query(void *arg, enum MHD_ValueKind kind,
                                const char *name, const char *value)
{
    struct api_request *req = arg;
    const char *what = NULL;

    (void)kind;
    if (!list_has(req->route->query, name))
        what = "is not known in the query of this path";
    else if (!value)
        what = "has no value in the query";
    else if (value != api_request_query(req, name)) // that is the first one
        what = "stands twice in the query";
    if (!what)
        return MHD_YES;
    api_reply_error(req, 400, name, "invalid_field", "%.64s %s", name, what);
    return MHD_NO;
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
        if (x->req.route->query)
            (void)MHD_get_connection_values(x->req.conn, MHD_GET_ARGUMENT_KIND,
                                            on_query, &x->req);
        if (len != UINT64_MAX && len > x->body_max)
            x->too_large = true;
        else if (x->state == STATE_BODY && x->req.route->sink)
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
        uint64_t collected = x->http->n_collected - x->body_cap + cap;
        uint8_t *p =
            collected <= COLLECTED_MAX ? realloc(req->body, cap) : NULL;

        if (!p) {
            api_reply_err(req, ERR_BUSY);
            return true;
        }
        req->body = p;
        x->http->n_collected = collected;
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

enum MHD_Result api_exchange_on_request(void *arg, struct MHD_Connection *conn,
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

void api_exchange_on_completed(void *arg, struct MHD_Connection *conn,
                               void **ctx, enum MHD_RequestTerminationCode code)
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
void api_exchange_abort_all(struct api_http *http)
{
    for (struct exchange *x = http->exchanges; x; x = x->next) {
        if (x->state == STATE_RUNNING && x->gone && !x->orphan) {
            x->state = STATE_GONE;
            x->gone(&x->req);
            wake(x);
        }
    }
}

void api_exchange_wake_all(struct api_http *http)
{
    for (struct exchange *x = http->exchanges; x; x = x->next)
        wake(x);
}

void api_exchange_free_all(struct api_http *http)
{
    while (http->exchanges)
        exchange_free(http->exchanges);
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
