#include "api/ask.h"

#include <event2/event.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/ask_stream.h"
#include "api/batch_line.h"
#include "api/clock.h"
#include "api/fields.h"
#include "api/http.h"
#include "api/keys.h"
#include "api/quota.h"
#include "api/reply.h"
#include "api/result_line.h"
#include "api/secret.h"
#include "api/server.h"
#include "scheduler/ask.h"

enum {
    LOOK_MS = 50,
    LEASE_MS = 20000,
    RENEW_MS = LEASE_MS / 4,
    STREAM_BLOCK = 4096,
};

// One request, from its key to the end of its answer. Owned by the exchange
// (ctx_free), or, once it streams, by the response; calls to the store that are
// under way keep it alive beyond that.
struct api_ask {
    struct api_ask *next, *prev; // of server->asks, while streaming
    struct api_server *server;
    struct api_request *req; // until it streams
    struct MHD_Connection *conn;
    char key[SCHED_ID_MAX + 1];
    char id[API_ID_MAX + 1];
    struct text body;
    struct api_line_rules rules;
    struct sched_line lines[SCHED_ASK_LINES_MAX];
    struct api_batch_line read[SCHED_ASK_LINES_MAX];
    size_t n; // choices
    struct event *look, *gone;
    unsigned n_calls; // to the store, under way
    int64_t renewed_ms;
    bool queued;    // there is something to be ended
    bool closed;    // nobody holds it but calls under way
    bool streaming; // the answer has begun
    bool wanted;    // "stream": true
    bool suspended, ended;
    struct api_ask_stream stream;
};

static void ask_free(struct api_ask *ask)
{
    for (size_t i = 0; i < SCHED_ASK_LINES_MAX; i++)
        api_batch_line_release(&ask->read[i]);
    api_ask_stream_release(&ask->stream);
    text_release(&ask->body);
    if (ask->look)
        event_free(ask->look);
    if (ask->gone)
        event_free(ask->gone);
    free(ask);
}

static void on_ended(enum err err, void *ctx)
{
    (void)err, (void)ctx; // if it was lost, the lease passes
}

// Nobody waits any more.
static void ask_close(void *ctx)
{
    struct api_ask *ask = ctx;

    if (ask->streaming) {
        if (ask->next)
            ask->next->prev = ask->prev;
        if (ask->prev)
            ask->prev->next = ask->next;
        else
            ask->server->asks = ask->next;
    }
    if (ask->look)
        event_del(ask->look);
    if (ask->gone)
        event_del(ask->gone);
    if (ask->queued && ask->server->store)
        (void)!sched_ask_end(ask->server->store, ask->id, on_ended, NULL);
    ask->closed = true;
    if (ask->n_calls == 0)
        ask_free(ask);
}

// A call to the store has come back. False: nobody waits for it.
static bool call_ended(struct api_ask *ask)
{
    ask->n_calls--;
    if (ask->closed && ask->n_calls == 0)
        ask_free(ask);
    else
        return !ask->closed;
    return false;
}

// ---- the whole answer at once ----

static enum err body_make(const struct api_ask *ask,
                          const struct sched_ask *now, json_t **out)
{
    json_t *bodies[SCHED_ASK_LINES_MAX] = {0};
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < now->n_final; i++) {
        const struct sched_result *r = &now->results[i];

        if (r->number >= ask->n || bodies[r->number])
            err = ERR_FORMAT;
        else
            err = api_result_body(&ask->server->models, ask->id + 4, r,
                                  &bodies[r->number]);
    }
    if (!err)
        err = api_result_merge(bodies, ask->n);
    if (!err)
        *out = json_incref(bodies[0]);
    for (size_t i = 0; i < SCHED_ASK_LINES_MAX; i++)
        json_decref(bodies[i]);
    return err;
}

static void look_soon(struct api_ask *ask)
{
    struct timeval tv = {0, LOOK_MS * 1000L};

    event_add(ask->look, &tv);
}

static void interrupted(struct api_request *req)
{
    api_reply_error(req, 503, NULL, "interrupted",
                    "the request was interrupted, send it again");
}

static void look_answer(struct api_ask *ask, enum err err,
                        const struct sched_ask *now)
{
    json_t *body = NULL;

    bool open = !err && now->n_final < now->n_lines;

    if (!err && !open)
        err = body_make(ask, now, &body);
    // The store may come back; but a server that goes down waits for nothing.
    if (open || err == ERR_STORE || err == ERR_BUSY) {
        if (!ask->server->draining) {
            look_soon(ask);
            return;
        }
        err = ERR_STORE;
    }
    if (err)
        interrupted(ask->req);
    else
        api_reply_json(ask->req, 200, body);
}

// ---- a stream ----

static void wake(struct api_ask *ask)
{
    if (!ask->suspended)
        return;
    ask->suspended = false;
    MHD_resume_connection(ask->conn);
    api_http_kick(ask->server->http);
    if (ask->server->inner)
        api_http_kick(ask->server->inner);
}

static void on_gone(evutil_socket_t fd, short what, void *arg)
{
    struct api_ask *ask = arg;

    (void)fd, (void)what;
    event_del(ask->gone);
    ask->ended = true;
    ask->stream.out.len = 0;
    wake(ask);
}

// libmicrohttpd wants more of the stream.
static ssize_t on_read(void *arg, uint64_t pos, char *buf, size_t max)
{
    struct api_ask *ask = arg;
    struct text *out = &ask->stream.out;
    size_t len = out->len < max ? out->len : max;

    (void)pos;
    if (len > 0) {
        memcpy(buf, out->ptr, len);
        memmove(out->ptr, out->ptr + len, out->len - len);
        out->len -= len;
        return (ssize_t)len;
    }
    if (ask->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    ask->suspended = true;
    MHD_suspend_connection(ask->conn);
    return 0;
}

static void look_stream(struct api_ask *ask, enum err err,
                        const struct sched_ask *now)
{
    bool over = false;

    if (ask->ended)
        return;
    if (!err)
        err = api_ask_stream_look(&ask->stream, now, &over);
    if (err && err != ERR_STORE && err != ERR_BUSY) {
        if (api_ask_stream_fail(&ask->stream, "the request was interrupted, "
                                              "send it again"))
            ask->stream.out.len = 0; // no memory: it just ends
        over = true;
    }
    ask->ended = over;
    if (!over)
        look_soon(ask);
    if (over || ask->stream.out.len > 0)
        wake(ask);
}

// The answer begins now.
static void stream_begin(struct api_ask *ask)
{
    struct api_request *req = ask->req;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(ask->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct MHD_Response *r;

    if (ask->server->draining) { // it would never end
        interrupted(req);
        return;
    }
    ask->gone = event_new(ask->server->base, info ? info->connect_fd : -1,
                          EV_CLOSED | EV_PERSIST, on_gone, ask);
    if (!ask->gone || event_add(ask->gone, NULL)) {
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
                                          on_read, ask, ask_close);
    if (!r) {
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    (void)!MHD_add_response_header(r, "Content-Type", "text/event-stream");
    (void)!MHD_add_response_header(r, "Cache-Control", "no-store");
    (void)!MHD_add_response_header(r, "X-Accel-Buffering", "no");
    ask->streaming = true;
    ask->next = ask->server->asks;
    if (ask->next)
        ask->next->prev = ask;
    ask->server->asks = ask;
    req->ctx = NULL;
    req->ctx_free = NULL;
    ask->req = NULL;
    look_soon(ask);
    api_request_answer(req, 200, r);
}

// ---- waiting ----

static void on_look(enum err err, const struct sched_ask *now, void *ctx)
{
    struct api_ask *ask = ctx;

    if (!call_ended(ask))
        return;
    if (ask->streaming)
        look_stream(ask, err, now);
    else
        look_answer(ask, err, now);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct api_ask *ask = arg;
    int64_t now = api_clock_ms();
    bool renew = now - ask->renewed_ms >= RENEW_MS;

    (void)fd, (void)what;
    if (!ask->server->store ||
        sched_ask_look(ask->server->store, ask->id, renew ? LEASE_MS : 0,
                       on_look, ask)) {
        look_soon(ask);
        return;
    }
    ask->n_calls++;
    if (renew)
        ask->renewed_ms = now;
}

// A quota is in the way: which?
static void on_quota(enum err err, const struct sched_key *key, void *ctx)
{
    struct api_ask *ask = ctx;

    if (!call_ended(ask))
        return;
    if (err)
        api_reply_err(ask->req, err);
    else
        api_quota_reply(ask->req, key, ask->n, 0);
}

static void on_queued(enum err err, void *ctx)
{
    struct api_ask *ask = ctx;

    if (!call_ended(ask))
        return;
    ask->queued = err != ERR_FULL;
    if (err == ERR_FULL) {
        err = sched_key_get(ask->server->store, ask->key, on_quota, ask);
        ask->n_calls += !err;
        if (!err)
            return;
    }
    if (!err && !api_request_is_open(ask->req))
        err = ERR_IO; // answered into the void
    if (err)
        api_reply_err(ask->req, err);
    else if (ask->wanted)
        stream_begin(ask);
    else
        look_soon(ask);
}

// The client has left: libmicrohttpd ends the exchange, which closes the ask.
static void on_left(struct api_request *req)
{
    struct api_ask *ask = req->ctx;

    if (ask->look)
        event_del(ask->look);
}

// ---- the request ----

static void error_reply(struct api_request *req, const struct api_batch_line *l)
{
    json_t *error = json_loads(l->error, 0, NULL);
    const char *code = json_string_value(json_object_get(error, "code"));

    api_reply_error(req,
                    code && strcmp(code, "model_not_found") == 0 ? 404 : 400,
                    json_string_value(json_object_get(error, "param")), code,
                    "%s", json_string_value(json_object_get(error, "message")));
    json_decref(error);
}

// What concerns the answer and not the computation; it is taken out of value.
static void manner_read(struct api_fields *f, struct api_ask *ask,
                        json_t *value)
{
    static const char *const known_options[] = {"include_usage", NULL};
    const json_t *options = api_fields_get(f, "stream_options");
    struct api_fields o;

    ask->wanted = api_fields_bool(f, "stream", false);
    ask->stream.confirmed_only = api_fields_bool(f, "confirmed_only", false);
    ask->n = (size_t)api_fields_int(f, "n", false, 1, SCHED_ASK_LINES_MAX, 1);
    if (options && !ask->wanted)
        api_fields_wrong(f, "stream_options",
                         "stream_options needs \"stream\": true");
    if (options) {
        api_fields_init(&o, options);
        api_fields_only(&o, known_options);
        ask->stream.usage = api_fields_bool(&o, "include_usage", false);
        if (o.wrong)
            api_fields_wrong(f, "stream_options",
                             "stream_options takes include_usage, true or "
                             "false");
    }
    if (f->wrong)
        return;
    json_object_del(value, "stream");
    json_object_del(value, "confirmed_only");
    json_object_del(value, "stream_options");
    json_object_del(value, "n");
}

// The lines of all choices: the same request, each with a seed of its own.
static enum err lines_read(struct api_ask *ask, const json_t *value)
{
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < ask->n; i++) {
        struct api_batch_line *read = &ask->read[i];

        err = api_batch_line_value(&ask->rules, i, value, read);
        if (err || read->error)
            return err;
        if (read->line.seed_given)
            read->line.sampling.seed += i;
        ask->lines[i] = read->line;
    }
    return err;
}

static void stream_init(struct api_ask *ask)
{
    struct api_ask_stream *s = &ask->stream;
    const struct api_batch_line *line = &ask->read[0];

    s->models = &ask->server->models;
    for (size_t i = 0; i < s->models->n; i++)
        if (memcmp(s->models->items[i].id, line->line.model, SYN1_ID_LEN) == 0)
            s->model = &s->models->items[i];
    s->id = ask->id + strlen("ask_");
    s->chat = ask->rules.chat;
    s->created_s = api_clock_unix_ms() / 1000;
    if (line->stops)
        s->stops = json_loads(line->stops, JSON_ALLOW_NUL, NULL);
    for (size_t i = 0; i < json_array_size(s->stops); i++) {
        size_t len = json_string_length(json_array_get(s->stops, i));

        if (len > s->stop_len)
            s->stop_len = len;
    }
}

static void queue(struct api_ask *ask)
{
    enum err err = api_secret_id("ask_", ask->id);

    stream_init(ask);
    ask->look = event_new(ask->server->base, -1, 0, on_timer, ask);
    if (!ask->look)
        err = ERR_NOMEM;
    if (!err)
        err = sched_ask_create(ask->server->store, ask->id, ask->key,
                               ask->lines, ask->n, LEASE_MS, on_queued, ask);
    if (err) {
        api_reply_err(ask->req, err);
        return;
    }
    ask->queued = true;
    ask->n_calls++;
    ask->renewed_ms = api_clock_ms();
}

static void handle(struct api_request *req, bool chat)
{
    struct api_ask *ask = req->ctx;
    struct api_fields f;
    json_error_t error;
    json_t *value;
    enum err err = ERR_OK;

    api_request_on_gone(req, on_left);
    value = json_loadb(ask->body.ptr ? ask->body.ptr : "", ask->body.len,
                       JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!value) {
        api_reply_error(req, 400, NULL, "invalid_json",
                        "the body is not valid JSON: %s", error.text);
        return;
    }
    ask->rules.models = &req->server->models;
    ask->rules.chat = chat;
    ask->rules.single = true;
    api_fields_init(&f, value);
    manner_read(&f, ask, value);
    if (!f.wrong)
        err = lines_read(ask, value);
    json_decref(value);
    if (f.wrong)
        api_reply_error(req, 400, f.param, "invalid_field", "%s", f.message);
    else if (err)
        api_reply_err(req, err);
    else if (ask->read[0].error)
        error_reply(req, &ask->read[0]);
    else
        queue(ask);
}

void api_ask_text(struct api_request *req)
{
    handle(req, false);
}

void api_ask_chat(struct api_request *req)
{
    handle(req, true);
}

static void on_key(struct api_request *req, const char *key)
{
    struct api_ask *ask;

    if (!api_request_is_open(req)) { // nobody is there to read it from
        api_reply_err(req, ERR_IO);
        return;
    }
    ask = calloc(1, sizeof *ask);
    if (!ask) {
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    ask->server = req->server;
    ask->req = req;
    ask->conn = req->conn;
    snprintf(ask->key, sizeof ask->key, "%s", key);
    req->ctx = ask;
    req->ctx_free = ask_close;
    api_request_go_on(req);
}

static void begin(struct api_request *req)
{
    api_request_hold_body(req);
    api_key_find(req, on_key);
}

static void chunk(struct api_request *req, const uint8_t *buf, size_t len)
{
    struct api_ask *ask = req->ctx;

    if (text_put(&ask->body, buf, len))
        api_reply_err(req, ERR_NOMEM);
}

const struct api_sink api_ask_sink = {begin, chunk};

void api_ask_drain(struct api_server *server)
{
    for (struct api_ask *ask = server->asks; ask; ask = ask->next) {
        ask->ended = true;
        wake(ask);
    }
}
