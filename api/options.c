#include "api/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "redundancy/entry.h"

static const char usage[] =
    "Usage: synapsed --models DIR [options]\n"
    "Runs a Synapse grid: batches in, volunteers compute, results out.\n"
    "\n"
    "  --models DIR         a model folder made by `synapse split`, or a "
    "folder\n"
    "                       of such folders\n"
    "  --alias NAME=MODEL   one more name for a model (repeatable)\n"
    "  --listen ADDR:PORT   where to listen (default 127.0.0.1:8080; port 0\n"
    "                       takes a free one, which is printed)\n"
    "  --data DIR           state (default ./synapse-data)\n"
    "  --files DIR          request and result files (default DATA/files)\n"
    "  --redis ADDRESS      unix:/path or HOST:PORT (default: a redis-server\n"
    "                       of our own, in DATA)\n"
    "  --web DIR            the pages (default: ../web beside this program)\n"
    "  --tls-cert FILE --tls-key FILE   serve https (PEM)\n"
    "  --trust-proxy CIDR   believe X-Forwarded-For from there (repeatable)\n"
    "  --same-place CIDR    a classroom or household: volunteers there do not\n"
    "                       count as sharing a block (repeatable; default\n"
    "                       loopback)\n"
    "  --new-accounts N     so many new accounts an hour may one address "
    "block\n"
    "                       (/24, /48; not a --same-place) open for nothing;\n"
    "                       more of them pay with a proof of work (default "
    "16)\n"
    "  --new-accounts-max N no block opens more than these (default 200)\n"
    "  --new-bits N         leading zero bits of the first that pays, 1 to "
    "24;\n"
    "                       it grows with their number (default 18: a "
    "fraction\n"
    "                       of a second)\n"
    "  --new-volunteers N   volunteers of one account until 10 checks of its\n"
    "                       work agreed (default 4)\n"
    "  --new-units N        units that such accounts of a block may hold\n"
    "                       together (default 64)\n"
    "  --allow-private-callbacks   deliver to http and private addresses too\n"
    "  --callback-ms N      time for a receiver to answer (default 15000)\n"
    "  --retention DAYS     files, batches and results are kept so long\n"
    "                       (default 30)\n"
    "  --no-referee         start no referee volunteer\n"
    "  --log-bytes N        budget of the activation log (default 1 GiB)\n"
    "  --max-body N         bytes of one batch (default 100 MiB)\n"
    "  --max-clients N      connections at once (default 10000)\n"
    "  --read-ms N          time to send a request (default 60000; large\n"
    "                       bodies get more)\n"
    "  --progress-ms N      volunteers that compute say so (default 700)\n"
    "  --grace-ms N         a volunteer whose page closed may come back for "
    "so\n"
    "                       long (default 3000)\n"
    "  --help               this text\n";

enum {
    OPT_DATA = 256,
    OPT_FILES,
    OPT_MODELS,
    OPT_LISTEN,
    OPT_REDIS,
    OPT_TLS_CERT,
    OPT_TLS_KEY,
    OPT_TRUST_PROXY,
    OPT_SAME_PLACE,
    OPT_NEW_ACCOUNTS,
    OPT_NEW_ACCOUNTS_MAX,
    OPT_NEW_BITS,
    OPT_NEW_VOLUNTEERS,
    OPT_NEW_UNITS,
    OPT_ALLOW_PRIVATE,
    OPT_CALLBACK_MS,
    OPT_NO_REFEREE,
    OPT_WEB,
    OPT_LOG_BYTES,
    OPT_MAX_BODY,
    OPT_MAX_CLIENTS,
    OPT_PROGRESS_MS,
    OPT_GRACE_MS,
    OPT_READ_MS,
    OPT_ALIAS,
    OPT_RETENTION,
    OPT_HELP,
};

static const struct option long_options[] = {
    {"data", required_argument, NULL, OPT_DATA},
    {"files", required_argument, NULL, OPT_FILES},
    {"models", required_argument, NULL, OPT_MODELS},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"redis", required_argument, NULL, OPT_REDIS},
    {"tls-cert", required_argument, NULL, OPT_TLS_CERT},
    {"tls-key", required_argument, NULL, OPT_TLS_KEY},
    {"trust-proxy", required_argument, NULL, OPT_TRUST_PROXY},
    {"same-place", required_argument, NULL, OPT_SAME_PLACE},
    {"new-accounts", required_argument, NULL, OPT_NEW_ACCOUNTS},
    {"new-accounts-max", required_argument, NULL, OPT_NEW_ACCOUNTS_MAX},
    {"new-bits", required_argument, NULL, OPT_NEW_BITS},
    {"new-volunteers", required_argument, NULL, OPT_NEW_VOLUNTEERS},
    {"new-units", required_argument, NULL, OPT_NEW_UNITS},
    {"allow-private-callbacks", no_argument, NULL, OPT_ALLOW_PRIVATE},
    {"callback-ms", required_argument, NULL, OPT_CALLBACK_MS},
    {"no-referee", no_argument, NULL, OPT_NO_REFEREE},
    {"web", required_argument, NULL, OPT_WEB},
    {"log-bytes", required_argument, NULL, OPT_LOG_BYTES},
    {"max-body", required_argument, NULL, OPT_MAX_BODY},
    {"max-clients", required_argument, NULL, OPT_MAX_CLIENTS},
    {"progress-ms", required_argument, NULL, OPT_PROGRESS_MS},
    {"grace-ms", required_argument, NULL, OPT_GRACE_MS},
    {"read-ms", required_argument, NULL, OPT_READ_MS},
    {"alias", required_argument, NULL, OPT_ALIAS},
    {"retention", required_argument, NULL, OPT_RETENTION},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

// Digits only, min .. max.
static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' ||
            v > (UINT64_MAX - (uint64_t)(*text - '0')) / 10)
            return false;
        v = v * 10 + (uint64_t)(*text - '0');
    }
    if (v < min || v > max)
        return false;
    *out = v;
    return true;
}

static bool number32(const char *text, uint32_t min, uint32_t max,
                     uint32_t *out)
{
    uint64_t n;

    if (!number(text, min, max, &n))
        return false;
    *out = (uint32_t)n;
    return true;
}

static bool copy(char *out, size_t cap, const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len >= cap)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

static bool listen_parse(struct api_options *opt, const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t len;
    uint64_t port;

    if (!colon || !number(colon + 1, 0, 65535, &port))
        return false;
    len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof opt->host)
        return false;
    memcpy(opt->host, text, len);
    opt->host[len] = '\0';
    opt->port = (uint16_t)port;
    return true;
}

static bool apply(struct api_options *opt, int c, const char *arg)
{
    switch (c) {
    case OPT_DATA:
        return copy(opt->data, sizeof opt->data, arg);
    case OPT_FILES:
        return copy(opt->files, sizeof opt->files, arg);
    case OPT_MODELS:
        return copy(opt->models, sizeof opt->models, arg);
    case OPT_LISTEN:
        return listen_parse(opt, arg);
    case OPT_REDIS:
        return copy(opt->redis, sizeof opt->redis, arg);
    case OPT_TLS_CERT:
        return copy(opt->tls_cert, sizeof opt->tls_cert, arg);
    case OPT_TLS_KEY:
        return copy(opt->tls_key, sizeof opt->tls_key, arg);
    case OPT_TRUST_PROXY:
        return opt->n_trust_proxy < API_TRUST_PROXY_MAX &&
               api_cidr_parse(arg, &opt->trust_proxy[opt->n_trust_proxy++]) ==
                   ERR_OK;
    case OPT_SAME_PLACE:
        return opt->n_same_place < API_PLACES_MAX &&
               api_cidr_parse(arg, &opt->same_place[opt->n_same_place++]) ==
                   ERR_OK;
    case OPT_ALIAS:
        if (opt->n_aliases == API_OPTION_ALIASES_MAX)
            return false;
        opt->aliases[opt->n_aliases++] = arg;
        return true;
    case OPT_NEW_ACCOUNTS:
        return number32(arg, 0, 1000000, &opt->new_accounts);
    case OPT_NEW_ACCOUNTS_MAX:
        return number32(arg, 1, 1000000, &opt->new_accounts_max);
    case OPT_NEW_BITS:
        return number32(arg, 1, REDUN_ENTRY_BITS_MAX, &opt->new_bits);
    case OPT_NEW_VOLUNTEERS:
        return number32(arg, 1, 1000000, &opt->new_volunteers);
    case OPT_NEW_UNITS:
        return number32(arg, 1, 1000000, &opt->new_units);
    case OPT_RETENTION:
        return number32(arg, 1, 3650, &opt->retention_days);
    case OPT_ALLOW_PRIVATE:
        return opt->allow_private_callbacks = true;
    case OPT_CALLBACK_MS:
        return number32(arg, 100, 60000, &opt->callback_ms);
    case OPT_NO_REFEREE:
        return opt->no_referee = true;
    case OPT_WEB:
        return copy(opt->web, sizeof opt->web, arg);
    case OPT_LOG_BYTES:
        return number(arg, 1, UINT64_MAX >> 1, &opt->log_bytes);
    case OPT_MAX_BODY:
        return number(arg, 1024, UINT64_C(1) << 40, &opt->max_body);
    case OPT_MAX_CLIENTS:
        return number32(arg, 1, 1000000, &opt->max_clients);
    case OPT_PROGRESS_MS:
        return number32(arg, 50, 60000, &opt->progress_ms);
    case OPT_GRACE_MS:
        return number32(arg, 0, 60000, &opt->grace_ms);
    case OPT_READ_MS:
        return number32(arg, 100, 3600000, &opt->read_ms);
    default:
        return false;
    }
}

// The folder of this executable.
static bool bin_find(char *out, size_t cap)
{
    ssize_t n = readlink("/proc/self/exe", out, cap - 1);
    char *slash;

    if (n <= 0)
        return false;
    out[n] = '\0';
    slash = strrchr(out, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return true;
}

static bool defaults_fill(struct api_options *opt)
{
    int n = 0, m = 0;

    if (!opt->files[0])
        n = snprintf(opt->files, sizeof opt->files, "%.4000s/files", opt->data);
    if (!opt->web[0])
        m = snprintf(opt->web, sizeof opt->web, "%.4000s/../web", opt->bin);
    if (!opt->n_same_place) {
        if (api_cidr_parse("127.0.0.0/8", &opt->same_place[0]) != ERR_OK ||
            api_cidr_parse("::1", &opt->same_place[1]) != ERR_OK)
            return false;
        opt->n_same_place = 2;
    }
    return n < (int)sizeof opt->files && m < (int)sizeof opt->web;
}

int api_options_parse(struct api_options *opt, int argc, char **argv,
                      int *status)
{
    int c, index = 0;

    *opt = (struct api_options){
        .data = "synapse-data",
        .host = "127.0.0.1",
        .port = 8080,
        .log_bytes = UINT64_C(1) << 30,
        .max_body = UINT64_C(100) << 20,
        .max_clients = 10000,
        .progress_ms = 700,
        .callback_ms = 15000,
        .read_ms = 60000,
        .retention_days = 30,
        .grace_ms = 3000,
        .new_accounts = 16,
        .new_accounts_max = 200,
        .new_bits = 18,
        .new_volunteers = 4,
        .new_units = 64,
    };
    *status = 2;
    opterr = 1;
    optind = 1;
    while ((c = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (c == OPT_HELP) {
            fputs(usage, stdout);
            *status = 0;
            return 1;
        }
        if (c == '?')
            return 1;
        if (!apply(opt, c, optarg ? optarg : "")) {
            fprintf(stderr, "synapsed: --%s: bad value \"%s\"\n",
                    long_options[index].name, optarg ? optarg : "");
            return 1;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "synapsed: unexpected argument \"%s\"\n", argv[optind]);
        return 1;
    }
    if (!opt->models[0]) {
        fputs("synapsed: --models is missing: name a folder made by "
              "`synapse split`\n",
              stderr);
        return 1;
    }
    if (!opt->tls_cert[0] != !opt->tls_key[0]) {
        fputs("synapsed: --tls-cert and --tls-key go together\n", stderr);
        return 1;
    }
    if (!bin_find(opt->bin, sizeof opt->bin) || !defaults_fill(opt)) {
        fputs("synapsed: a path is too long\n", stderr);
        return 1;
    }
    return 0;
}
