// plan.c - `synapse plan`: who is to hold which part of which model on the grid
// at a URL; the operator may pin it.
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "native/net.h"

static const char help[] =
    "usage: synapse plan URL [options]\n"
    "\n"
    "Show how models are split over the volunteers that cannot hold them "
    "whole.\n"
    "With --path, --span or --unpin, pin it; that needs a key that may "
    "operate.\n"
    "\n"
    "  --model M        the model to pin\n"
    "  --path A,B,..    where it is cut: the shards at which a span begins\n"
    "  --volunteer V    pin what this one is to hold, by id or name\n"
    "  --span A-B       shards A up to B, B excluded\n"
    "  --unpin          let the grid decide again\n"
    "  --json           show the server's answer as it is\n"
    "  --key K          API key (default: the variable SYNAPSE_API_KEY)\n"
    "  --cacert FILE    trust these certificates (PEM) instead of the "
    "system's\n";

enum {
    OPT_MODEL = 1,
    OPT_PATH,
    OPT_VOLUNTEER,
    OPT_SPAN,
    OPT_UNPIN,
    OPT_JSON,
    OPT_KEY,
    OPT_CACERT,
    OPT_HELP,

    REPLY_MAX = 16 << 20,
    TIMEOUT_MS = 30000,
};

static const struct option longopts[] = {
    {"model", required_argument, NULL, OPT_MODEL},
    {"path", required_argument, NULL, OPT_PATH},
    {"volunteer", required_argument, NULL, OPT_VOLUNTEER},
    {"span", required_argument, NULL, OPT_SPAN},
    {"unpin", no_argument, NULL, OPT_UNPIN},
    {"json", no_argument, NULL, OPT_JSON},
    {"key", required_argument, NULL, OPT_KEY},
    {"cacert", required_argument, NULL, OPT_CACERT},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

struct asked {
    const char *argv0, *model, *path, *volunteer, *span, *key;
    bool unpin, json;
    char url[NATIVE_URL_MAX];
    struct native_net_config net;
};

static int options_read(int argc, char **argv, struct asked *a)
{
    int opt;

    while ((opt = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        switch (opt) {
        case OPT_MODEL:
            a->model = optarg;
            break;
        case OPT_PATH:
            a->path = optarg;
            break;
        case OPT_VOLUNTEER:
            a->volunteer = optarg;
            break;
        case OPT_SPAN:
            a->span = optarg;
            break;
        case OPT_UNPIN:
            a->unpin = true;
            break;
        case OPT_JSON:
            a->json = true;
            break;
        case OPT_KEY:
            a->key = optarg;
            break;
        case OPT_CACERT:
            a->net.cacert = optarg;
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return -1;
        default:
            return CLI_USAGE;
        }
    }
    if (optind + 1 != argc)
        return cli_usage(argv[0], "one URL is wanted");
    size_t len = strlen(argv[optind]);
    while (len && argv[optind][len - 1] == '/')
        len--;
    if (len + sizeof "/v1/plan" > sizeof a->url)
        return cli_usage(argv[0], "the URL is too long");
    (void)snprintf(a->url, sizeof a->url, "%.*s/v1/plan", (int)len,
                   argv[optind]);
    return CLI_OK;
}

// The numbers of a text like "2,4" or "0-2" appended to list. False: no such.
static bool numbers_read(const char *text, char between, json_t *list)
{
    while (true) {
        char digits[8];
        size_t n = strspn(text, "0123456789");
        uint64_t v;

        if (!n || n >= sizeof digits)
            return false;
        memcpy(digits, text, n);
        digits[n] = '\0';
        if (!cli_u64(digits, 0, UINT16_MAX, &v))
            return false;
        json_array_append_new(list, json_integer((json_int_t)v));
        if (!text[n])
            return true;
        if (text[n] != between)
            return false;
        text += n + 1;
    }
}

// What the server says; NULL after telling why not. The caller's to free.
static json_t *ask(const struct asked *a, struct native_net *net,
                   const char *method, const char *body)
{
    struct native_request request = {
        .method = method,
        .url = a->url,
        .bearer = body ? a->key : NULL,
        .content_type = body ? "application/json" : NULL,
        .body = body,
        .body_len = body ? strlen(body) : 0,
        .timeout_ms = TIMEOUT_MS,
        .reply_max = REPLY_MAX,
    };
    struct native_reply reply;
    char why[NATIVE_WHY_MAX];
    json_t *root = NULL;

    if (native_net_do(net, &request, &reply)) {
        cli_fail(a->argv0, "%s", native_net_why(net));
        return NULL;
    }
    if (reply.status == 204) {
        root = json_true();
    } else if (reply.status == 200) {
        root = json_loadb((const char *)reply.body, reply.len, 0, NULL);
        if (!root)
            cli_fail(a->argv0, "the server's answer is no JSON");
    } else {
        native_reply_why(&reply, why, sizeof why);
        cli_fail(a->argv0, "%s", why);
    }
    native_reply_release(&reply);
    return root;
}

// Number of shards of a model of the plan; 0: it is not there.
static json_int_t shards_of(const json_t *plan, const char *model)
{
    const json_t *m;
    size_t i;

    json_array_foreach(json_object_get(plan, "models"), i, m)
    {
        const char *name = json_string_value(json_object_get(m, "name"));

        if (name && strcmp(name, model) == 0)
            return json_integer_value(json_object_get(m, "shards"));
    }
    return 0;
}

// {"model", "path"} or {"model", "volunteer", "span"}; NULL after telling why.
static char *pin_body(const struct asked *a, const json_t *plan)
{
    json_t *list = json_array(), *body = json_object();
    json_int_t n = shards_of(plan, a->model);
    char *text = NULL;
    bool ok = true;

    if (!a->volunteer && !a->unpin) {
        json_array_append_new(list, json_integer(0));
        ok = numbers_read(a->path, ',', list);
        json_array_append_new(list, json_integer(n));
    } else if (!a->unpin) {
        ok = numbers_read(a->span, '-', list);
    }
    json_object_set_new(body, "model", json_string(a->model));
    if (a->volunteer)
        json_object_set_new(body, "volunteer", json_string(a->volunteer));
    if (!a->unpin)
        json_object_set(body, a->volunteer ? "span" : "path", list);
    if (!n)
        cli_fail(a->argv0, "--model %s: the server has no such model",
                 a->model);
    else if (!ok)
        cli_fail(a->argv0, "%s: shard numbers are wanted",
                 a->volunteer ? "--span" : "--path");
    else
        text = json_dumps(body, JSON_COMPACT);
    json_decref(list);
    json_decref(body);
    return text;
}

static void span_show(const json_t *span)
{
    size_t held = json_array_size(json_object_get(span, "held_by"));
    size_t coming = json_array_size(json_object_get(span, "to_be_held_by"));

    printf("  shards %" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT
           "  held by %zu, %zu more to come\n",
           json_integer_value(json_object_get(span, "first")) + 1,
           json_integer_value(json_object_get(span, "end")), held, coming);
}

static void ends_show(const char *what, const json_t *ends)
{
    if (json_is_array(ends))
        printf("  %s %" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT, what,
               json_integer_value(json_array_get(ends, 0)),
               json_integer_value(json_array_get(ends, 1)));
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static void plan_show(const json_t *plan)
{
    const json_t *m, *v, *span;
    size_t i, j;

    json_array_foreach(json_object_get(plan, "models"), i, m)
    {
        const json_t *missing = json_object_get(m, "missing_shard");
        json_int_t n = json_integer_value(json_object_get(m, "shards"));

        printf("%s, %" JSON_INTEGER_FORMAT " shards%s\n", text_of(m, "name"), n,
               json_is_true(json_object_get(m, "pinned")) ? ", pinned" : "");
        json_array_foreach(json_object_get(m, "spans"), j, span)
            span_show(span);
        if (json_is_integer(missing))
            printf("  shard %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
                   " has nobody\n",
                   json_integer_value(missing), n);
    }
    json_array_foreach(json_object_get(plan, "volunteers"), i, v)
    {
        printf("%s  %s  %s  %" JSON_INTEGER_FORMAT " MB", text_of(v, "id"),
               text_of(v, "name"), text_of(v, "backend"),
               json_integer_value(json_object_get(v, "memory")) >> 20);
        ends_show("span", json_object_get(v, "to_hold"));
        ends_show("pinned to", json_object_get(v, "pinned_to"));
        printf("\n");
    }
}

// Whether the options make sense together.
static int check(const struct asked *a)
{
    bool pins = a->path || a->span || a->unpin;

    if (pins && !a->model)
        return cli_usage(a->argv0, "--model is wanted too");
    if (pins && !a->key)
        return cli_usage(a->argv0, "--key or SYNAPSE_API_KEY is wanted too");
    if (a->volunteer ? a->path || (!a->span && !a->unpin) : a->span != NULL)
        return cli_usage(a->argv0, "--volunteer and --span go together");
    if (a->unpin && (a->path || a->span))
        return cli_usage(a->argv0, "--unpin comes alone");
    return CLI_OK;
}

int cli_plan(int argc, char **argv)
{
    struct asked a = {.argv0 = argv[0],
                      .key = getenv("SYNAPSE_API_KEY"),
                      .net = {.stop_fd = -1}};
    struct native_net *net = NULL;
    json_t *plan = NULL, *done = NULL;
    char *body = NULL;
    int status = options_read(argc, argv, &a);

    if (status)
        return status < 0 ? CLI_OK : status;
    status = check(&a);
    if (status)
        return status;
    status = CLI_FAILED;
    if (native_net_new(&a.net, &net)) {
        cli_fail(a.argv0, "out of memory");
        goto done;
    }
    plan = ask(&a, net, "GET", NULL);
    if (!plan)
        goto done;
    if (a.path || a.span || a.unpin) {
        body = pin_body(&a, plan);
        done = body ? ask(&a, net, "POST", body) : NULL;
        if (!done)
            goto done;
    } else if (a.json) {
        json_dumpf(plan, stdout, JSON_INDENT(2));
        printf("\n");
    } else {
        plan_show(plan);
    }
    status = CLI_OK;

done:
    free(body);
    json_decref(done);
    json_decref(plan);
    native_net_free(net);
    return status;
}
