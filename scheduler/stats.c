#include "scheduler/stats.h"

#include <stdlib.h>

#include "scheduler/state.h"

enum {
    VOLUNTEERS_MAX = 100,
    VOLUNTEER_FIELDS = 8,
    RANK_FIELDS = 11,
    RANKS_MAX = 100,
    TPS_SECONDS = 10,
};

struct asking {
    sched_stats_fn *fn;
    void *ctx;
};

struct ranking {
    sched_ranks_fn *fn;
    void *ctx;
    uint64_t offset;
};

// A decimal fraction as Lua prints it; the server's own, so lenient on the end.
static double fraction(const char *s)
{
    double v = 0, unit = 1;

    for (; *s >= '0' && *s <= '9'; s++)
        v = v * 10 + (*s - '0');
    if (*s == '.')
        for (s++; *s >= '0' && *s <= '9'; s++)
            v += (*s - '0') * (unit /= 10);
    return v;
}

static void read_head(struct sched_walk *walk, struct sched_stats *s)
{
    s->online = sched_walk_u64(walk);
    s->referees = sched_walk_u64(walk);
    s->queued = sched_walk_u64(walk);
    s->running = sched_walk_u64(walk);
    s->checking = sched_walk_u64(walk);
    s->confirmed = sched_walk_u64(walk);
    s->failed = sched_walk_u64(walk);
    s->tokens = sched_walk_u64(walk);
    s->tokens_per_s = (double)sched_walk_u64(walk) / TPS_SECONDS;
    s->units = sched_walk_u64(walk);
    s->faults = sched_walk_u64(walk);
    s->disagreements = sched_walk_u64(walk);
    s->rollbacks = sched_walk_u64(walk);
    s->units_out = sched_walk_u64(walk);
    s->jobs = sched_walk_u64(walk);
    s->callbacks = sched_walk_u64(walk);
    s->bans = sched_walk_u64(walk);
    s->checks = sched_walk_u64(walk);
    s->check_wait_ms = sched_walk_u64(walk);
    s->span_rows = sched_walk_u64(walk);
    s->span_rows_lost = sched_walk_u64(walk);
    s->span_rows_rebuilt = sched_walk_u64(walk);
}

static void read_volunteer(struct sched_walk *walk,
                           struct sched_volunteer_stats *v)
{
    uint32_t doing;

    v->name = sched_walk_text(walk);
    v->backend = sched_walk_text(walk);
    v->account = sched_walk_text(walk);
    doing = sched_walk_u32(walk);
    v->doing = doing <= SCHED_CHECKING ? (enum sched_doing)doing : SCHED_IDLE;
    v->referee = sched_walk_text(walk)[0] == '1';
    v->tokens_per_s = fraction(sched_walk_text(walk));
    v->units = sched_walk_u64(walk);
    v->sequences = sched_walk_u32(walk);
}

static void on_stats(enum err err, const redisReply *reply, void *ctx)
{
    struct asking *asking = ctx;
    struct sched_stats stats = {0};
    struct sched_volunteer_stats *list = NULL;

    if (!err) {
        struct sched_walk walk = sched_walk_over(reply);

        read_head(&walk, &stats);
        list = calloc(VOLUNTEERS_MAX, sizeof *list);
        stats.volunteers = list;
        if (!list)
            err = ERR_BUSY;
        while (!err && stats.n_volunteers < VOLUNTEERS_MAX &&
               sched_walk_has(&walk, VOLUNTEER_FIELDS))
            read_volunteer(&walk, &list[stats.n_volunteers++]);
        if (!err && walk.bad)
            err = ERR_FORMAT;
    }
    asking->fn(err, err ? NULL : &stats, asking->ctx);
    free(list);
    free(asking);
}

enum err sched_stats_get(struct sched_store *store, sched_stats_fn *fn,
                         void *ctx)
{
    struct sched_args args = {0};
    struct asking *asking = malloc(sizeof *asking);
    enum err err;

    if (!asking)
        return ERR_NOMEM;
    *asking = (struct asking){fn, ctx};
    sched_args_u64(&args, VOLUNTEERS_MAX);
    err = sched_link_call(store->link, "stats", &args, on_stats, asking);
    if (err)
        free(asking);
    return err;
}

static void read_rank(struct sched_walk *walk, struct sched_rank *r)
{
    r->account = sched_walk_text(walk);
    r->name = sched_walk_text(walk);
    r->backends = sched_walk_text(walk);
    r->credit = sched_walk_u64(walk);
    r->units = sched_walk_u64(walk);
    r->tokens = sched_walk_u64(walk);
    r->checks = sched_walk_u64(walk);
    r->disagreements = sched_walk_u64(walk);
    r->agreed = sched_walk_u64(walk);
    r->banned = sched_walk_u64(walk) > 0;
    r->online = sched_walk_u64(walk);
}

static void on_ranks(enum err err, const redisReply *reply, void *ctx)
{
    struct ranking *ranking = ctx;
    struct sched_rank *ranks = NULL;
    uint64_t total = 0;
    size_t n = 0;

    if (!err) {
        struct sched_walk walk = sched_walk_over(reply);

        total = sched_walk_u64(&walk);
        ranks = calloc(RANKS_MAX, sizeof *ranks);
        if (!ranks)
            err = ERR_BUSY;
        while (!err && n < RANKS_MAX && sched_walk_has(&walk, RANK_FIELDS)) {
            read_rank(&walk, &ranks[n]);
            ranks[n].rank = ranking->offset + n + 1;
            n++;
        }
        if (!err && walk.bad)
            err = ERR_FORMAT;
    }
    ranking->fn(err, err ? NULL : ranks, err ? 0 : n, err ? 0 : total,
                ranking->ctx);
    free(ranks);
    free(ranking);
}

enum err sched_stats_ranks(struct sched_store *store, uint64_t offset,
                           uint32_t limit, sched_ranks_fn *fn, void *ctx)
{
    struct sched_args args = {0};
    struct ranking *ranking;
    enum err err;

    if (!limit || limit > RANKS_MAX || offset > UINT32_MAX)
        return ERR_RANGE;
    ranking = malloc(sizeof *ranking);
    if (!ranking)
        return ERR_NOMEM;
    *ranking = (struct ranking){fn, ctx, offset};
    sched_args_u64(&args, offset);
    sched_args_u64(&args, limit);
    err = sched_link_call(store->link, "ranks", &args, on_ranks, ranking);
    if (err)
        free(ranking);
    return err;
}
