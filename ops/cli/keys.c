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
    "usage: synapse keys create [--name N] [--data DIR | --redis ADDRESS]\n"
    "       synapse keys list              [--data DIR | --redis ADDRESS]\n"
    "       synapse keys revoke KEY_ID     [--data DIR | --redis ADDRESS]\n"
    "\n"
    "Only a key's hash is stored: create prints the key once, alone on its "
    "last\n"
    "line. The server has to be running (its Redis is used).\n"
    "\n"
    "  --name N          what the key is for\n"
    "  --data DIR        the server's data folder (default: synapse-data)\n"
    "  --redis ADDRESS   unix:/path or HOST:PORT, where the server has "
    "--redis\n";

enum {
    OPT_NAME = 1,
    OPT_DATA,
    OPT_REDIS,
    OPT_HELP,

    KEY_RANDOM_LEN = 32,
    HINT_LEN = 4,
    LIMIT_S = 10, // for all of it
    RETRY_MS = 100,
};

static const struct option longopts[] = {
    {"name", required_argument, NULL, OPT_NAME},
    {"data", required_argument, NULL, OPT_DATA},
    {"redis", required_argument, NULL, OPT_REDIS},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

struct keys {
    const char *argv0, *name, *data, *redis;
    const char *verb, *id; // of revoke
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

static void on_list(enum err err, const struct sched_key *keys, size_t n,
                    void *ctx)
{
    for (size_t i = 0; i < n; i++) {
        printf("%s  ...%s  ", keys[i].id, keys[i].hint);
        time_print(keys[i].created_ms);
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
                            k->key + strlen(k->key) - HINT_LEN, on_done, k);
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

static int options_read(int argc, char **argv, struct keys *k)
{
    int n_wanted, opt;

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
            return cli_usage(argv[0], "bad option");
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
    struct keys k = {.argv0 = argv[0], .name = "", .data = "synapse-data"};
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
