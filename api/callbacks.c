#include "api/callbacks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/batches.h"
#include "api/clock.h"
#include "api/curl_loop.h"
#include "api/guard.h"
#include "api/log.h"
#include "api/secret.h"
#include "api/server.h"
#include "api/webhook.h"
#include "scheduler/callback.h"

enum {
    RUNNING_MAX = 64,
    LEASE_MS = 5000,       // beyond the time that a receiver has
    ANSWER_MAX = 64 << 10, // bytes of the answer that we let come
};

struct api_callbacks {
    struct api_server *server;
    struct api_curl_loop *loop;
    size_t n_running;
    bool taking, again;
};

// One delivery.
struct delivery {
    struct api_callbacks *callbacks;
    char id[SCHED_ID_MAX + 1];
    char type[32];
    char batch[SCHED_ID_MAX + 1];
    char *url, *secret, *old_secret;
    char *custom_id; // of request.completed
    uint64_t line;
    int64_t created_ms, begun_ms;
    uint8_t lease[SCHED_LEASE_LEN];
    uint32_t attempt; // 1 is the first
    char *body;
    struct curl_slist *headers;
    CURL *easy;
    size_t n_answer;
    struct api_guard guard;
};

static void delivery_free(struct delivery *d)
{
    struct api_callbacks *c = d->callbacks;

    c->n_running--;
    curl_easy_cleanup(d->easy);
    curl_slist_free_all(d->headers);
    free(d->body);
    free(d->url);
    free(d->secret);
    free(d->old_secret);
    free(d->custom_id);
    free(d);
    if (c->again)
        api_callbacks_look(c);
}

static void on_tried(enum err err, void *ctx)
{
    struct delivery *d = ctx;

    // If the record was lost, the lease passes and it is tried once more.
    if (err && err != ERR_GONE)
        api_log(API_LOG_WARN, "callback_record", "event=%s error=\"%s\"", d->id,
                err_text(err));
    delivery_free(d);
}

// Tell the store how it went.
static void record(struct delivery *d, long status, const char *why)
{
    struct sched_store *store = d->callbacks->server->store;
    uint32_t jitter = 0;
    int64_t retry_ms = 0;

    if (status < 200 || status > 299) {
        if (api_secret_bytes(&jitter, sizeof jitter))
            jitter = 0; // a retry on the dot does no harm
        retry_ms = sched_callback_delay_ms(d->attempt, jitter);
        if (status == 410) // "gone": Standard Webhooks says stop
            retry_ms = -1;
    }
    api_log(retry_ms ? API_LOG_WARN : API_LOG_INFO,
            retry_ms ? "callback_failed" : "callback_delivered",
            "event=%s batch=%s attempt=%u status=%ld retry_ms=%" PRId64
            " why=\"%s\"",
            d->id, d->batch, d->attempt, status, retry_ms, why);
    struct sched_callback_try how = {
        .status = (int32_t)status,
        .retry_ms = retry_ms,
        .took_ms = d->begun_ms ? api_clock_ms() - d->begun_ms : 0,
        .why = why};

    if (!store ||
        sched_callback_tried(store, d->id, d->lease, &how, on_tried, d))
        delivery_free(d);
}

static void on_done(CURL *easy, CURLcode code, void *ctx)
{
    struct delivery *d = ctx;
    long status = 0;
    const char *why = "";

    if (code == CURLE_ABORTED_BY_CALLBACK) { // we go down: not an attempt
        delivery_free(d);
        return;
    }
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (code && d->guard.refused) {
        status = 0;
        why = "the address is in a private network";
    } else if (status >= 300 && status <= 399) {
        why = "redirects are not followed";
    } else if (code == CURLE_WRITE_ERROR && status >= 200) {
        why = "a long answer"; // its status counts all the same
    } else if (code) {
        status = 0;
        why = curl_easy_strerror(code);
    }
    record(d, status, why);
}

static size_t on_answer(char *buf, size_t size, size_t n, void *ctx)
{
    struct delivery *d = ctx;

    (void)buf;
    d->n_answer += size * n;
    return d->n_answer > ANSWER_MAX ? 0 : size * n;
}

static bool header_add(struct delivery *d, const char *name, const char *value)
{
    char line[2 * API_WEBHOOK_SIGNATURE_MAX + 128];
    struct curl_slist *list;

    snprintf(line, sizeof line, "%s: %s", name, value);
    list = curl_slist_append(d->headers, line);
    if (list)
        d->headers = list;
    return list != NULL;
}

// By its secret, and by the one before while that is valid.
static enum err sign(const struct delivery *d, int64_t unix_s,
                     char out[2 * API_WEBHOOK_SIGNATURE_MAX + 2])
{
    enum err err = api_webhook_sign(d->secret, d->id, unix_s, d->body,
                                    strlen(d->body), out);
    char *end = out + (err ? 0 : strlen(out));

    if (err || !*d->old_secret)
        return err;
    *end++ = ' ';
    return api_webhook_sign(d->old_secret, d->id, unix_s, d->body,
                            strlen(d->body), end);
}

static enum err headers_make(struct delivery *d, int64_t unix_s)
{
    char signature[2 * API_WEBHOOK_SIGNATURE_MAX + 2], stamp[24];
    enum err err = sign(d, unix_s, signature);

    if (err)
        return err;
    snprintf(stamp, sizeof stamp, "%" PRId64, unix_s);
    if (!header_add(d, "Content-Type", "application/json") ||
        !header_add(d, "Expect", "") || !header_add(d, "webhook-id", d->id) ||
        !header_add(d, "webhook-timestamp", stamp) ||
        !header_add(d, "webhook-signature", signature))
        return ERR_NOMEM;
    return ERR_OK;
}

static enum err easy_make(struct delivery *d)
{
    CURL *e = d->easy = curl_easy_init();

    if (!e)
        return ERR_NOMEM;
    curl_easy_setopt(e, CURLOPT_URL, d->url);
    api_guard_set(&d->guard, e,
                  d->callbacks->server->options.allow_private_callbacks);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS,
                     (long)d->callbacks->server->options.callback_ms);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "Synapse/1");
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, d->body);
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)strlen(d->body));
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, d->headers);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, d);
    return ERR_OK;
}

// What an event tells: the batch as it is now, or which line is final.
static json_t *data_make(const struct delivery *d,
                         const struct sched_batch *batch)
{
    if (strcmp(d->type, "request.completed") != 0)
        return api_batch_json(batch);
    return json_pack("{s:s, s:s, s:s, s:I}", "object", "batch.request",
                     "batch_id", batch->id, "custom_id", d->custom_id, "index",
                     (json_int_t)d->line);
}

static char *body_make(const struct delivery *d,
                       const struct sched_batch *batch)
{
    char stamp[80];
    time_t seconds = (time_t)(d->created_ms / 1000);
    struct tm tm;
    json_t *root;
    char *text;

    gmtime_r(&seconds, &tm);
    snprintf(stamp, sizeof stamp, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
             tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec, (int)(d->created_ms % 1000));
    // What OpenAI's client expects, and what Standard Webhooks asks for.
    root = json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", d->id, "object",
                     "event", "created_at", (json_int_t)seconds, "type",
                     d->type, "timestamp", stamp, "data", data_make(d, batch));
    text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

static void on_batch(enum err err, const struct sched_batch *batch, void *ctx)
{
    struct delivery *d = ctx;
    if (err == ERR_NOT_FOUND) { // expired: there is nothing to tell any more
        d->attempt = UINT32_MAX;
        record(d, 410, "the batch is gone");
        return;
    }
    if (!err) {
        d->body = body_make(d, batch);
        err = d->body ? headers_make(d, api_clock_unix_ms() / 1000) : ERR_NOMEM;
    }
    if (!err)
        err = easy_make(d);
    if (!err)
        err = api_curl_loop_add(d->callbacks->loop, d->easy, on_done, d);
    if (err == ERR_FORMAT)
        record(d, 410, "the secret is malformed");
    else if (err) // no memory or no store: the lease passes, and it comes again
        delivery_free(d);
}

static void on_event(enum err err, const struct sched_callback *event,
                     void *ctx)
{
    struct api_callbacks *c = ctx;
    struct delivery *d;

    c->taking = false;
    if (err) {
        c->again = false;
        return;
    }
    d = calloc(1, sizeof *d);
    if (!d)
        return; // the lease passes
    d->callbacks = c;
    c->n_running++;
    snprintf(d->id, sizeof d->id, "%s", event->id);
    snprintf(d->type, sizeof d->type, "%s", event->type);
    snprintf(d->batch, sizeof d->batch, "%s", event->batch);
    memcpy(d->lease, event->lease, sizeof d->lease);
    d->attempt = event->attempts + 1;
    d->created_ms = event->created_ms;
    d->begun_ms = api_clock_ms();
    d->line = event->line;
    d->url = strdup(event->url);
    d->secret = strdup(event->secret);
    d->old_secret = strdup(event->old_secret);
    d->custom_id =
        strndup((const char *)event->custom_id.ptr, event->custom_id.len);
    if (!d->url || !d->secret || !d->old_secret || !d->custom_id ||
        sched_batch_get(c->server->store, d->batch, NULL, on_batch, d))
        delivery_free(d);
    api_callbacks_look(c); // there may be more
}

void api_callbacks_look(struct api_callbacks *c)
{
    if (c->taking || c->n_running == RUNNING_MAX) {
        c->again = true;
        return;
    }
    c->again = false;
    if (c->server->draining || !c->server->store)
        return;
    c->taking = true;
    if (sched_callback_take(c->server->store,
                            c->server->options.callback_ms + LEASE_MS, on_event,
                            c))
        c->taking = false;
}

enum err api_callbacks_new(struct api_server *server,
                           struct api_callbacks **out)
{
    struct api_callbacks *c = calloc(1, sizeof *c);
    enum err err;

    if (!c)
        return ERR_NOMEM;
    c->server = server;
    err = api_curl_loop_new(server->base, &c->loop);
    if (err) {
        free(c);
        return err;
    }
    *out = c;
    return ERR_OK;
}

void api_callbacks_free(struct api_callbacks *c)
{
    if (!c)
        return;
    api_curl_loop_free(c->loop);
    free(c);
}
