#include "api/presence.h"

#include <event2/event.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http.h"
#include "api/log.h"
#include "api/reply.h"
#include "api/secret.h"
#include "api/server.h"
#include "api/volunteers.h"

enum { BEAT_S = 15, STREAM_BLOCK = 1024 };

struct api_presence {
    struct api_presence *next, *prev;
    struct api_server *server;
    struct MHD_Connection *conn;
    char id[SCHED_ID_MAX + 1];
    struct sched_who who;
    uint8_t presence[16];
    struct event *gone, *beat;
    bool linked, streaming, suspended;
    bool due;   // a comment is to be sent
    bool ended; // nothing more is
    bool quiet; // nobody is to be told of the end
};

static void wake(struct api_presence *p)
{
    if (p->suspended) {
        p->suspended = false;
        MHD_resume_connection(p->conn);
        api_http_kick(p->server->http);
        if (p->server->inner)
            api_http_kick(p->server->inner);
    }
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
    struct api_presence *p = arg;

    (void)fd, (void)what;
    p->due = true;
    wake(p);
}

static void on_gone(evutil_socket_t fd, short what, void *arg)
{
    struct api_presence *p = arg;

    (void)fd, (void)what;
    event_del(p->gone);
    p->ended = true;
    wake(p);
}

// libmicrohttpd wants more of the stream: the next comment, or wait for it.
static ssize_t on_read(void *arg, uint64_t pos, char *buf, size_t max)
{
    static const char text[] = ": beat\n\n";
    struct api_presence *p = arg;

    (void)pos;
    if (p->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (p->due && max >= sizeof text - 1) {
        p->due = false;
        memcpy(buf, text, sizeof text - 1);
        return sizeof text - 1;
    }
    p->suspended = true;
    MHD_suspend_connection(p->conn);
    return 0;
}

static void on_lost(enum err err, void *ctx)
{
    (void)ctx;
    if (err && err != ERR_DENIED && err != ERR_STORE)
        api_log(API_LOG_WARN, "presence_lost", "error=\"%s\"", err_text(err));
}

static void presence_free(void *arg)
{
    struct api_presence *p = arg;

    if (p->linked) {
        if (p->next)
            p->next->prev = p->prev;
        if (p->prev)
            p->prev->next = p->next;
        else
            p->server->presences = p->next;
    }
    // If the store is down, its sweep finds the volunteer by its silence.
    if (p->linked && !p->quiet && p->server->store)
        (void)!sched_volunteer_lost(p->server->store, &p->who, p->presence,
                                    on_lost, NULL);
    if (p->gone)
        event_free(p->gone);
    if (p->beat)
        event_free(p->beat);
    free(p);
}

static void ctx_free(void *arg)
{
    struct api_presence *p = arg;

    if (!p->streaming)
        presence_free(p);
}

static void on_present(enum err err, void *ctx)
{
    struct api_request *req = ctx;
    struct api_presence *p = req->ctx;
    struct timeval every = {BEAT_S, 0};
    const union MHD_ConnectionInfo *info;
    struct MHD_Response *r;

    if (err) {
        api_volunteer_refuse(req, err);
        return;
    }
    p->linked = true;
    p->next = p->server->presences;
    if (p->next)
        p->next->prev = p;
    p->server->presences = p;
    if (!api_request_is_open(req)) {
        api_request_answer(req, 0, NULL); // left meanwhile: ctx_free tells
        return;
    }
    info = MHD_get_connection_info(p->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    p->gone = event_new(p->server->base, info ? info->connect_fd : -1,
                        EV_CLOSED | EV_PERSIST, on_gone, p);
    p->beat = event_new(p->server->base, -1, EV_PERSIST, on_beat, p);
    r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
                                          on_read, p, presence_free);
    if (!r || !p->gone || !p->beat || event_add(p->gone, NULL) ||
        event_add(p->beat, &every)) {
        if (r) {
            p->streaming = true;
            req->ctx_free = NULL;
            MHD_destroy_response(r);
        }
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    p->streaming = true;
    p->due = true;
    p->ended = p->quiet = p->server->draining; // or it would never end
    (void)!MHD_add_response_header(r, "Content-Type", "text/event-stream");
    (void)!MHD_add_response_header(r, "Cache-Control", "no-store");
    (void)!MHD_add_response_header(r, "X-Accel-Buffering", "no");
    req->ctx = NULL;
    req->ctx_free = NULL;
    api_request_answer(req, 200, r);
}

void api_presence_open(struct api_request *req)
{
    struct api_presence *p;
    struct sched_who who;
    enum err err;

    if (!api_volunteer_who(req, &who))
        return;
    p = calloc(1, sizeof *p);
    if (!p) {
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    req->ctx = p;
    req->ctx_free = ctx_free;
    p->server = req->server;
    p->conn = req->conn;
    snprintf(p->id, sizeof p->id, "%.63s", who.id);
    p->who = who;
    p->who.id = p->id;
    err = api_secret_bytes(p->presence, sizeof p->presence);
    if (!err)
        err = sched_volunteer_present(req->server->store, &p->who, p->presence,
                                      on_present, req);
    if (err)
        api_volunteer_refuse(req, err);
}

void api_presence_drain(struct api_server *server)
{
    for (struct api_presence *p = server->presences; p; p = p->next) {
        p->ended = true;
        p->quiet = true;
        wake(p);
    }
}
