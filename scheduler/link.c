#include "scheduler/link.h"

#include <event2/event.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/library.h"

enum {
    BACKOFF_FIRST_MS = 50,
    BACKOFF_MAX_MS = 2000,
    CONNECT_S = 5, // from the first byte out to up
    ADDRESS_MAX = 255,
    FUNCTION_MAX = 64,
};

struct sched_link {
    struct event_base *base;
    struct sched_link_hooks hooks;
    char address[ADDRESS_MAX + 1];
    int port;                         // 0: address is the path of a Unix socket
    char prefix[SCHED_CELL_MAX + 8];  // "syn:{cell}:"
    redisAsyncContext *calls, *wakes; // NULL while not there
    struct event *retry;
    int backoff_ms;
    bool loaded, subscribed, up;
    bool freeing;
};

struct call {
    struct sched_link *link;
    sched_reply_fn *fn;
    void *ctx;
};

static void drop(struct sched_link *link)
{
    redisAsyncContext *calls = link->calls, *wakes = link->wakes;

    link->calls = NULL;
    link->wakes = NULL;
    link->loaded = false;
    link->subscribed = false;
    link->up = false;
    if (calls)
        redisAsyncFree(calls); // outstanding callbacks run, with no reply
    if (wakes)
        redisAsyncFree(wakes);
}

static void fail(struct sched_link *link, const char *why)
{
    bool was_up = link->up;
    struct timeval tv = {link->backoff_ms / 1000,
                         link->backoff_ms % 1000 * 1000};

    if (link->freeing)
        return;
    drop(link);
    event_add(link->retry, &tv);
    link->backoff_ms *= 2;
    if (link->backoff_ms > BACKOFF_MAX_MS)
        link->backoff_ms = BACKOFF_MAX_MS;
    if (was_up || link->backoff_ms == BACKOFF_FIRST_MS * 2)
        link->hooks.on_state(false, why, link->hooks.ctx);
}

static void now_up(struct sched_link *link)
{
    if (!link->loaded || !link->subscribed || link->up)
        return;
    link->up = true;
    event_del(link->retry);
    link->backoff_ms = BACKOFF_FIRST_MS;
    link->hooks.on_state(true, NULL, link->hooks.ctx);
}

static void on_connected(const redisAsyncContext *redis, int status)
{
    struct sched_link *link = redis->data;

    if (status == REDIS_OK || (redis != link->calls && redis != link->wakes))
        return;
    // hiredis frees this one itself
    if (redis == link->calls)
        link->calls = NULL;
    else
        link->wakes = NULL;
    fail(link, redis->errstr);
}

static void on_disconnected(const redisAsyncContext *redis, int status)
{
    struct sched_link *link = redis->data;

    (void)status;
    if (redis != link->calls && redis != link->wakes)
        return; // dropped by us
    if (redis == link->calls)
        link->calls = NULL;
    else
        link->wakes = NULL;
    fail(link, redis->errstr ? redis->errstr : "connection closed");
}

static void on_loaded(redisAsyncContext *redis, void *r, void *arg)
{
    struct sched_link *link = arg;
    redisReply *reply = r;

    if (!reply || redis != link->calls)
        return;
    if (reply->type == REDIS_REPLY_ERROR &&
        !strstr(reply->str, "already exists")) {
        fail(link, reply->str);
        return;
    }
    link->loaded = true;
    now_up(link);
}

static void on_message(redisAsyncContext *redis, void *r, void *arg)
{
    struct sched_link *link = arg;
    redisReply *reply = r;

    if (!reply || redis != link->wakes)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        fail(link, reply->str);
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return;
    if (!link->subscribed) {
        link->subscribed = true;
        now_up(link);
        return;
    }
    const redisReply *what = reply->element[2];
    if (link->up && what->type == REDIS_REPLY_STRING && what->len)
        link->hooks.on_wake(what->str, link->hooks.ctx);
}

static redisAsyncContext *open_one(struct sched_link *link)
{
    redisAsyncContext *redis =
        link->port ? redisAsyncConnect(link->address, link->port)
                   : redisAsyncConnectUnix(link->address);

    if (!redis)
        return NULL;
    redis->data = link;
    if (redis->err || redisLibeventAttach(redis, link->base) != REDIS_OK) {
        redisAsyncFree(redis);
        return NULL;
    }
    redisAsyncSetConnectCallback(redis, on_connected);
    redisAsyncSetDisconnectCallback(redis, on_disconnected);
    return redis;
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct sched_link *link = arg;
    const char *load[] = {"FUNCTION", "LOAD", (const char *)sched_library_text};
    size_t load_len[] = {8, 4, sched_library_len};
    struct timeval limit = {CONNECT_S, 0};

    (void)fd, (void)what;
    if (link->calls || link->wakes) {
        fail(link, "no answer");
        return;
    }
    link->calls = open_one(link);
    if (link->calls)
        link->wakes = open_one(link);
    if (!link->wakes) {
        fail(link, "cannot connect");
        return;
    }
    if (redisAsyncCommandArgv(link->calls, on_loaded, link, 3, load,
                              load_len) != REDIS_OK ||
        redisAsyncCommand(link->wakes, on_message, link, "SUBSCRIBE %swake",
                          link->prefix) != REDIS_OK) {
        fail(link, "cannot connect");
        return;
    }
    event_add(link->retry, &limit);
}

// "unix:/path" or "HOST:PORT".
static enum err parse_address(struct sched_link *link, const char *address)
{
    const char *colon;
    size_t len = strlen(address);

    if (strncmp(address, "unix:", 5) == 0) {
        if (len == 5 || len - 5 > ADDRESS_MAX)
            return ERR_FORMAT;
        memcpy(link->address, address + 5, len - 5 + 1);
        return ERR_OK;
    }
    colon = strrchr(address, ':');
    if (!colon || colon == address || len > ADDRESS_MAX)
        return ERR_FORMAT;
    for (const char *p = colon + 1; *p; p++) {
        if (*p < '0' || *p > '9' || link->port > 6553)
            return ERR_FORMAT;
        link->port = link->port * 10 + (*p - '0');
    }
    if (link->port < 1 || link->port > 65535)
        return ERR_FORMAT;
    len = (size_t)(colon - address);
    if (len > 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    memcpy(link->address, address, len);
    link->address[len] = '\0';
    return ERR_OK;
}

enum err sched_link_new(struct event_base *base, const char *address,
                        const char *cell, const struct sched_link_hooks *hooks,
                        struct sched_link **out)
{
    struct timeval now = {0, 0};
    enum err err;
    size_t len = strlen(cell);

    if (!len || len > SCHED_CELL_MAX ||
        strspn(cell, "abcdefghijklmnopqrstuvwxyz0123456789") != len)
        return ERR_FORMAT;
    struct sched_link *link = calloc(1, sizeof *link);
    if (!link)
        return ERR_NOMEM;
    link->base = base;
    link->hooks = *hooks;
    link->backoff_ms = BACKOFF_FIRST_MS;
    snprintf(link->prefix, sizeof link->prefix, "syn:{%s}:", cell);
    err = parse_address(link, address);
    if (err)
        goto done;
    link->retry = evtimer_new(base, on_retry, link);
    if (!link->retry || event_add(link->retry, &now)) {
        err = ERR_IO;
        goto done;
    }
    *out = link;
    link = NULL; // now the caller's

done:
    if (link) {
        if (link->retry)
            event_free(link->retry);
        free(link);
    }
    return err;
}

void sched_link_free(struct sched_link *link)
{
    if (!link)
        return;
    link->freeing = true;
    event_free(link->retry);
    drop(link);
    free(link);
}

bool sched_link_up(const struct sched_link *link)
{
    return link->up;
}

void sched_link_reset(struct sched_link *link, const char *why)
{
    fail(link, why);
}

// What an error reply means. Refused writes and a Redis that is still loading
// are busy; the rest is a bug, or a library that was flushed.
static enum err error_of(struct sched_link *link, const char *text)
{
    static const char *const busy[] = {"OOM",       "MISCONF", "READONLY",
                                       "LOADING",   "BUSY",    "NOREPLICAS",
                                       "MASTERDOWN"};

    for (size_t i = 0; i < sizeof busy / sizeof *busy; i++)
        if (strncmp(text, busy[i], strlen(busy[i])) == 0)
            return ERR_BUSY;
    link->hooks.on_error(text, link->hooks.ctx);
    return strstr(text, "Function not found") ? ERR_STORE : ERR_FORMAT;
}

static void on_reply(redisAsyncContext *redis, void *r, void *arg)
{
    struct call *call = arg;
    redisReply *reply = r;
    enum err err = ERR_OK;
    bool reload = false;

    if (!reply) {
        err = ERR_STORE;
    } else if (reply->type == REDIS_REPLY_ERROR) {
        err = error_of(call->link, reply->str);
        reload = err == ERR_STORE && redis == call->link->calls;
    }
    call->fn(err, err ? NULL : reply, call->ctx);
    if (reload)
        fail(call->link, "the function library has gone");
    free(call);
}

enum err sched_link_call(struct sched_link *link, const char *function,
                         struct sched_args *args, sched_reply_fn *fn, void *ctx)
{
    enum err err = ERR_NOMEM;
    char name[FUNCTION_MAX];
    size_t n = args->n + 4, at = 0;
    const char **argv = NULL;
    size_t *len = NULL;
    struct call *call = NULL;

    if (args->failed)
        goto done;
    if (!link->up) {
        err = ERR_STORE;
        goto done;
    }
    argv = malloc(n * sizeof *argv);
    len = malloc(n * sizeof *len);
    call = malloc(sizeof *call);
    if (!argv || !len || !call)
        goto done;
    snprintf(name, sizeof name, "%s_%s", sched_library_version, function);
    argv[0] = "FCALL";
    argv[1] = name;
    argv[2] = "1";
    argv[3] = link->prefix;
    for (size_t i = 0; i < 4; i++)
        len[i] = strlen(argv[i]);
    for (size_t i = 0; i < args->n; i++) {
        argv[4 + i] = (const char *)args->buf + at;
        len[4 + i] = args->ends[i] - at;
        at = args->ends[i];
    }
    *call = (struct call){link, fn, ctx};
    if (redisAsyncCommandArgv(link->calls, on_reply, call, (int)n, argv, len) !=
        REDIS_OK) {
        err = ERR_STORE;
        goto done;
    }
    call = NULL; // now hiredis'
    err = ERR_OK;

done:
    free(call);
    free(len);
    free(argv);
    sched_args_release(args);
    return err;
}
