#include "api/curl_loop.h"

#include <event2/event.h>
#include <stdlib.h>

struct transfer {
    struct transfer *next, *prev;
    CURL *easy;
    api_curl_done_fn *fn;
    void *ctx;
};

struct api_curl_loop {
    struct event_base *base;
    CURLM *multi;
    struct event *timer;
    struct transfer *transfers;
};

// Out of the loop, back to its caller.
static void transfer_end(struct api_curl_loop *loop, struct transfer *t,
                         CURLcode code)
{
    struct transfer ended = *t;

    curl_multi_remove_handle(loop->multi, t->easy);
    if (t->next)
        t->next->prev = t->prev;
    if (t->prev)
        t->prev->next = t->next;
    else
        loop->transfers = t->next;
    free(t);
    ended.fn(ended.easy, code, ended.ctx);
}

static void ended_collect(struct api_curl_loop *loop)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(loop->multi, &left))) {
        struct transfer *t = NULL;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &t);
        if (t)
            transfer_end(loop, t, msg->data.result);
    }
}

static void on_socket_ready(evutil_socket_t fd, short what, void *arg)
{
    struct api_curl_loop *loop = arg;
    int running, flags = (what & EV_READ ? CURL_CSELECT_IN : 0) |
                         (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

    curl_multi_socket_action(loop->multi, fd, flags, &running);
    ended_collect(loop);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct api_curl_loop *loop = arg;
    int running;

    (void)fd, (void)what;
    curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    ended_collect(loop);
}

// libcurl: watch this socket so, from now on.
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
                     void *socket_arg)
{
    struct api_curl_loop *loop = arg;
    struct event *event = socket_arg;
    short kind = (short)((what & CURL_POLL_IN ? EV_READ : 0) |
                         (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);

    (void)easy;
    if (event)
        event_free(event);
    event = NULL;
    if (what != CURL_POLL_REMOVE)
        event = event_new(loop->base, fd, kind, on_socket_ready, loop);
    if (event)
        event_add(event, NULL);
    curl_multi_assign(loop->multi, fd, event);
    return 0;
}

static int on_timer_wanted(CURLM *multi, long ms, void *arg)
{
    struct api_curl_loop *loop = arg;
    struct timeval tv = {ms / 1000, ms % 1000 * 1000L};

    (void)multi;
    if (ms < 0)
        event_del(loop->timer);
    else
        event_add(loop->timer, &tv);
    return 0;
}

enum err api_curl_loop_new(struct event_base *base, struct api_curl_loop **out)
{
    struct api_curl_loop *loop = calloc(1, sizeof *loop);

    if (!loop)
        return ERR_NOMEM;
    loop->base = base;
    loop->multi = curl_multi_init();
    loop->timer = event_new(base, -1, 0, on_timer, loop);
    if (!loop->multi || !loop->timer) {
        api_curl_loop_free(loop);
        return ERR_NOMEM;
    }
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
    // Every call looks its name up and its address over: nothing is kept.
    curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, 1L);
    *out = loop;
    return ERR_OK;
}

enum err api_curl_loop_add(struct api_curl_loop *loop, CURL *easy,
                           api_curl_done_fn *fn, void *ctx)
{
    struct transfer *t = calloc(1, sizeof *t);

    if (!t)
        return ERR_NOMEM;
    *t = (struct transfer){.easy = easy, .fn = fn, .ctx = ctx};
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    if (curl_multi_add_handle(loop->multi, easy)) {
        free(t);
        return ERR_NOMEM;
    }
    t->next = loop->transfers;
    if (t->next)
        t->next->prev = t;
    loop->transfers = t;
    return ERR_OK;
}

void api_curl_loop_free(struct api_curl_loop *loop)
{
    if (!loop)
        return;
    while (loop->transfers)
        transfer_end(loop, loop->transfers, CURLE_ABORTED_BY_CALLBACK);
    if (loop->multi)
        curl_multi_cleanup(loop->multi);
    if (loop->timer)
        event_free(loop->timer);
    free(loop);
}
