// submit.c - `synapse submit`: a file of prompts becomes a batch, and its
// results come back as JSON Lines.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "native/net.h"

static const char help[] =
    "usage: synapse submit URL FILE.jsonl [options]\n"
    "\n"
    "FILE has one request a line, {\"custom_id\", \"prompt\", \"max_tokens\",\n"
    "\"temperature\", \"top_p\", \"seed\", \"stop\"}, or lines of the OpenAI "
    "batch\n"
    "format, {\"custom_id\", \"body\": {...}}; - is stdin. Results are written "
    "as\n"
    "they are confirmed. The exit status is 0 only if every line succeeded.\n"
    "\n"
    "  --key K          API key (default: the variable SYNAPSE_API_KEY)\n"
    "  --model M        model (default: the server's only one)\n"
    "  --callback URL   have the finished batch posted there, signed\n"
    "  --out FILE       results go there (default: stdout)\n"
    "  --no-wait        print the batch's id and leave\n"
    "  --cacert FILE    trust these certificates (PEM) instead of the "
    "system's\n";

enum {
    OPT_KEY = 1,
    OPT_MODEL,
    OPT_CALLBACK,
    OPT_OUT,
    OPT_NO_WAIT,
    OPT_CACERT,
    OPT_HELP,

    REPLY_MAX = 256 << 20,
    SUBMIT_TIMEOUT_MS = 600000,
    ASK_TIMEOUT_MS = 30000,
    ASK_FIRST_MS = 100, // between two looks at the batch; doubles
    ASK_LAST_MS = 1000,
    BACKOFF_MAX_MS = 5000,
    PAGE_LINES = 1000,
    ID_MAX = 96,
};

static const struct option longopts[] = {
    {"key", required_argument, NULL, OPT_KEY},
    {"model", required_argument, NULL, OPT_MODEL},
    {"callback", required_argument, NULL, OPT_CALLBACK},
    {"out", required_argument, NULL, OPT_OUT},
    {"no-wait", no_argument, NULL, OPT_NO_WAIT},
    {"cacert", required_argument, NULL, OPT_CACERT},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

struct submit {
    const char *argv0;
    char url[NATIVE_URL_MAX / 2]; // the server's
    const char *file, *key, *model, *callback, *out_path, *cacert;
    bool wait;

    struct native_net *net;
    FILE *out;
    char id[ID_MAX];   // the batch's
    uint64_t after;    // result lines read
    uint64_t n_failed; // of these
    struct cli_progress bar;
};

// What a look at the batch told.
struct standing {
    char status[24];
    uint64_t n_total, n_done, n_failed; // done: completed or failed
};

static int options_read(int argc, char **argv, struct submit *s)
{
    size_t len;
    int opt;

    while ((opt = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        switch (opt) {
        case OPT_KEY:
            s->key = optarg;
            break;
        case OPT_MODEL:
            s->model = optarg;
            break;
        case OPT_CALLBACK:
            s->callback = optarg;
            break;
        case OPT_OUT:
            s->out_path = optarg;
            break;
        case OPT_NO_WAIT:
            s->wait = false;
            break;
        case OPT_CACERT:
            s->cacert = optarg;
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return CLI_OK;
        default:
            return cli_usage(argv[0], "bad option");
        }
    }
    if (argc - optind != 2)
        return cli_usage(argv[0], "URL and FILE.jsonl are needed");
    if (!s->key || !*s->key)
        return cli_usage(argv[0], "an API key is needed: --key or "
                                  "SYNAPSE_API_KEY");
    len = strlen(argv[optind]);
    while (len && argv[optind][len - 1] == '/')
        len--;
    if (len >= sizeof s->url || (strncmp(argv[optind], "http://", 7) != 0 &&
                                 strncmp(argv[optind], "https://", 8) != 0))
        return cli_usage(argv[0], "%s: not an http or https URL", argv[optind]);
    memcpy(s->url, argv[optind], len);
    s->url[len] = '\0';
    s->file = argv[optind + 1];
    return -1;
}

// A line's request: the object itself, or the body of an OpenAI batch line
// with its custom_id. NULL if it is neither.
static json_t *request_of(json_t *line)
{
    json_t *body = json_object_get(line, "body");
    json_t *id = json_object_get(line, "custom_id");
    json_t *request;

    if (!json_is_object(line))
        return NULL;
    if (!body)
        return json_incref(line);
    if (!json_is_object(body))
        return NULL;
    request = json_copy(body);
    if (request && id)
        json_object_set(request, "custom_id", id);
    return request;
}

// All requests of the file. NULL: the complaint is printed.
static json_t *requests_read(const struct submit *s)
{
    bool is_stdin = strcmp(s->file, "-") == 0;
    FILE *in = is_stdin ? stdin : fopen(s->file, "r");
    json_t *requests = json_array();
    char *text = NULL;
    size_t cap = 0;
    ssize_t len = 0;
    bool ok = in && requests;

    if (!in)
        cli_fail(s->argv0, "%s: %s", s->file, strerror(errno));
    for (size_t n = 1; ok && (len = getline(&text, &cap, in)) != -1; n++) {
        json_error_t why;
        json_t *line, *request;

        if (strspn(text, " \t\r\n") == (size_t)len)
            continue;
        line = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, &why);
        request = line ? request_of(line) : NULL;
        ok = request && !json_array_append_new(requests, request);
        if (!line)
            cli_fail(s->argv0, "%s:%zu: %s", s->file, n, why.text);
        else if (!request)
            cli_fail(s->argv0, "%s:%zu: not an object", s->file, n);
        json_decref(line);
    }
    if (ok && ferror(in)) {
        cli_fail(s->argv0, "%s: %s", s->file, strerror(errno));
        ok = false;
    }
    free(text);
    if (in && !is_stdin)
        fclose(in);
    if (ok)
        return requests;
    json_decref(requests);
    return NULL;
}

// The body of the POST, which takes over requests. NULL without memory.
static char *body_make(const struct submit *s, json_t *requests)
{
    json_t *root = json_pack("{s:o}", "requests", requests);
    char *text;

    if (!root)
        return NULL;
    if (s->model)
        json_object_set_new(root, "model", json_string(s->model));
    if (s->callback)
        json_object_set_new(root, "callback_url", json_string(s->callback));
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

// Keep the new batch's id, and tell what is told only once.
static bool batch_begin(struct submit *s, const struct native_reply *reply)
{
    json_t *root = json_loadb((const char *)reply->body, reply->len, 0, NULL);
    const char *id = json_string_value(json_object_get(root, "id"));
    const char *secret =
        json_string_value(json_object_get(root, "callback_secret"));
    bool ok = id && strlen(id) < sizeof s->id &&
              strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789_-") == strlen(id);

    if (ok) {
        memcpy(s->id, id, strlen(id) + 1);
        fprintf(stderr, "submit: %s\n", s->id);
        if (secret)
            fprintf(stderr, "submit: callback secret %s\n", secret);
    } else {
        cli_fail(s->argv0, "the server's answer names no batch");
    }
    json_decref(root);
    return ok;
}

static bool batch_post(struct submit *s)
{
    char url[NATIVE_URL_MAX], why[NATIVE_WHY_MAX];
    struct native_reply reply;
    json_t *requests = requests_read(s);
    char *body = requests ? body_make(s, requests) : NULL;
    bool ok = false;
    enum err err;

    if (!requests)
        return false;
    if (!body) {
        cli_fail(s->argv0, "out of memory");
        return false;
    }
    snprintf(url, sizeof url, "%s/v1/batches", s->url);
    err = native_net_do(s->net,
                        &(struct native_request){
                            .method = "POST",
                            .url = url,
                            .bearer = s->key,
                            .content_type = "application/json",
                            .body = body,
                            .body_len = strlen(body),
                            .timeout_ms = SUBMIT_TIMEOUT_MS,
                            .reply_max = REPLY_MAX,
                        },
                        &reply);
    free(body);
    if (err) {
        cli_fail(s->argv0, "%s: %s", url,
                 err == ERR_IO ? native_net_why(s->net) : err_text(err));
        return false;
    }
    if (reply.status == 200 || reply.status == 201) {
        ok = batch_begin(s, &reply);
    } else {
        native_reply_why(&reply, why, sizeof why);
        cli_fail(s->argv0, "%s", why);
    }
    native_reply_release(&reply);
    return ok;
}

// GET a route of the batch, again and again while the server is away. False:
// it refuses; the complaint is printed.
static bool ask(struct submit *s, const char *leaf, const char *want_header,
                struct native_reply *out)
{
    char url[NATIVE_URL_MAX], why[NATIVE_WHY_MAX];

    snprintf(url, sizeof url, "%s/v1/batches/%s%s", s->url, s->id, leaf);
    for (unsigned attempt = 0;; attempt++) {
        enum err err = native_net_do(s->net,
                                     &(struct native_request){
                                         .method = "GET",
                                         .url = url,
                                         .bearer = s->key,
                                         .want_header = want_header,
                                         .timeout_ms = ASK_TIMEOUT_MS,
                                         .reply_max = REPLY_MAX,
                                     },
                                     out);

        if (!err && out->status == 200)
            return true;
        if (!err) {
            bool again = out->status >= 500 || out->status == 429;

            native_reply_why(out, why, sizeof why);
            native_reply_release(out);
            if (!again) {
                cli_progress_end(&s->bar);
                cli_fail(s->argv0, "%s", why);
                return false;
            }
        } else {
            snprintf(why, sizeof why, "%s", native_net_why(s->net));
        }
        if (attempt == 3) {
            cli_progress_end(&s->bar);
            fprintf(stderr, "submit: waiting for the server: %s\n", why);
        }
        native_net_sleep(s->net, native_backoff_ms(attempt, BACKOFF_MAX_MS));
    }
}

static uint64_t count_of(const json_t *counts, const char *name)
{
    json_int_t v = json_integer_value(json_object_get(counts, name));

    return v > 0 ? (uint64_t)v : 0;
}

static bool standing_ask(struct submit *s, struct standing *out)
{
    struct native_reply reply;
    json_t *root, *counts;
    const char *status;
    bool ok;

    if (!ask(s, "", NULL, &reply))
        return false;
    root = json_loadb((const char *)reply.body, reply.len, 0, NULL);
    status = json_string_value(json_object_get(root, "status"));
    counts = json_object_get(root, "request_counts");
    ok = status && json_is_object(counts);
    if (ok) {
        snprintf(out->status, sizeof out->status, "%s", status);
        out->n_total = count_of(counts, "total");
        out->n_failed = count_of(counts, "failed");
        out->n_done = out->n_failed + count_of(counts, "completed");
    } else {
        cli_fail(s->argv0, "the server's batch object is malformed");
    }
    json_decref(root);
    native_reply_release(&reply);
    return ok;
}

// Count the lines of a page, and those among them that failed.
static uint64_t lines_count(struct submit *s, const struct native_reply *page)
{
    const char *at = (const char *)page->body, *end = at + page->len;
    uint64_t n = 0;

    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((stop ? stop : end) - at);
        json_t *line = json_loadb(at, len, 0, NULL);

        if (len) {
            n++;
            if (!json_is_null(json_object_get(line, "error")))
                s->n_failed++;
        }
        json_decref(line);
        at += len + 1;
    }
    return n;
}

// Fetch a page of results and write it. *n: how many lines it had.
static bool page_take(struct submit *s, uint64_t *n)
{
    char leaf[64];
    struct native_reply page;
    uint64_t next;
    bool ok;

    snprintf(leaf, sizeof leaf, "/results?after=%" PRIu64 "&limit=%d", s->after,
             PAGE_LINES);
    if (!ask(s, leaf, "X-Synapse-Next", &page))
        return false;
    *n = lines_count(s, &page);
    ok = fwrite(page.body, 1, page.len, s->out) == page.len &&
         fflush(s->out) == 0;
    if (!ok)
        cli_fail(s->argv0, "%s: %s", s->out_path ? s->out_path : "stdout",
                 strerror(errno));
    if (!cli_u64(page.header, 0, UINT64_MAX, &next))
        next = s->after + *n;
    s->after = next;
    native_reply_release(&page);
    return ok;
}

static bool is_over(const char *status)
{
    return strcmp(status, "completed") == 0 || strcmp(status, "failed") == 0 ||
           strcmp(status, "cancelled") == 0;
}

// Follow the batch to its end. The exit status.
static int batch_follow(struct submit *s)
{
    struct standing st = {0};
    int64_t pause_ms = ASK_FIRST_MS;
    uint64_t n_lines = 0, n = 0;

    do {
        if (n_lines || st.status[0])
            native_net_sleep(s->net, pause_ms);
        pause_ms = pause_ms * 2 > ASK_LAST_MS ? ASK_LAST_MS : pause_ms * 2;
        if (!standing_ask(s, &st)) // before the results: none can be missed
            return CLI_FAILED;
        do {
            if (!page_take(s, &n))
                return CLI_FAILED;
            n_lines += n;
        } while (n == PAGE_LINES);
        cli_progress_show(&s->bar, n_lines, st.n_total);
    } while (!is_over(st.status));
    cli_progress_end(&s->bar);
    if (strcmp(st.status, "completed") != 0)
        return cli_fail(s->argv0, "%s is %s", s->id, st.status);
    if (s->n_failed || n_lines != st.n_total)
        return cli_fail(s->argv0, "%" PRIu64 " of %" PRIu64 " lines failed",
                        s->n_failed ? s->n_failed : st.n_total - n_lines,
                        st.n_total);
    fprintf(stderr, "submit: %" PRIu64 " of %" PRIu64 " lines confirmed\n",
            n_lines, st.n_total);
    return CLI_OK;
}

int cli_submit(int argc, char **argv)
{
    struct submit s = {
        .argv0 = argv[0],
        .key = getenv("SYNAPSE_API_KEY"),
        .wait = true,
        .out = stdout,
        .bar = {.title = "submit", .unit = "lines", .scale = 1.0},
    };
    int status = options_read(argc, argv, &s);

    if (status >= 0)
        return status;
    if (native_net_new(
            &(struct native_net_config){.cacert = s.cacert, .stop_fd = -1},
            &s.net))
        return cli_fail(argv[0], "libcurl cannot be started");
    signal(SIGPIPE, SIG_IGN); // a lost connection is an error, no end
    status = CLI_FAILED;
    if (s.out_path)
        s.out = fopen(s.out_path, "w");
    if (!s.out) {
        cli_fail(argv[0], "%s: %s", s.out_path, strerror(errno));
        goto done;
    }
    if (!batch_post(&s))
        goto done;
    if (s.wait) {
        status = batch_follow(&s);
    } else {
        printf("%s\n", s.id);
        status = CLI_OK;
    }

done:
    if (s.out_path && s.out && fclose(s.out) && status == CLI_OK)
        status = cli_fail(argv[0], "%s: %s", s.out_path, strerror(errno));
    native_net_free(s.net);
    return status;
}
