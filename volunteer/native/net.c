#include "native/net.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
    CONNECT_TIMEOUT_MS = 10000,
    STALL_S = 40, // less than a byte a second for so long: dead
    BACKOFF_FIRST_MS = 250,
    HOLD_BACKOFF_MAX_MS = 5000,
    POLL_MAX_MS = 10000,
};

// One transfer under way.
struct transfer {
    CURL *easy;
    struct curl_slist *headers;
    const struct native_request *request; // NULL for the held one
    uint8_t *body;
    size_t len, cap;
    enum err err; // why a body callback ended it
    CURLcode result;
    bool done;
    char why[CURL_ERROR_SIZE];
};

struct native_net {
    struct native_net_config config;
    CURLM *multi;
    bool stopped;
    char why[NATIVE_WHY_MAX];

    struct transfer held;
    char *held_url, *held_bearer;
    int64_t held_retry_ms; // when to start it again, if it is not under way
    unsigned held_tries;
};

int64_t native_now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t native_backoff_ms(unsigned attempt, int64_t max_ms)
{
    int64_t ms = BACKOFF_FIRST_MS;
    uint32_t r = 0;

    while (attempt-- && ms < max_ms)
        ms *= 2;
    if (ms > max_ms)
        ms = max_ms;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) != (ssize_t)sizeof r)
        r = (uint32_t)native_now_ms(); // only spreads load
    return ms / 2 + (int64_t)(r % (uint32_t)(ms / 2 + 1));
}

static long status_of(CURL *easy)
{
    long status = 0;

    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;

    long status = status_of(t->easy);

    n *= size;
    if (!t->request) // presence: nothing to read but beats
        return n;
    if (t->request->sink && (status == 200 || status == 206)) {
        if (t->request->sink(status, (const uint8_t *)data, n,
                             t->request->sink_ctx))
            return n;
        t->err = ERR_IO;
        return 0;
    }
    if (n > t->request->reply_max - t->len) {
        t->err = ERR_FULL;
        return 0;
    }
    if (t->cap - t->len < n + 1) {
        size_t cap = 2 * (t->len + n) + 1024;
        uint8_t *grown = realloc(t->body, cap);

        if (!grown) {
            t->err = ERR_NOMEM;
            return 0;
        }
        t->body = grown;
        t->cap = cap;
    }
    memcpy(t->body + t->len, data, n);
    t->len += n;
    t->body[t->len] = '\0';
    return n;
}

// Add "name: value" to the transfer's headers.
static bool header_add(struct transfer *t, const char *name, const char *value)
{
    size_t len = strlen(name) + strlen(value) + 3;
    char *line = malloc(len);
    struct curl_slist *grown;

    if (!line)
        return false;
    snprintf(line, len, "%s: %s", name, value);
    grown = curl_slist_append(t->headers, line);
    free(line);
    if (!grown)
        return false;
    t->headers = grown;
    return true;
}

static bool bearer_add(struct transfer *t, const char *bearer)
{
    char value[NATIVE_URL_MAX];

    if (!bearer)
        return true;
    snprintf(value, sizeof value, "Bearer %s", bearer);
    return header_add(t, "Authorization", value);
}

static bool options_common(struct native_net *net, struct transfer *t,
                           const char *url)
{
    CURL *e = t->easy;
    bool ok = true;

    ok &= !curl_easy_setopt(e, CURLOPT_URL, url);
    ok &= !curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    ok &= !curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    ok &= !curl_easy_setopt(e, CURLOPT_USERAGENT, "synapse");
    ok &= !curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->why);
    ok &= !curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    ok &= !curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    ok &= !curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    ok &= !curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                            (long)CONNECT_TIMEOUT_MS);
    ok &= !curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    ok &= !curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    ok &= !curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    if (net->config.source)
        ok &= !curl_easy_setopt(e, CURLOPT_INTERFACE, net->config.source);
    if (net->config.cacert)
        ok &= !curl_easy_setopt(e, CURLOPT_CAINFO, net->config.cacert);
    return ok;
}

static bool options_request(struct transfer *t, const struct native_request *r)
{
    CURL *e = t->easy;
    bool ok = bearer_add(t, r->bearer);

    if (strcmp(r->method, "POST") == 0) {
        ok &= !curl_easy_setopt(e, CURLOPT_POST, 1L);
        ok &= !curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE,
                                (curl_off_t)r->body_len);
        ok &= !curl_easy_setopt(e, CURLOPT_POSTFIELDS,
                                r->body_len ? r->body : "");
        ok &= header_add(t, "Expect", ""); // no round trip before the body
    }
    if (r->content_type)
        ok &= header_add(t, "Content-Type", r->content_type);
    if (r->operator_key)
        ok &= header_add(t, "X-Synapse-Operator", r->operator_key);
    if (r->range_from) { // not RESUME_FROM, which fails on a whole answer
        char range[32];

        snprintf(range, sizeof range, "%" PRIu64 "-", r->range_from);
        ok &= !curl_easy_setopt(e, CURLOPT_RANGE, range);
    }
    if (r->timeout_ms) {
        ok &= !curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
        ok &= !curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, 0L);
    }
    return ok;
}

static void transfer_release(struct native_net *net, struct transfer *t)
{
    if (t->easy) {
        curl_multi_remove_handle(net->multi, t->easy);
        curl_easy_cleanup(t->easy);
    }
    curl_slist_free_all(t->headers);
    free(t->body);
    *t = (struct transfer){0};
}

// Start *t, which must be zero but for request. url is copied by libcurl.
static enum err transfer_start(struct native_net *net, struct transfer *t,
                               const char *url, const char *bearer)
{
    t->easy = curl_easy_init();
    if (!t->easy || !options_common(net, t, url))
        goto fail;
    if (t->request ? !options_request(t, t->request) : !bearer_add(t, bearer))
        goto fail;
    if (t->headers && curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers))
        goto fail;
    if (curl_multi_add_handle(net->multi, t->easy))
        goto fail;
    return ERR_OK;
fail:
    transfer_release(net, t);
    return ERR_NOMEM;
}

static void held_pump(struct native_net *net)
{
    if (net->held.easy && net->held.done) {
        if (status_of(net->held.easy) == 200)
            net->held_tries = 0;
        transfer_release(net, &net->held);
        net->held_retry_ms =
            native_now_ms() +
            native_backoff_ms(net->held_tries++, HOLD_BACKOFF_MAX_MS);
    }
    if (net->held_url && !net->held.easy &&
        native_now_ms() >= net->held_retry_ms &&
        transfer_start(net, &net->held, net->held_url, net->held_bearer))
        net->held_retry_ms = native_now_ms() + HOLD_BACKOFF_MAX_MS;
}

// Move all transfers on, then wait up to ms for more.
static void pump(struct native_net *net, int64_t ms)
{
    struct curl_waitfd stop = {net->config.stop_fd, CURL_WAIT_POLLIN, 0};
    unsigned n_extra = net->config.stop_fd >= 0 && !net->stopped;
    int running, left;
    CURLMsg *msg;

    held_pump(net);
    if (net->held_url && !net->held.easy) {
        int64_t until = net->held_retry_ms - native_now_ms();

        ms = until < ms ? (until < 0 ? 0 : until) : ms;
    }
    curl_multi_perform(net->multi, &running);
    while ((msg = curl_multi_info_read(net->multi, &left)) != NULL) {
        struct transfer *t = NULL;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &t);
        t->result = msg->data.result;
        t->done = true;
        ms = 0;
    }
    curl_multi_poll(net->multi, &stop, n_extra, (int)ms, NULL);
    if (n_extra && stop.revents)
        net->stopped = true;
}

enum err native_net_new(const struct native_net_config *config,
                        struct native_net **out)
{
    struct native_net *net;

    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return ERR_IO;
    net = calloc(1, sizeof *net);
    if (!net) {
        curl_global_cleanup();
        return ERR_NOMEM;
    }
    net->config = *config;
    net->multi = curl_multi_init();
    if (!net->multi) {
        native_net_free(net);
        return ERR_NOMEM;
    }
    *out = net;
    return ERR_OK;
}

void native_net_free(struct native_net *net)
{
    if (!net)
        return;
    native_net_unhold(net);
    if (net->multi)
        curl_multi_cleanup(net->multi);
    free(net);
    curl_global_cleanup();
}

static enum err transfer_result(struct native_net *net, struct transfer *t)
{
    if (t->err)
        return t->err;
    if (t->result) {
        snprintf(net->why, sizeof net->why, "%s",
                 t->why[0] ? t->why : curl_easy_strerror(t->result));
        return ERR_IO;
    }
    return ERR_OK;
}

static void reply_fill(struct transfer *t, struct native_reply *out)
{
    struct curl_header *header;

    *out = (struct native_reply){
        .status = status_of(t->easy), .body = t->body, .len = t->len};
    t->body = NULL;
    if (t->request->want_header &&
        !curl_easy_header(t->easy, t->request->want_header, 0, CURLH_HEADER, -1,
                          &header))
        snprintf(out->header, sizeof out->header, "%s", header->value);
}

enum err native_net_do(struct native_net *net,
                       const struct native_request *request,
                       struct native_reply *out)
{
    struct transfer t = {.request = request};
    enum err err = ERR_OK;

    net->why[0] = '\0';
    err = transfer_start(net, &t, request->url, NULL);
    if (err)
        return err;
    while (!t.done) {
        if (net->stopped && !request->parting) {
            err = ERR_GONE;
            goto done;
        }
        pump(net, POLL_MAX_MS);
    }
    err = transfer_result(net, &t);
    if (err == ERR_FULL)
        snprintf(net->why, sizeof net->why, "the reply is over %zu bytes",
                 request->reply_max);
    if (err)
        goto done;
    if (!t.body) { // an empty reply still has its NUL
        t.body = calloc(1, 1);
        if (!t.body) {
            err = ERR_NOMEM;
            goto done;
        }
    }
    reply_fill(&t, out);

done:
    transfer_release(net, &t);
    return err;
}

void native_reply_release(struct native_reply *reply)
{
    free(reply->body);
    *reply = (struct native_reply){0};
}

const char *native_net_why(const struct native_net *net)
{
    return net->why[0] ? net->why : "the network failed";
}

void native_reply_why(const struct native_reply *reply, char *why,
                      size_t why_len)
{
    json_t *root = json_loadb((const char *)reply->body, reply->len, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *param = json_string_value(json_object_get(error, "param"));

    if (message && param)
        snprintf(why, why_len, "%s (%s, HTTP status %ld)", message, param,
                 reply->status);
    else if (message)
        snprintf(why, why_len, "%s (HTTP status %ld)", message, reply->status);
    else
        snprintf(why, why_len, "the server answered with HTTP status %ld",
                 reply->status);
    json_decref(root);
}

enum err native_net_hold(struct native_net *net, const char *url,
                         const char *bearer)
{
    native_net_unhold(net);
    net->held_url = strdup(url);
    net->held_bearer = strdup(bearer);
    if (!net->held_url || !net->held_bearer) {
        native_net_unhold(net);
        return ERR_NOMEM;
    }
    net->held_retry_ms = 0;
    net->held_tries = 0;
    return ERR_OK;
}

void native_net_unhold(struct native_net *net)
{
    transfer_release(net, &net->held);
    free(net->held_url);
    free(net->held_bearer);
    net->held_url = net->held_bearer = NULL;
}

void native_net_wait(struct native_net *net, int64_t ms)
{
    if (ms > 0 && !net->stopped)
        pump(net, ms < POLL_MAX_MS ? ms : POLL_MAX_MS);
}

void native_net_sleep(struct native_net *net, int64_t ms)
{
    int64_t end = native_now_ms() + ms;

    for (int64_t now; !net->stopped && (now = native_now_ms()) < end;)
        native_net_wait(net, end - now);
}

void native_net_wake(struct native_net *net)
{
    curl_multi_wakeup(net->multi);
}

bool native_net_stopped(const struct native_net *net)
{
    return net->stopped;
}
