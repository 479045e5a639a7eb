#include "scheduler/store.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "redundancy/entry.h"
#include "redundancy/stints.h"
#include "redundancy/trust.h"
#include "scheduler/job.h"
#include "scheduler/state.h"

enum { SWEEP_HANGS_MS = 15000, FIRST_SWEEP_MS = 10 };

struct done {
    sched_done_fn *fn;
    void *ctx;
};

int64_t sched_clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

enum err sched_random(void *buf, size_t len)
{
    return RAND_bytes(buf, (int)len) == 1 ? ERR_OK : ERR_IO;
}

bool sched_text_fits(const char *text, size_t min, size_t max)
{
    size_t len = text ? strnlen(text, max + 1) : 0;

    return text && len >= min && len <= max;
}

void sched_policy_init(struct sched_policy *policy)
{
    *policy = (struct sched_policy){
        .unit_ms = 1200,
        .unit_seqs = 16,
        .units_held = 2,
        .first_new = 4,
        .max_new = 128,
        .first_lease_ms = 20000,
        .lease_ms = 4000,
        .lease_factor = 3,
        .progress_ms = 8000,
        .referee_after_ms = 5000,
        .sticky_ms = 15000,
        .seen_ms = 60000,
        .grace_ms = 3000,
        .retake_ms = 3000,
        .sweep_ms = 500,
        .keep_ms = INT64_C(30) * 86400 * 1000,
        .seed_ms = 600000,
        .stage_ms = 1400,
        .log_bytes = UINT64_C(1) << 30,
        .known = 5000,
        .new_free = 16,
        .new_accounts = 200,
        .new_bits = 18,
        .new_volunteers = 4,
        .new_units = 64,
    };
}

// In the order of POLICY in base.lua.
static void policy_text(struct sched_store *store)
{
    const struct sched_policy *p = &store->policy;

    snprintf(store->policy_text, sizeof store->policy_text,
             "%" PRId64 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32
             " %" PRId64 " %" PRId64 " %" PRIu32 " %" PRId64 " %" PRId64
             " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64
             " %" PRId64 " %d %d %d %d %" PRId64 " %d"
             " %" PRId64 " %" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu32
             " %" PRIu32 " %" PRIu32 " %" PRId64 " %d %" PRId64
             " %d %d %d %d %d %d %d %d %" PRId64,
             p->unit_ms, p->unit_seqs, p->units_held, p->first_new, p->max_new,
             p->first_lease_ms, p->lease_ms, p->lease_factor, p->progress_ms,
             p->referee_after_ms, p->sticky_ms, p->seen_ms, p->grace_ms,
             p->retake_ms, p->keep_ms, p->seed_ms, REDUN_TRUST_RUN,
             REDUN_PROBATION, REDUN_WINDOW, REDUN_STRIKES_MAX, REDUN_STRIKE_MS,
             REDUN_SEASON_CHECKS, p->stage_ms, p->log_bytes, p->known,
             p->new_free, p->new_accounts, p->new_volunteers, p->new_units,
             REDUN_ENTRY_WINDOW_MS, REDUN_ENTRY_BANNED, REDUN_ENTRY_BANNED_MS,
             REDUN_DRAW_LEAST, REDUN_SEASON_LOST, REDUN_SEASON_BANNED,
             REDUN_SEASON_USUAL, REDUN_SEASON_RISE, REDUN_SEASON_STEEP,
             REDUN_SETTLE_MOST, REDUN_SETTLE_REFEREE, REDUN_REST_MS);
}

static void job_soon(struct sched_store *store)
{
    struct timeval now = {0, 0};

    if (store->on_job)
        event_add(store->job, &now);
}

static void on_job(evutil_socket_t fd, short what, void *arg)
{
    struct sched_store *store = arg;

    (void)fd, (void)what;
    if (store->on_job)
        store->on_job(store->job_ctx);
}

static void sweep_in(struct sched_store *store, int64_t ms)
{
    struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};

    if (store->policy.sweep_ms && !store->freeing)
        event_add(store->sweep, &tv);
}

static void on_swept(enum err err, const redisReply *reply, void *ctx)
{
    struct sched_store *store = ctx;
    struct sched_walk walk = sched_walk_over(reply);
    bool more, job, plan;

    store->sweep_since_ms = 0;
    if (err)
        return;
    more = sched_walk_u64(&walk);
    job = sched_walk_u64(&walk);
    plan = sched_walk_u64(&walk);
    if (!walk.bad && more)
        sweep_in(store, 1);
    if (!walk.bad && job)
        job_soon(store);
    if (!walk.bad && plan)
        sched_plan_step(store);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct sched_store *store = arg;
    struct sched_args args = {0};
    int64_t now = sched_clock_ms();
    uint32_t random;

    (void)fd, (void)what;
    sweep_in(store, store->policy.sweep_ms);
    if (store->sweep_since_ms) {
        if (now - store->sweep_since_ms > SWEEP_HANGS_MS)
            sched_link_reset(store->link, "no reply for 15 s");
        return;
    }
    sched_args_text(&args, store->policy_text);
    if (sched_random(&random, sizeof random)) {
        sched_args_release(&args);
        return;
    }
    sched_args_u64(&args, random);
    if (sched_link_call(store->link, "sweep", &args, on_swept, store) == ERR_OK)
        store->sweep_since_ms = now;
}

static void on_state(bool up, const char *why, void *ctx)
{
    struct sched_store *store = ctx;

    if (store->freeing)
        return;
    if (store->on_state)
        store->on_state(up, why, store->ctx);
    if (!up)
        return;
    store->wakes++;
    sched_work_wake_all(store);
    sweep_in(store, FIRST_SWEEP_MS);
    job_soon(store);
}

static void on_wake(const char *what, void *ctx)
{
    struct sched_store *store = ctx;

    if (*what == 'j') {
        job_soon(store);
        return;
    }
    if (*what == 'v') {
        sched_work_wake(store, what + 1);
        return;
    }
    store->wakes++;
    sched_work_wake_all(store);
}

static void on_error(const char *text, void *ctx)
{
    struct sched_store *store = ctx;

    if (store->on_error)
        store->on_error(text, store->ctx);
}

enum err sched_store_new(const struct sched_store_options *options,
                         struct sched_store **out)
{
    struct sched_store *store = calloc(1, sizeof *store);
    const struct sched_link_hooks hooks = {on_state, on_wake, on_error, store};
    enum err err = ERR_OK;

    if (!store)
        return ERR_NOMEM;
    store->base = options->base;
    store->cut = options->cut;
    store->on_state = options->on_state;
    store->on_error = options->on_error;
    store->ctx = options->ctx;
    sched_policy_init(&store->policy);
    if (options->policy)
        store->policy = *options->policy;
    policy_text(store);
    store->sweep = evtimer_new(options->base, on_sweep, store);
    store->job = evtimer_new(options->base, on_job, store);
    if (!store->sweep || !store->job) {
        err = ERR_IO;
        goto done;
    }
    err = sched_link_new(options->base, options->address,
                         options->cell ? options->cell : "0", &hooks,
                         &store->link);
    if (err)
        goto done;
    *out = store;
    store = NULL; // now the caller's

done:
    if (store) {
        if (store->sweep)
            event_free(store->sweep);
        if (store->job)
            event_free(store->job);
        free(store);
    }
    return err;
}

void sched_store_free(struct sched_store *store)
{
    if (!store)
        return;
    store->freeing = true;
    store->on_job = NULL;
    sched_link_free(store->link); // outstanding calls end here
    sched_work_end_all(store);
    event_free(store->sweep);
    event_free(store->job);
    free(store);
}

bool sched_store_up(const struct sched_store *store)
{
    return !store->freeing && sched_link_up(store->link);
}

void sched_store_drain(struct sched_store *store)
{
    store->draining = true;
    sched_work_wake_all(store);
}

void sched_job_watch(struct sched_store *store, void (*fn)(void *ctx),
                     void *ctx)
{
    store->on_job = fn;
    store->job_ctx = ctx;
    job_soon(store);
}

static enum err meaning(const redisReply *reply)
{
    static const struct {
        const char *word;
        enum err err;
    } words[] = {
        {"ok", ERR_OK},       {"denied", ERR_DENIED}, {"exists", ERR_EXISTS},
        {"full", ERR_FULL},   {"gone", ERR_GONE},     {"none", ERR_NOT_FOUND},
        {"range", ERR_RANGE},
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (sched_reply_is(reply, words[i].word))
            return words[i].err;
    return ERR_FORMAT;
}

static void on_done(enum err err, const redisReply *reply, void *ctx)
{
    struct done *done = ctx;

    done->fn(err ? err : meaning(reply), done->ctx);
    free(done);
}

enum err sched_call_done(struct sched_store *store, const char *function,
                         struct sched_args *args, sched_done_fn *fn, void *ctx)
{
    struct done *done = malloc(sizeof *done);

    if (!done || store->freeing) {
        free(done);
        sched_args_release(args);
        return store->freeing ? ERR_STORE : ERR_NOMEM;
    }
    *done = (struct done){fn, ctx};
    enum err err = sched_link_call(store->link, function, args, on_done, done);
    if (err)
        free(done);
    return err;
}

enum err sched_store_ping(struct sched_store *store, sched_done_fn *fn,
                          void *ctx)
{
    struct sched_args args = {0};

    return sched_call_done(store, "ping", &args, fn, ctx);
}
