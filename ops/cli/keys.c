// keys.c - `synapse keys`: make, list and revoke API keys, in the grid's Redis.
#include <event2/event.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "api/redis_child.h"
#include "base/sha256.h"
#include "cli.h"
#include "scheduler/key.h"

static const char help[] =
    "usage: synapse keys create [--name N] [--scopes LIST] [--priority P]\n"
    "           [--requests N] [--bytes N] [--tokens N]\n"
    "       synapse keys list\n"
    "       synapse keys revoke KEY_ID\n"
    "       (each with --data DIR or --redis ADDRESS)\n"
    "\n"
    "Only a key's hash is stored: create prints the key once, alone on its "
    "last\n"
    "line. The server has to be running (its Redis is used).\n"
    "\n"
    "  --name N          what the key is for\n"
    "  --scopes LIST     of submit, read and operate (default submit,read)\n"
    "  --priority P      1 to 100: its share beside other keys (default 10)\n"
    "  --requests N      quota: requests accepted and not done (default none)\n"
    "  --bytes N         quota: stored, 1500, 64K, 100M, 2G (default 8G)\n"
    "  --tokens N        quota: of prompts and answers, a day (default none)\n"
    "  --data DIR        the server's data folder (default: synapse-data)\n"
    "  --redis ADDRESS   unix:/path or HOST:PORT, where the server has "
    "--redis\n";

enum {
    OPT_NAME = 1,
    OPT_SCOPES,
    OPT_PRIORITY,
    OPT_REQUESTS,
    OPT_BYTES,
    OPT_TOKENS,
    OPT_DATA,
    OPT_REDIS,
    OPT_HELP,

    KEY_RANDOM_LEN = 32,
    HINT_LEN = 4,
    LIMIT_S = 10, // for all of it
    RETRY_MS = 100,
};

#define QUOTA_MAX (UINT64_C(1) << 50) // exact in the store's numbers

static const struct option longopts[] = {
    {"name", required_argument, NULL, OPT_NAME},
    {"scopes", required_argument, NULL, OPT_SCOPES},
    {"priority", required_argument, NULL, OPT_PRIORITY},
    {"requests", required_argument, NULL, OPT_REQUESTS},
    {"bytes", required_argument, NULL, OPT_BYTES},
    {"tokens", required_argument, NULL, OPT_TOKENS},
    {"data", required_argument, NULL, OPT_DATA},
    {"redis", required_argument, NULL, OPT_REDIS},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

struct keys {
    const char *argv0, *name, *data, *redis;
    const char *verb, *id; // of revoke
    struct sched_rights rights;
    char address[API_REDIS_ADDRESS_MAX];
    char key[16 + 2 * KEY_RANDOM_LEN]; // of create
    char key_id[24];
    struct event_base *base;
    struct sched_store *store;
    struct event *retry;
    bool asked, ended;
    enum err err;
};

static void end(struct keys *k, enum err err)
{
    k->err = err;
    k->ended = true;
    event_base_loopbreak(k->base);
}

// Safe to repeat, so an unknown outcome is tried again.
static void on_done(enum err err, void *ctx)
{
    struct keys *k = ctx;

    k->asked = false;
    if (err != ERR_STORE)
        end(k, err);
}

static void time_print(int64_t ms)
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char text[32] = "?";

    if (gmtime_r(&s, &tm))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M", &tm);
    printf("%s", text);
}

static const char *const scope_names[] = {"submit", "read", "operate"};

enum { N_SCOPES = sizeof scope_names / sizeof *scope_names };

static void quota_print(const char *what, uint64_t used, uint64_t limit)
{
    if (limit)
        printf("  %s %" PRIu64 "/%" PRIu64, what, used, limit);
}

static void rights_print(const struct sched_key *key)
{
    const char *comma = "";

    printf("  ");
    for (unsigned i = 0; i < N_SCOPES; i++) {
        if (!(key->rights.scopes >> i & 1))
            continue;
        printf("%s%s", comma, scope_names[i]);
        comma = ",";
    }
    printf("  priority %" PRIu32, key->rights.priority);
    quota_print("requests", key->requests, key->rights.requests);
    quota_print("bytes", key->bytes, key->rights.bytes);
    quota_print("tokens", key->tokens, key->rights.tokens);
}

// "submit,read": each at most once. 0: that is no such list.
static unsigned scopes_parse(const char *text)
{
    unsigned scopes = 0;

    for (;;) {
        size_t len = strcspn(text, ",");
        unsigned i = 0;

        while (i < N_SCOPES && (strlen(scope_names[i]) != len ||
                                memcmp(scope_names[i], text, len) != 0))
            i++;
        if (i == N_SCOPES || scopes >> i & 1)
            return 0;
        scopes |= 1U << i;
        if (!text[len])
            return scopes;
        text += len + 1;
    }
}

static void on_list(enum err err, const struct sched_key *keys, size_t n,
                    void *ctx)
{
    for (size_t i = 0; i < n; i++) {
        printf("%s  ...%s  ", keys[i].id, keys[i].hint);
        time_print(keys[i].created_ms);
        rights_print(&keys[i]);
        printf("  %s", keys[i].revoked_ms ? "revoked" : "valid  ");
        printf("  %s\n", keys[i].name);
    }
    on_done(err, ctx);
}

// Names go to a terminal: no control characters.
static bool is_printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 32 || *text == 127)
            return false;
    return true;
}

static enum err ask(struct keys *k)
{
    uint8_t hash[SCHED_HASH_LEN];

    if (strcmp(k->verb, "list") == 0)
        return sched_key_list(k->store, on_list, k);
    if (strcmp(k->verb, "revoke") == 0)
        return sched_key_revoke(k->store, k->id, on_done, k);
    sha256(k->key, strlen(k->key), hash);
    return sched_key_create(k->store, k->key_id, hash, k->name,
                            k->key + strlen(k->key) - HINT_LEN, &k->rights,
                            on_done, k);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
    struct keys *k = ctx;
    enum err err;

    (void)fd, (void)what;
    if (k->asked || k->ended || !sched_store_up(k->store))
        return;
    err = ask(k);
    k->asked = !err;
    if (err && err != ERR_STORE)
        end(k, err);
}

static bool key_draw(struct keys *k)
{
    uint8_t bytes[KEY_RANDOM_LEN + 8];
    int n = snprintf(k->key, sizeof k->key, "sk-syn-");
    int m = snprintf(k->key_id, sizeof k->key_id, "key_");

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return false;
    for (size_t i = 0; i < KEY_RANDOM_LEN; i++)
        n += snprintf(k->key + n, sizeof k->key - (size_t)n, "%02x", bytes[i]);
    for (size_t i = KEY_RANDOM_LEN; i < sizeof bytes; i++)
        m += snprintf(k->key_id + m, sizeof k->key_id - (size_t)m, "%02x",
                      bytes[i]);
    return true;
}

// An option of create. Returns a status, or -1 to go on.
static int right_read(const char *argv0, int opt, const char *text,
                      struct sched_rights *rights)
{
    uint64_t n;

    switch (opt) {
    case OPT_SCOPES:
        rights->scopes = scopes_parse(text);
        if (!rights->scopes)
            return cli_usage(argv0, "--scopes: a list of submit, read and "
                                    "operate, as in submit,read");
        return -1;
    case OPT_PRIORITY:
        if (!cli_u64(text, 1, SCHED_PRIORITY_MAX, &n))
            return cli_usage(argv0, "--priority: 1 to %d", SCHED_PRIORITY_MAX);
        rights->priority = (uint32_t)n;
        return -1;
    case OPT_REQUESTS:
        if (!cli_u64(text, 1, QUOTA_MAX, &rights->requests))
            return cli_usage(argv0, "--requests: a number, 1 or more");
        return -1;
    case OPT_BYTES:
        if (!cli_bytes(text, &rights->bytes) || rights->bytes > QUOTA_MAX)
            return cli_usage(argv0, "--bytes: a size, as in 500M");
        return -1;
    case OPT_TOKENS:
        if (!cli_u64(text, 1, QUOTA_MAX, &rights->tokens))
            return cli_usage(argv0, "--tokens: a number, 1 or more");
        return -1;
    default:
        return cli_usage(argv0, "bad option");
    }
}

static int options_read(int argc, char **argv, struct keys *k)
{
    int n_wanted, opt, status;

    while ((opt = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        switch (opt) {
        case OPT_NAME:
            if (strlen(optarg) > SCHED_NAME_MAX || !is_printable(optarg))
                return cli_usage(argv[0], "--name: at most %d printable bytes",
                                 SCHED_NAME_MAX);
            k->name = optarg;
            break;
        case OPT_DATA:
            k->data = optarg;
            break;
        case OPT_REDIS:
            k->redis = optarg;
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return CLI_OK;
        default:
            status = right_read(argv[0], opt, optarg, &k->rights);
            if (status >= 0)
                return status;
        }
    }
    k->verb = optind < argc ? argv[optind] : "";
    k->id = optind + 1 < argc ? argv[optind + 1] : NULL;
    if (strcmp(k->verb, "create") != 0 && strcmp(k->verb, "list") != 0 &&
        strcmp(k->verb, "revoke") != 0)
        return cli_usage(argv[0], "create, list or revoke?");
    n_wanted = strcmp(k->verb, "revoke") == 0 ? 2 : 1;
    if (argc - optind != n_wanted)
        return cli_usage(argv[0], n_wanted == 2 ? "revoke needs a key's id"
                                                : "too many arguments");
    return -1;
}

// Run the verb against the store. *k->err is the outcome if k->ended.
static enum err keys_run(struct keys *k)
{
    struct timeval every = {0, RETRY_MS * 1000L};
    struct timeval limit = {LIMIT_S, 0};
    enum err err = ERR_NOMEM;

    k->base = event_base_new();
    if (!k->base)
        return err;
    k->retry = event_new(k->base, -1, EV_PERSIST, on_retry, k);
    if (!k->retry || event_add(k->retry, &every) ||
        event_base_loopexit(k->base, &limit))
        goto done;
    err = sched_store_new(
        &(struct sched_store_options){.base = k->base, .address = k->address},
        &k->store);
    if (err)
        goto done;
    event_base_dispatch(k->base);
    err = k->ended ? k->err : ERR_STORE;

done:
    k->ended = true; // what the store ends with is no outcome
    sched_store_free(k->store);
    if (k->retry)
        event_free(k->retry);
    event_base_free(k->base);
    return err;
}

int cli_keys(int argc, char **argv)
{
    struct keys k = {.argv0 = argv[0],
                     .name = "",
                     .data = "synapse-data",
                     .rights = {.scopes = SCHED_SUBMIT | SCHED_READ,
                                .priority = SCHED_PRIORITY}};
    int status = options_read(argc, argv, &k);
    enum err err = ERR_OK;

    if (status >= 0)
        return status;
    if (k.redis) {
        if (strlen(k.redis) >= sizeof k.address)
            return cli_usage(argv[0], "--redis %s: too long", k.redis);
        snprintf(k.address, sizeof k.address, "%s", k.redis);
    } else if (api_redis_address(k.data, k.address)) {
        return cli_fail(argv[0],
                        "%s: no such folder; is it the server's "
                        "--data?",
                        k.data);
    }
    if (strcmp(k.verb, "create") == 0 && !key_draw(&k))
        return cli_fail(argv[0], "no randomness");
    signal(SIGPIPE, SIG_IGN); // a lost connection is an error, no end
    err = keys_run(&k);
    // A lost reply is asked again: then the key that is there is ours.
    if (err == ERR_EXISTS && strcmp(k.verb, "create") == 0)
        err = ERR_OK;
    if (err == ERR_NOT_FOUND)
        return cli_fail(argv[0], "%s: no such key", k.id);
    if (err == ERR_STORE)
        return cli_fail(argv[0],
                        "no Redis answers at %s; is the server "
                        "running?",
                        k.address);
    if (err)
        return cli_fail(argv[0], "%s", err_text(err));
    if (strcmp(k.verb, "create") == 0)
        printf("%s, kept as a hash only; this is the key:\n%s\n", k.key_id,
               k.key);
    return CLI_OK;
}
