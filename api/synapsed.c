// synapsed - the server: one process, one event loop, no state of its own.
#define _XOPEN_SOURCE 700 // realpath

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <curl/curl.h>

#include "api/ask.h"
#include "api/callbacks.h"
#include "api/clock.h"
#include "api/file_routes.h"
#include "api/files.h"
#include "api/http.h"
#include "api/ingest.h"
#include "api/log.h"
#include "api/output.h"
#include "api/presence.h"
#include "api/receipt.h"
#include "api/receipt_routes.h"
#include "api/redis_child.h"
#include "api/referee_child.h"
#include "api/result_line.h"
#include "api/routes.h"
#include "api/secret.h"
#include "api/server.h"
#include "scheduler/job.h"
#include "scheduler/model.h"

enum {
    WHY_MAX = 512,
    PEM_MAX = 1 << 20,
    DRAIN_MS = 5000, // for requests under way to end
    DRAIN_TICK_MS = 20,
    GOODBYE_MS = 1000, // for the referee's parting call
};

// Say what is wrong on stderr, for the person who started us.
static bool complain(const char *what, const char *why)
{
    fprintf(stderr, "synapsed: %s: %s\n", what, why);
    return false;
}

// ---- the store ----

static void models_put(struct api_server *server);

static void on_model_put(enum err err, void *ctx)
{
    struct api_server *server = ctx;

    if (err && sched_store_up(server->store))
        api_log(API_LOG_ERROR, "model_put", "error=\"%s\"", err_text(err));
    else if (!err)
        server->models_put = true;
}

// What each shard takes of a volunteer's memory, and costs a row; the caller's
// to free, NULL if memory ran out.
static struct sched_shard *shard_sizes(const struct api_model *m)
{
    const struct arch *arch = &m->manifest.arch;
    uint32_t n = m->manifest.n_shards;
    struct sched_shard *sizes = calloc(n ? n : 1, sizeof *sizes);

    for (uint32_t i = 0; sizes && i < n; i++) {
        const struct manifest_shard *s = &m->manifest.shards[i];

        sizes[i].n_bytes = s->file.n_bytes;
        sizes[i].kv_bytes = (uint64_t)(s->layer_end - s->layer_first) *
                            arch->n_ctx * arch->n_kv_heads *
                            (2 * (uint64_t)arch->head_dim + 2);
        sizes[i].scratch_bytes =
            manifest_scratch(arch, s->layer_end == arch->n_layers);
        sizes[i].n_params = s->n_params;
        sizes[i].n_layers = s->layer_end - s->layer_first;
    }
    return sizes;
}

// Tell the store which models there are; at every connect, as it may be new.
static void models_put(struct api_server *server)
{
    for (size_t i = 0; i < server->models.n; i++) {
        const struct api_model *m = &server->models.items[i];
        struct sched_shard *shards = shard_sizes(m);
        struct sched_model model = {
            .name = m->manifest.name,
            .n_shards = (uint16_t)m->manifest.n_shards,
            .n_vocab = m->manifest.arch.n_vocab,
            .context = m->manifest.arch.n_ctx,
            .n_params = m->n_params,
            .n_ends = m->manifest.arch.n_ends,
            .dim = m->manifest.arch.d_model,
            .shards = shards,
        };

        memcpy(model.id, m->id, sizeof model.id);
        memcpy(model.ends, m->manifest.arch.ends, sizeof m->manifest.arch.ends);
        if (!shards ||
            sched_model_put(server->store, &model, on_model_put, server))
            api_log(API_LOG_WARN, "model_put", "model=%s error=later",
                    m->manifest.name);
        free(shards);
    }
}

_Static_assert((int)ARCH_ENDS_MAX <= (int)SCHED_ENDS_MAX, "ends do not fit");

static void on_store(bool up, const char *why, void *ctx)
{
    struct api_server *server = ctx;

    if (up) {
        api_log(API_LOG_INFO, "store_up", "redis=ok");
        api_signer_load(server);
        models_put(server);
    } else {
        api_log(API_LOG_WARN, "store_down", "why=\"%s\"", why ? why : "");
    }
}

static struct sched_cut on_cut(const struct sched_cut_ask *ask, void *ctx)
{
    struct api_server *server = ctx;

    return api_result_cut(ask, &server->models);
}

static void on_job(void *ctx)
{
    struct api_server *server = ctx;

    api_ingest_look(server->ingest);
    api_output_look(server->output);
    api_callbacks_look(server->callbacks);
    api_file_expiry_look(server);
}

static bool store_start(struct api_server *server)
{
    char address[API_PATH_MAX];
    struct sched_store_options options = {
        .base = server->base,
        .address = server->options.redis,
        .cut = on_cut,
        .on_state = on_store,
        .ctx = server,
    };
    struct sched_policy policy;
    enum err err = ERR_OK;

    sched_policy_init(&policy);
    policy.grace_ms = server->options.grace_ms;
    policy.keep_ms = (int64_t)server->options.retention_days * 24 * 3600 * 1000;
    policy.log_bytes = server->options.log_bytes;
    policy.new_free = server->options.new_accounts;
    policy.new_accounts = server->options.new_accounts_max;
    policy.new_bits = server->options.new_bits;
    policy.new_volunteers = server->options.new_volunteers;
    policy.new_units = server->options.new_units;
    options.policy = &policy;
    if (!server->options.redis[0]) {
        err = api_redis_child_start(server->base, server->options.data,
                                    &server->redis);
        if (err)
            return complain("cannot start redis-server",
                            err == ERR_NOT_FOUND
                                ? "it is not installed (or name one by "
                                  "--redis)"
                                : err_text(err));
        err = api_redis_address(server->options.data, address);
        options.address = address;
    }
    if (!err)
        err = sched_store_new(&options, &server->store);
    if (err)
        return complain("--redis", err == ERR_FORMAT
                                       ? "write unix:/path or HOST:PORT"
                                       : err_text(err));
    sched_job_watch(server->store, on_job, server);
    return true;
}

// ---- folders ----

static bool folder_make(const char *path)
{
    if (mkdir(path, 0700) && errno != EEXIST)
        return complain(path, strerror(errno));
    return true;
}

// The data folder, locked: one synapsed a folder.
static bool data_open(struct api_server *server)
{
    struct api_options *opt = &server->options;
    char path[API_PATH_MAX + 32], *full;
    int fd;

    if (!folder_make(opt->data))
        return false;
    full = realpath(opt->data, NULL);
    if (!full || strlen(full) >= 4000) {
        free(full);
        return complain(opt->data, "no such folder, or too long a path");
    }
    snprintf(opt->data, sizeof opt->data, "%s", full);
    free(full);
    snprintf(path, sizeof path, "%s/synapsed.lock", opt->data);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return complain(path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        return complain(opt->data,
                        "another synapsed uses this data folder (give each "
                        "its own --data; with --redis they may share a grid)");
    }
    return true; // the lock lasts as long as the process
}

static bool folders_open(struct api_server *server)
{
    struct api_options *opt = &server->options;
    char *full = realpath(opt->models, NULL);

    if (full && strlen(full) < sizeof opt->models)
        snprintf(opt->models, sizeof opt->models, "%s", full);
    free(full);
    if (!data_open(server) || !folder_make(opt->files))
        return false;
    server->files_fd = open(opt->files, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (server->files_fd < 0)
        return complain(opt->files, strerror(errno));
    api_files_sweep(server->files_fd);
    server->web_fd = open(opt->web, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (server->web_fd < 0)
        api_log(API_LOG_WARN, "no_pages", "web=\"%s\" error=\"%s\"", opt->web,
                strerror(errno));
    return true;
}

// ---- listening ----

// The text of a file. NULL if it cannot be read.
static char *text_read(const char *path)
{
    char *text = NULL;
    FILE *f = fopen(path, "rbe");
    size_t n;

    if (f)
        text = malloc(PEM_MAX + 1);
    if (text) {
        n = fread(text, 1, PEM_MAX, f);
        text[n] = '\0';
        if (n == 0 || n == PEM_MAX || ferror(f)) {
            free(text);
            text = NULL;
        }
    }
    if (f)
        fclose(f);
    return text;
}

static bool listen_fail(const struct api_options *opt, enum err err)
{
    char what[320];

    snprintf(what, sizeof what, "cannot listen on %s:%u", opt->host, opt->port);
    switch (err) {
    case ERR_EXISTS:
        return complain(what, "the port is taken (--listen ADDR:0 takes a "
                              "free one)");
    case ERR_DENIED:
        return complain(what, "not allowed (ports below 1024 need root)");
    case ERR_RANGE:
        return complain(what, "no such address on this machine");
    case ERR_FORMAT:
        return complain("--tls-cert, --tls-key",
                        "no certificate and key that fit together");
    default:
        return complain(what, err_text(err));
    }
}

static bool listen_start(struct api_server *server)
{
    const struct api_options *opt = &server->options;
    struct api_http_config config = {
        .host = opt->host,
        .port = opt->port,
        .max_clients = opt->max_clients,
        .max_body = opt->max_body,
        .read_ms = opt->read_ms,
        .routes = api_routes,
        .n_routes = api_n_routes,
        .fallback = &api_route_page,
        .server = server,
    };
    char *cert = NULL, *key = NULL;
    bool ok = false;
    enum err err;

    if (opt->tls_cert[0]) {
        cert = text_read(opt->tls_cert);
        key = text_read(opt->tls_key);
        if (!cert || !key) {
            complain(!cert ? opt->tls_cert : opt->tls_key, "cannot be read");
            goto done;
        }
        config.tls_cert = cert;
        config.tls_key = key;
    }
    err = api_http_start(server->base, &config, &server->http);
    if (err) {
        listen_fail(opt, err);
        goto done;
    }
    if (cert && !opt->no_referee) {
        // The referee comes in by plain http, whatever name the certificate
        // is for.
        config.tls_cert = config.tls_key = NULL;
        config.host = "127.0.0.1";
        config.port = 0;
        err = api_http_start(server->base, &config, &server->inner);
        if (err) {
            listen_fail(opt, err);
            goto done;
        }
    }
    ok = true;

done:
    free(cert);
    free(key);
    return ok;
}

// Where we listen, as a URL that works from this machine.
static void url_of(const struct api_server *server, bool inner, char *out,
                   size_t cap)
{
    const struct api_options *opt = &server->options;
    const char *host = opt->host;
    bool six = strchr(host, ':') != NULL;

    if (inner && server->inner) {
        snprintf(out, cap, "http://127.0.0.1:%u", api_http_port(server->inner));
        return;
    }
    if (strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    else if (strcmp(host, "::") == 0)
        host = "::1";
    snprintf(out, cap, "%s://%s%s%s:%u", opt->tls_cert[0] ? "https" : "http",
             six ? "[" : "", host, six ? "]" : "", api_http_port(server->http));
}

static void referee_start(struct api_server *server)
{
    char program[API_PATH_MAX + 16], url[320];
    struct api_referee_config config = {
        .program = program,
        .url = url,
        .models = server->options.models,
        .data = server->options.data,
        .operator_key = server->operator_key,
    };
    enum err err;

    if (server->options.no_referee)
        return;
    snprintf(program, sizeof program, "%s/synapse", server->options.bin);
    url_of(server, true, url, sizeof url);
    err = api_referee_child_start(server->base, &config, &server->referee);
    if (err)
        api_log(API_LOG_ERROR, "referee_start", "program=\"%s\" error=\"%s\"",
                program, err_text(err));
}

// ---- going down ----

// Requests under way.
static size_t n_requests(const struct api_server *server)
{
    return (server->http ? api_http_n_requests(server->http) : 0) +
           (server->inner ? api_http_n_requests(server->inner) : 0);
}

static void on_drain_tick(evutil_socket_t fd, short what, void *arg)
{
    struct api_server *server = arg;
    size_t n = n_requests(server);

    (void)fd, (void)what;
    // The referee may still say goodbye; then nobody new comes in.
    if (!server->closed &&
        (api_referee_child_is_gone(server->referee) ||
         api_clock_ms() > server->drain_until_ms - DRAIN_MS + GOODBYE_MS)) {
        server->closed = true;
        api_http_drain(server->http);
        if (server->inner)
            api_http_drain(server->inner);
    }
    if ((n == 0 && server->closed) || api_clock_ms() >= server->drain_until_ms)
        event_base_loopbreak(server->base);
}

static void on_signal(evutil_socket_t signal, short what, void *arg)
{
    struct api_server *server = arg;
    struct timeval tick = {0, DRAIN_TICK_MS * 1000L};

    (void)what;
    if (server->draining) { // asked twice: at once
        event_base_loopbreak(server->base);
        return;
    }
    api_log(API_LOG_INFO, "draining", "signal=%d", (int)signal);
    server->draining = true;
    api_referee_child_end(server->referee);
    server->drain_until_ms = api_clock_ms() + DRAIN_MS;
    sched_store_drain(server->store);
    api_presence_drain(server);
    api_ask_drain(server);
    event_add(server->drain_tick, &tick);
}

static void on_child(evutil_socket_t signal, short what, void *arg)
{
    struct api_server *server = arg;

    (void)signal, (void)what;
    if (server->redis)
        api_redis_child_look(server->redis);
    if (server->referee)
        api_referee_child_look(server->referee);
}

static bool signals_start(struct api_server *server)
{
    struct event_base *base = server->base;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    server->signals[0] = evsignal_new(base, SIGTERM, on_signal, server);
    server->signals[1] = evsignal_new(base, SIGINT, on_signal, server);
    server->signals[2] = evsignal_new(base, SIGCHLD, on_child, server);
    server->drain_tick = event_new(base, -1, EV_PERSIST, on_drain_tick, server);
    for (int i = 0; i < 3; i++) {
        if (!server->signals[i] || event_add(server->signals[i], NULL))
            return complain("signals", "out of memory");
    }
    return server->drain_tick != NULL;
}

// In this order: first what could come back to a request, then the requests.
static void server_stop(struct api_server *server)
{
    api_referee_child_stop(server->referee);
    if (server->http)
        api_http_abort(server->http);
    if (server->inner)
        api_http_abort(server->inner);
    sched_store_free(server->store); // what is outstanding is answered now
    server->store = NULL;
    api_ingest_free(server->ingest);
    api_output_free(server->output);
    api_callbacks_free(server->callbacks);
    api_http_free(server->http);
    api_http_free(server->inner);
    api_redis_child_stop(server->redis);
    api_models_release(&server->models);
    api_signer_free(server->signer);
    for (size_t i = 0; i < 4; i++) {
        if (server->signals[i])
            event_free(server->signals[i]);
    }
    if (server->drain_tick)
        event_free(server->drain_tick);
    if (server->base)
        event_base_free(server->base);
    if (server->files_fd >= 0)
        close(server->files_fd);
    if (server->web_fd >= 0)
        close(server->web_fd);
}

// ---- coming up ----

static struct event_base *base_make(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    // Held requests see their clients leave by this.
    if (config &&
        !event_config_require_features(config, EV_FEATURE_EARLY_CLOSE))
        base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    return base;
}

// As many descriptors as we may have.
static void limit_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool server_start(struct api_server *server)
{
    char why[WHY_MAX] = "", url[320];

    server->base = base_make();
    if (!server->base)
        return complain("event loop", "epoll is missing on this system");
    if (api_secret_token(server->operator_key))
        return complain("randomness", "the system has none");
    if (api_models_load(server->options.models, &server->models, why,
                        sizeof why))
        return complain("--models", why);
    for (size_t i = 0; i < server->options.n_aliases; i++)
        if (api_models_alias(&server->models, server->options.aliases[i], why,
                             sizeof why))
            return complain("--alias", why);
    if (!folders_open(server) || !signals_start(server))
        return false;
    if (api_ingest_new(server, &server->ingest) ||
        api_output_new(server, &server->output) ||
        api_callbacks_new(server, &server->callbacks))
        return complain("start", "out of memory");
    if (!listen_start(server) || !store_start(server))
        return false;
    referee_start(server);
    url_of(server, false, url, sizeof url);
    printf("synapsed: listening on %s\n", url);
    fflush(stdout);
    api_log(API_LOG_INFO, "listening", "url=%s models=%zu", url,
            server->models.n);
    return true;
}

int main(int argc, char **argv)
{
    static struct api_server server = {.files_fd = -1, .web_fd = -1};
    size_t cut;
    int status;

    if (api_options_parse(&server.options, argc, argv, &status))
        return status;
    setlocale(LC_NUMERIC, "C");
    umask(077);
    limit_raise();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    status = 1;
    if (server_start(&server)) {
        event_base_dispatch(server.base);
        status = 0;
    }
    cut = n_requests(&server);
    server_stop(&server);
    curl_global_cleanup();
    if (status == 0)
        api_log(API_LOG_INFO, "stopped", "status=0 cut=%zu", cut);
    return status;
}
