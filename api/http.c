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
#include "api/exchange.h"

enum {
    HEADERS_MAX = 32 << 10,      // bytes, all headers of a request
    IDLE_S = 30,                 // a connection on which nothing moves
    READ_BYTES_PER_S = 16 << 10, // large bodies: at least so fast
    SWEEP_S = 1,
    BACKLOG = 1024,
};

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
    for (struct api_client *c = http->clients; c; c = c->next) {
        int64_t limit = http->config.read_ms +
                        (int64_t)(c->n_read / READ_BYTES_PER_S * 1000);

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
    struct api_client *c = *ctx;

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
        flags, 0, NULL, NULL, api_exchange_on_request, http,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_NOTIFY_COMPLETED, api_exchange_on_completed, http,
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
    api_exchange_abort_all(http);
}

void api_http_free(struct api_http *http)
{
    if (!http)
        return;
    http->stopping = true;
    api_exchange_wake_all(http);
    if (http->mhd) {
        MHD_run(http->mhd);
        MHD_stop_daemon(http->mhd);
    }
    api_exchange_free_all(http);
    if (http->readable)
        event_free(http->readable);
    if (http->tick)
        event_free(http->tick);
    if (http->sweep)
        event_free(http->sweep);
    free(http);
}
