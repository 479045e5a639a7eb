#include "scheduler/stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/accounts.h"
#include "api/http.h"
#include "api/reply.h"
#include "api/server.h"
#include "api/stats.h"

static json_t *volunteer_json(const struct sched_volunteer_stats *v)
{
    static const char *const doing[] = {"idle", "waiting", "computing",
                                        "checking"};

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:f, s:I, s:I}", "name", v->name, "backend",
        v->backend, "account", v->account, "state", doing[v->doing], "referee",
        v->referee, "tokens_per_s", v->tokens_per_s, "units",
        (json_int_t)v->units, "sequences", (json_int_t)v->sequences);
}

static json_t *models_json(const struct api_models *models)
{
    json_t *list = json_array();

    for (size_t i = 0; i < models->n; i++) {
        const struct api_model *m = &models->items[i];

        json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "name",
                                              m->manifest.name, "id", m->id_hex,
                                              "bytes", (json_int_t)m->n_bytes));
    }
    return list;
}

static void on_stats(enum err err, const struct sched_stats *s, void *ctx)
{
    struct api_request *req = ctx;
    json_t *volunteers;

    if (err) {
        api_reply_err(req, err);
        return;
    }
    volunteers = json_array();
    for (size_t i = 0; i < s->n_volunteers; i++)
        json_array_append_new(volunteers, volunteer_json(&s->volunteers[i]));
    api_reply_json(
        req, 200,
        json_pack(
            "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:I, "
            "s:I, s:I, s:f, s:I, s:I, s:o}",
            "volunteers", volunteers, "online", (json_int_t)s->online,
            "referees", (json_int_t)s->referees, "queued",
            (json_int_t)s->queued, "running", (json_int_t)s->running,
            "checking", (json_int_t)s->checking, "confirmed_lines",
            (json_int_t)s->confirmed, "failed_lines", (json_int_t)s->failed,
            "tokens", (json_int_t)s->tokens, "tokens_per_s", s->tokens_per_s,
            "disagreements", (json_int_t)s->disagreements, "rollbacks",
            (json_int_t)s->rollbacks, "bans", (json_int_t)s->bans,
            "longest_check_wait_s", (double)s->check_wait_ms / 1000, "checks",
            (json_int_t)s->checks, "callbacks", (json_int_t)s->callbacks,
            "models", models_json(&req->server->models)));
}

void api_stats_get(struct api_request *req)
{
    enum err err = sched_stats_get(req->server->store, on_stats, req);

    if (err)
        api_reply_err(req, err);
}

static void on_ranks(enum err err, const struct sched_rank *ranks, size_t n,
                     uint64_t total, void *ctx)
{
    struct api_request *req = ctx;
    json_t *data;

    if (err) {
        api_reply_err(req, err);
        return;
    }
    data = json_array();
    for (size_t i = 0; i < n; i++) {
        const struct sched_rank *r = &ranks[i];

        json_array_append_new(
            data,
            json_pack(
                "{s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:b, s:o, s:b}",
                "rank", (json_int_t)r->rank, "account", r->account, "name",
                r->name, "credit", (json_int_t)r->credit, "units",
                (json_int_t)r->units, "tokens", (json_int_t)r->tokens, "checks",
                (json_int_t)r->checks, "disagreements",
                (json_int_t)r->disagreements, "backends",
                api_account_backends(r->backends), "banned", r->banned,
                "reliability",
                api_account_reliability(r->agreed, r->disagreements), "online",
                r->online));
    }
    api_reply_json(req, 200,
                   json_pack("{s:s, s:I, s:o}", "object", "list", "total",
                             (json_int_t)total, "data", data));
}

void api_stats_ranks(struct api_request *req)
{
    uint64_t offset, limit;
    enum err err;

    if (!api_request_query_u64(req, "offset", 0, 1000000000, 0, &offset) ||
        !api_request_query_u64(req, "limit", 1, 100, 50, &limit))
        return;
    err = sched_stats_ranks(req->server->store, offset, (uint32_t)limit,
                            on_ranks, req);
    if (err)
        api_reply_err(req, err);
}

// ---- metrics, in the text format of Prometheus ----

static void metric(FILE *out, const char *name, const char *type,
                   const char *help, double value)
{
    fprintf(out,
            "# HELP synapse_%s %s\n# TYPE synapse_%s %s\nsynapse_%s %.17g\n",
            name, help, name, type, name, value);
}

static void http_metrics(FILE *out, const struct api_http *http)
{
    struct api_http_counts c;

    api_http_counts(http, &c);
    metric(out, "http_requests_total", "counter", "Requests begun.",
           (double)c.requests);
    metric(out, "http_connections", "gauge", "Connections open.",
           c.connections);
    fputs("# HELP synapse_http_answers_total Answers by status class.\n"
          "# TYPE synapse_http_answers_total counter\n",
          out);
    for (int i = 2; i < 6; i++)
        fprintf(out, "synapse_http_answers_total{class=\"%dxx\"} %" PRIu64 "\n",
                i, c.answers[i]);
}

static void grid_metrics(FILE *out, const struct sched_stats *s)
{
    metric(out, "volunteers", "gauge", "Volunteers online.", (double)s->online);
    metric(out, "referees", "gauge", "Referees online.", (double)s->referees);
    metric(out, "lines_queued", "gauge", "Lines that wait.", (double)s->queued);
    metric(out, "lines_running", "gauge", "Lines under way.",
           (double)s->running);
    metric(out, "lines_checking", "gauge", "Lines being checked.",
           (double)s->checking);
    metric(out, "lines_confirmed_total", "counter", "Lines confirmed.",
           (double)s->confirmed);
    metric(out, "lines_failed_total", "counter", "Error lines.",
           (double)s->failed);
    metric(out, "tokens_total", "counter", "Tokens of confirmed lines.",
           (double)s->tokens);
    metric(out, "tokens_per_second", "gauge", "Over the last ten seconds.",
           s->tokens_per_s);
    metric(out, "units_total", "counter", "Units of work done.",
           (double)s->units);
    metric(out, "units_leased", "gauge", "Units out now.",
           (double)s->units_out);
    metric(out, "faults_total", "counter", "Results refused.",
           (double)s->faults);
    metric(out, "disagreements_total", "counter", "Wrong answers found.",
           (double)s->disagreements);
    metric(out, "rollbacks_total", "counter", "Sequences rolled back.",
           (double)s->rollbacks);
    metric(out, "bans_total", "counter", "Accounts banned.", (double)s->bans);
    metric(out, "checks_total", "counter", "Checks given out.",
           (double)s->checks);
    metric(out, "check_wait_longest_seconds", "gauge",
           "The longest that a line waited for its check to start, ever.",
           (double)s->check_wait_ms / 1000);
    metric(out, "span_rows_total", "counter",
           "Rows of generated tokens that spans of split models computed.",
           (double)s->span_rows);
    metric(out, "span_rows_lost_total", "counter",
           "Of these, those lost with a volunteer and computed again.",
           (double)s->span_rows_lost);
    metric(out, "span_rows_rebuilt_total", "counter",
           "Rows computed to have their KV on another volunteer.",
           (double)s->span_rows_rebuilt);
    metric(out, "jobs", "gauge", "Jobs waiting or due.", (double)s->jobs);
    metric(out, "callbacks", "gauge", "Callbacks waiting or due.",
           (double)s->callbacks);
}

static void metrics_reply(struct api_request *req, const struct sched_stats *s)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (!out) {
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    metric(out, "store_up", "gauge", "1 if Redis answers.", s ? 1 : 0);
    http_metrics(out, req->server->http);
    if (s)
        grid_metrics(out, s);
    if (fclose(out) || !text)
        api_reply_err(req, ERR_NOMEM);
    else
        api_reply_bytes(req, 200, "text/plain; version=0.0.4; charset=utf-8",
                        text, len, NULL, NULL);
    free(text);
}

static void on_metrics(enum err err, const struct sched_stats *s, void *ctx)
{
    metrics_reply(ctx, err ? NULL : s);
}

void api_stats_metrics(struct api_request *req)
{
    if (sched_stats_get(req->server->store, on_metrics, req))
        metrics_reply(req, NULL);
}

// ---- health ----

static void on_ping(enum err err, void *ctx)
{
    struct api_request *req = ctx;
    bool ok = !err && req->server->models_put && !req->server->draining;

    api_reply_json(req, ok ? 200 : 503,
                   json_pack("{s:s, s:b}", "status",
                             ok                      ? "ok"
                             : req->server->draining ? "draining"
                             : err                   ? "store_down"
                                                     : "starting",
                             "store", !err));
}

void api_stats_health(struct api_request *req)
{
    enum err err = sched_store_ping(req->server->store, on_ping, req);

    if (err)
        on_ping(err, req);
}
