// Where callbacks may connect to, whatever a URL spells and a name resolves to.
// libcurl resolves through this file's getaddrinfo, a resolver of a few names,
// and a listener sees whether anybody came.
#include "api/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/curl_loop.h"
#include "check.h"

// ---- the resolver ----

// What a name resolves to: at first, and from the second time on. A second
// address follows after a comma. NULL: resolving fails.
static const struct {
    const char *name, *first, *later;
} names[] = {
    {"loopback.test", "127.0.0.1", "127.0.0.1"},
    {"private-a.test", "10.1.2.3", "10.1.2.3"},
    {"private-b.test", "172.20.0.1", "172.20.0.1"},
    {"private-c.test", "192.168.0.1", "192.168.0.1"},
    {"link-local.test", "169.254.169.254", "169.254.169.254"},
    {"carrier.test", "100.64.0.1", "100.64.0.1"},
    {"zero.test", "0.0.0.0", "0.0.0.0"},
    {"loopback6.test", "::1", "::1"},
    {"unique-local.test", "fd12::1", "fd12::1"},
    {"link-local6.test", "fe80::1", "fe80::1"},
    {"mapped.test", "::ffff:127.0.0.1", "::ffff:127.0.0.1"},
    {"translated.test", "64:ff9b::7f00:1", "64:ff9b::7f00:1"},
    {"two.test", "10.0.0.1,127.0.0.1", "10.0.0.1,127.0.0.1"},
    {"twice.test", "8.8.8.8", "127.0.0.1"},
    {"fails.test", NULL, NULL},
};

enum { N_NAMES = sizeof names / sizeof *names };

static atomic_int n_asked[N_NAMES]; // libcurl asks from a thread

// "hangs.test" is being asked for, and gets no answer while this is so.
static atomic_bool is_asked, is_held;

static void tick(void)
{
    nanosleep(&(struct timespec){0, 10000000}, NULL);
}

static struct addrinfo *info_new(const char *text, uint16_t port,
                                 struct addrinfo *next)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons(port)};
    bool is_v4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;
    struct addrinfo *info = calloc(1, sizeof *info + sizeof v6);

    CHECK(info);
    CHECK(is_v4 || inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
    info->ai_family = is_v4 ? AF_INET : AF_INET6;
    info->ai_socktype = SOCK_STREAM;
    info->ai_protocol = IPPROTO_TCP;
    info->ai_addr = (struct sockaddr *)(info + 1);
    info->ai_addrlen = is_v4 ? sizeof v4 : sizeof v6;
    if (is_v4)
        memcpy(info + 1, &v4, sizeof v4);
    else
        memcpy(info + 1, &v6, sizeof v6);
    info->ai_next = next;
    return info;
}

int getaddrinfo(const char *name, const char *service,
                const struct addrinfo *hints, struct addrinfo **out)
{
    uint16_t port = 0;

    (void)hints;
    if (strcmp(name, "hangs.test") == 0) {
        atomic_store(&is_asked, true);
        for (int i = 0; i < 3000 && atomic_load(&is_held); i++)
            tick();
        atomic_store(&is_held, false);
        atomic_store(&is_asked, false);
        return EAI_AGAIN;
    }
    for (const char *p = service ? service : ""; *p >= '0' && *p <= '9'; p++)
        port = (uint16_t)(port * 10 + (*p - '0'));
    for (size_t i = 0; i < N_NAMES; i++) {
        const char *addresses, *comma;
        char first[64];

        if (strcmp(name, names[i].name) != 0)
            continue;
        addresses =
            atomic_fetch_add(&n_asked[i], 1) ? names[i].later : names[i].first;
        if (!addresses)
            return EAI_FAIL;
        comma = strchr(addresses, ',');
        snprintf(first, sizeof first, "%.*s",
                 (int)(comma ? comma - addresses : 63), addresses);
        *out = info_new(first, port,
                        comma ? info_new(comma + 1, port, NULL) : NULL);
        return 0;
    }
    return EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info) {
        struct addrinfo *next = info->ai_next;

        free(info);
        info = next;
    }
}

// ---- the listener ----

struct listener {
    int fd;
    uint16_t port;
};

static struct listener listen_on_loopback(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    struct listener l = {socket(AF_INET, SOCK_STREAM, 0), 0};

    CHECK(l.fd >= 0);
    CHECK_EQ(bind(l.fd, (struct sockaddr *)&a, sizeof a), 0);
    CHECK_EQ(listen(l.fd, 8), 0);
    CHECK_EQ(fcntl(l.fd, F_SETFL, O_NONBLOCK), 0);
    CHECK_EQ(getsockname(l.fd, (struct sockaddr *)&a, &len), 0);
    l.port = ntohs(a.sin_port);
    return l;
}

// How many came since the last time.
static int came(const struct listener *l)
{
    int n = 0, fd;

    while ((fd = accept(l->fd, NULL, NULL)) >= 0) {
        close(fd);
        n++;
    }
    CHECK(errno == EAGAIN);
    return n;
}

// ---- the calls ----

struct outcome {
    CURLcode code;
    bool refused;
};

// Nothing leaves this machine: sockets are bound to loopback.
static struct outcome call(const char *scheme, const char *host, uint16_t port,
                           bool allow_private)
{
    CURL *easy = curl_easy_init();
    struct api_guard guard;
    struct outcome out;
    char url[256];

    CHECK(easy);
    snprintf(url, sizeof url, "%s://%s:%u/", scheme, host, port);
    api_guard_set(&guard, easy, allow_private);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 300L);
    if (strcmp(host, "twice.test") == 0)
        curl_easy_setopt(easy, CURLOPT_INTERFACE, "host!127.0.0.1");
    out.code = curl_easy_perform(easy);
    out.refused = guard.refused;
    curl_easy_cleanup(easy);
    return out;
}

static void names_that_lead_inside_are_refused(const struct listener *l)
{
    for (size_t i = 0; i < N_NAMES; i++) {
        struct outcome o;

        if (!names[i].first || strcmp(names[i].first, names[i].later) != 0)
            continue;
        o = call("https", names[i].name, l->port, false);
        if (!o.refused || came(l) != 0)
            fprintf(stderr, "case: %s\n", names[i].name);
        CHECK_EQ(o.code, CURLE_COULDNT_CONNECT);
        CHECK(o.refused);
        CHECK_EQ(came(l), 0);
    }
}

// Also those that a URL check would have to know.
static void spellings_are_refused(const struct listener *l)
{
    static const char *const hosts[] = {
        "127.0.0.1",          "127.1",           "2130706433",
        "0x7f000001",         "0x7f.1",          "0177.0.0.1",
        "017700000001",       "127.0.0.1.",      "[::1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]",
        "[fe80::1]",          "[fd00::1]",       "localhost",
        "LOCALHOST",          "localhost.",      "any.localhost",
    };

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct outcome o = call("https", hosts[i], l->port, false);

        if (came(l) != 0 || o.code == CURLE_OK)
            fprintf(stderr, "case: %s\n", hosts[i]);
        CHECK(o.code == CURLE_COULDNT_CONNECT ||
              o.code == CURLE_COULDNT_RESOLVE_HOST);
        CHECK(o.refused || o.code == CURLE_COULDNT_RESOLVE_HOST);
        CHECK_EQ(came(l), 0);
    }
    CHECK(call("https", "127.0.0.1", l->port, false).refused);
    CHECK(call("https", "2130706433", l->port, false).refused);
    CHECK(call("https", "0x7f.1", l->port, false).refused);
    CHECK(call("https", "[::ffff:7f00:1]", l->port, false).refused);
}

// The first time it is public, the second time it is not.
static void a_name_that_changes_is_refused(const struct listener *l)
{
    struct outcome o = call("https", "twice.test", l->port, false);

    CHECK(o.code != CURLE_OK && !o.refused);
    o = call("https", "twice.test", l->port, false);
    CHECK_EQ(o.code, CURLE_COULDNT_CONNECT);
    CHECK(o.refused);
    CHECK_EQ(came(l), 0);
}

static void a_failing_resolver_is_a_failure(const struct listener *l)
{
    struct outcome o = call("https", "fails.test", l->port, false);

    CHECK_EQ(o.code, CURLE_COULDNT_RESOLVE_HOST);
    CHECK_EQ(call("https", "unknown.test", l->port, false).code,
             CURLE_COULDNT_RESOLVE_HOST);
    CHECK_EQ(came(l), 0);
}

static void on_timed_out(CURL *easy, CURLcode code, void *ctx)
{
    (void)easy;
    *(CURLcode *)ctx = code;
}

// The loop goes on: the transfer ends at its time, the resolver still hanging.
static void a_hanging_resolver_holds_up_nothing(void)
{
    struct event_base *base = event_base_new();
    struct api_curl_loop *loop;
    CURL *easy = curl_easy_init();
    struct api_guard guard;
    CURLcode code = CURLE_OK;

    CHECK(base && easy);
    CHECK_EQ(api_curl_loop_new(base, &loop), ERR_OK);
    api_guard_set(&guard, easy, false);
    curl_easy_setopt(easy, CURLOPT_URL, "https://hangs.test/");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 300L);
    atomic_store(&is_held, true);
    CHECK_EQ(api_curl_loop_add(loop, easy, on_timed_out, &code), ERR_OK);
    while (code == CURLE_OK)
        CHECK_EQ(event_base_loop(base, EVLOOP_ONCE), 0);
    CHECK_EQ(code, CURLE_OPERATION_TIMEDOUT);
    curl_easy_cleanup(easy);
    api_curl_loop_free(loop);
    CHECK(atomic_load(&is_asked) && atomic_load(&is_held)); // it does hang
    atomic_store(&is_held, false);
    while (atomic_load(&is_asked))
        tick();
    tick(); // for libcurl's thread to end
    event_base_free(base);
}

static void other_protocols_are_refused(const struct listener *l)
{
    CHECK_EQ(call("http", "loopback.test", l->port, false).code,
             CURLE_UNSUPPORTED_PROTOCOL);
    CHECK_EQ(call("ftp", "loopback.test", l->port, true).code,
             CURLE_UNSUPPORTED_PROTOCOL);
    CHECK_EQ(call("gopher", "loopback.test", l->port, true).code,
             CURLE_UNSUPPORTED_PROTOCOL);
    CHECK_EQ(came(l), 0);
}

// The listener and the resolver do work, so the above was not by chance.
static void all_may_be_called_if_allowed(const struct listener *l)
{
    struct outcome o = call("http", "loopback.test", l->port, true);

    CHECK(!o.refused);
    CHECK_EQ(came(l), 1);
    CHECK(!call("https", "2130706433", l->port, true).refused);
    CHECK_EQ(came(l), 1);
}

int main(void)
{
    struct listener l;

    CHECK_EQ(curl_global_init(CURL_GLOBAL_DEFAULT), 0);
    l = listen_on_loopback();
    names_that_lead_inside_are_refused(&l);
    spellings_are_refused(&l);
    a_name_that_changes_is_refused(&l);
    a_failing_resolver_is_a_failure(&l);
    a_hanging_resolver_holds_up_nothing();
    other_protocols_are_refused(&l);
    all_may_be_called_if_allowed(&l);
    close(l.fd);
    curl_global_cleanup();
    return 0;
}
