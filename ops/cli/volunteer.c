// volunteer.c - `synapse volunteer`: compute for a grid from this machine.
#include "native/volunteer.h"

#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli.h"
#include "engine/engine.h"
#include "stand_in.h"
#include "whole_model.h"

static const char help[] =
    "usage: synapse volunteer URL [options]\n"
    "\n"
    "Joins the grid at URL and computes for it until Ctrl-C. Prompts of "
    "others\n"
    "pass through this machine; nothing of this machine is sent but results.\n"
    "\n"
    "  --name N             shown on the leaderboard, at most 40 characters\n"
    "  --account-file F     key that earns the credit; made if missing\n"
    "                       (default: ~/.config/synapse/account)\n"
    "  --cache DIR          downloaded models (default: ~/.cache/synapse)\n"
    "  --models DIR         use the model folders in DIR, without download\n"
    "  --threads N          threads to compute with (default: all)\n"
    "  --memory B           for models and sequences, 500M, 4G (default: "
    "half)\n"
    "  --sequences N        at most so many sequences at a time\n"
    "  --isa NAME           " WHOLE_MODEL_ISAS " (default: best)\n"
    "  --class f32          compute in floats: only parts of models, for "
    "batches\n"
    "                       that take it\n"
    "  --intensity P        percent of the time to compute: 25, 50, 100 "
    "(default)\n"
    "  --cacert FILE        trust these certificates (PEM) instead of the\n"
    "                       system's\n"
    "  --referee            settle disagreements; needs the operator's key in\n"
    "                       SYNAPSE_OPERATOR_KEY\n"
    "  --quiet              say only what goes wrong\n";

enum {
    OPT_NAME = 1,
    OPT_ACCOUNT,
    OPT_CACHE,
    OPT_MODELS,
    OPT_THREADS,
    OPT_MEMORY,
    OPT_SEQUENCES,
    OPT_ISA,
    OPT_CLASS,
    OPT_INTENSITY,
    OPT_CACERT,
    OPT_REFEREE,
    OPT_QUIET,
    OPT_DELAY, // for tests, and not in the help
    OPT_HELP,
};

static const struct option longopts[] = {
    {"name", required_argument, NULL, OPT_NAME},
    {"account-file", required_argument, NULL, OPT_ACCOUNT},
    {"cache", required_argument, NULL, OPT_CACHE},
    {"models", required_argument, NULL, OPT_MODELS},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"memory", required_argument, NULL, OPT_MEMORY},
    {"sequences", required_argument, NULL, OPT_SEQUENCES},
    {"isa", required_argument, NULL, OPT_ISA},
    {"class", required_argument, NULL, OPT_CLASS},
    {"intensity", required_argument, NULL, OPT_INTENSITY},
    {"cacert", required_argument, NULL, OPT_CACERT},
    {"referee", no_argument, NULL, OPT_REFEREE},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"delay-ms", required_argument, NULL, OPT_DELAY},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

struct volunteer_options {
    struct native_volunteer run;
    const char *account_file;
    bool quiet, terminal;
};

// Read a number into *out. False, with the complaint printed, if it is none.
static bool number_read(const char *argv0, const char *name, uint64_t min,
                        uint64_t max, unsigned *out)
{
    uint64_t n;

    if (!cli_u64(optarg, min, max, &n)) {
        cli_usage(argv0, "--%s %s: not %" PRIu64 " to %" PRIu64, name, optarg,
                  min, max);
        return false;
    }
    *out = (unsigned)n;
    return true;
}

// One option. False: the complaint is printed.
static bool option_read(const char *argv0, int opt, struct volunteer_options *o)
{
    struct native_volunteer *run = &o->run;

    switch (opt) {
    case OPT_NAME:
        run->profile.name = optarg;
        return true;
    case OPT_ACCOUNT:
        o->account_file = optarg;
        return true;
    case OPT_CACHE:
        run->cache = optarg;
        return true;
    case OPT_MODELS:
        run->models = optarg;
        return true;
    case OPT_CACERT:
        run->cacert = optarg;
        return true;
    case OPT_QUIET:
        o->quiet = true;
        return true;
    case OPT_THREADS:
        return number_read(argv0, "threads", 1, ENGINE_WORKERS_MAX,
                           &run->profile.n_threads);
    case OPT_SEQUENCES:
        return number_read(argv0, "sequences", 1, SYN1_SEQS_MAX, &run->n_seqs);
    case OPT_INTENSITY:
        return number_read(argv0, "intensity", 1, 100, &run->intensity);
    case OPT_DELAY:
        return number_read(argv0, "delay-ms", 0, 3600000, &run->delay_ms);
    case OPT_MEMORY:
        if (cli_bytes(optarg, &run->profile.memory))
            return true;
        cli_usage(argv0, "--memory %s: not a number of bytes", optarg);
        return false;
    case OPT_ISA:
        if (whole_model_isa(optarg, &run->isa))
            return true;
        cli_usage(argv0, "--isa %s: not one of " WHOLE_MODEL_ISAS, optarg);
        return false;
    case OPT_CLASS:
        run->profile.f32 = strcmp(optarg, "f32") == 0;
        if (run->profile.f32 || strcmp(optarg, "exact") == 0)
            return true;
        cli_usage(argv0, "--class %s: not exact or f32", optarg);
        return false;
    case OPT_REFEREE:
        run->profile.operator_key = getenv("SYNAPSE_OPERATOR_KEY");
        if (run->profile.operator_key)
            return true;
        cli_usage(argv0, "--referee: SYNAPSE_OPERATOR_KEY is not set");
        return false;
    default:
        cli_usage(argv0, "bad option");
        return false;
    }
}

// -1: go on; else the exit status.
static int options_read(int argc, char **argv, struct volunteer_options *o)
{
    int opt;

    while ((opt = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        if (opt == OPT_HELP) {
            fputs(help, stdout);
            return CLI_OK;
        }
        if (!option_read(argv[0], opt, o))
            return CLI_USAGE;
    }
    if (argc - optind != 1)
        return cli_usage(argv[0], "the server's URL is needed");
    o->run.url = argv[optind];
    return -1;
}

static uint64_t memory_half(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 2
                                 : UINT64_C(1) << 30;
}

static unsigned processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1                    ? 1
           : n > ENGINE_WORKERS_MAX ? ENGINE_WORKERS_MAX
                                    : (unsigned)n;
}

static void on_event(const struct native_event *event, void *ctx)
{
    const struct volunteer_options *o = ctx;

    if (o->quiet && event->kind != NATIVE_TROUBLE)
        return;
    fprintf(stderr, "volunteer: ");
    switch (event->kind) {
    case NATIVE_JOINED:
        fprintf(stderr, "joined as %s\n", event->text);
        break;
    case NATIVE_PAYING:
        fprintf(stderr,
                "this address opened many accounts lately: solving a proof of "
                "work, about %" PRIu64 " tries\n",
                UINT64_C(1) << event->a);
        break;
    case NATIVE_FETCHING:
        fprintf(stderr, "fetching %s, %.1f of %.1f MB\n", event->text,
                (double)event->a / 1e6, (double)event->b / 1e6);
        break;
    case NATIVE_MODEL_READY:
        fprintf(stderr,
                "%s is ready: %" PRIu64 " prompt tokens/s, %" PRIu64
                " tokens/s alone\n",
                event->text, event->a, event->b);
        break;
    case NATIVE_UNIT_DONE:
        fprintf(stderr, "%" PRIu64 " tokens generated, %" PRIu64 " checked\n",
                event->a, event->b);
        break;
    case NATIVE_IDLE:
        fprintf(stderr, "waiting: %s\n", event->text);
        break;
    case NATIVE_TROUBLE:
        fprintf(stderr, "%s\n", event->text);
        break;
    case NATIVE_LEFT:
        fprintf(stderr, "left after %" PRIu64 " units\n", event->a);
        break;
    }
}

// A descriptor that becomes readable at Ctrl-C or SIGTERM. Threads made later
// inherit the mask, so the signals arrive nowhere else.
static int stop_fd_open(void)
{
    sigset_t stops;

    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &stops, NULL))
        return -1;
    return signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cli_volunteer(int argc, char **argv)
{
    return cli_volunteer_as(argc, argv, NULL);
}

int cli_volunteer_as(int argc, char **argv, const struct cli_stand_in *other)
{
    struct volunteer_options o = {
        .run = {.profile = {.name = "",
                            .n_threads = processors(),
                            .memory = memory_half()},
                .isa = ENGINE_ISA_BEST,
                .intensity = 100,
                .on_event = on_event,
                .ctx = &o},
    };
    char account_path[NATIVE_PATH_MAX], cache_path[NATIVE_PATH_MAX];
    char why[NATIVE_WHY_MAX] = "";
    int status = options_read(argc, argv, &o);
    enum err err;

    if (status >= 0)
        return status;
    if (!o.account_file) {
        if (native_home_path("XDG_CONFIG_HOME", ".config", "synapse/account",
                             account_path))
            return cli_fail(argv[0], "no HOME: give --account-file");
        o.account_file = account_path;
    }
    if (!o.run.cache) {
        if (native_home_path("XDG_CACHE_HOME", ".cache", "synapse", cache_path))
            return cli_fail(argv[0], "no HOME: give --cache");
        o.run.cache = cache_path;
    }
    err = native_account_load(o.account_file, o.run.profile.account);
    if (err)
        return cli_fail(argv[0], "%s: %s", o.account_file, err_text(err));
    if (other) {
        o.run.source = other->source;
        o.run.run = other->run;
        o.run.run_ctx = other->run_ctx;
    }
    signal(SIGPIPE, SIG_IGN); // a lost connection is an error, no end
    o.run.stop_fd = stop_fd_open();
    if (o.run.stop_fd < 0)
        return cli_fail(argv[0], "cannot wait for signals");
    err = native_volunteer_run(&o.run, why, sizeof why);
    close(o.run.stop_fd);
    return err ? cli_fail(argv[0], "%s", why) : CLI_OK;
}
