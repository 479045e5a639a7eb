#include "bench/trust_sim.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "redundancy/stints.h"
#include "redundancy/trust.h"

enum {
    STINT_MS = 20000,   // of one host
    CHECK_AFTER = 100,  // stints of the grid between a draw and its check
    CHECKER_TRIES = 16, // hosts asked before the referee
    SPEEDS = 8,         // the fastest host is so many times the slowest
};

enum kind { HONEST, FLAKY, COLLUDER };
enum answer { RIGHT, LIE, NOISE }; // lies are all equal, noise never is

struct host {
    enum kind kind;
    uint32_t speed; // 1 .. SPEEDS
    struct redun_trust trust;
    struct redun_stints stints;
};

#define NOBODY UINT32_MAX

struct line {
    enum answer answer;
    uint32_t maker, voucher; // hosts; NOBODY
    uint32_t keepers;        // of them, those with whom it is pending
    bool open;               // in the queue
};

struct check {
    uint64_t stint;
    uint64_t due;
    bool referee; // nobody else is asked
    bool chance;  // drawn by chance, from a trusted host
};

struct grid {
    const struct trust_sim *sim;
    struct trust_sim_result result;
    uint64_t random; // state
    uint64_t tick;   // stints computed
    struct redun_season season;
    struct host *hosts;
    struct line *lines; // by stint
    uint32_t *wheel;    // hosts, each as often as it is fast
    size_t n_wheel;
    uint32_t again; // stints to be computed once more
    struct check *queue;
    size_t n_queue, cap_queue;
};

// SplitMix64 (Steele, Lea and Flood 2014).
static uint32_t draw32(struct grid *g)
{
    uint64_t z = g->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static uint32_t below(struct grid *g, uint32_t n)
{
    return (uint32_t)((uint64_t)draw32(g) * n >> 32);
}

static int64_t now_ms(const struct grid *g)
{
    return (int64_t)(g->tick * STINT_MS / g->sim->n_hosts);
}

static uint32_t strikes(const struct grid *g, const struct host *h)
{
    return redun_trust_strikes(&h->trust, now_ms(g));
}

static bool trusted(const struct grid *g, const struct host *h)
{
    return redun_trusted(h->trust.run, strikes(g, h));
}

static enum answer work(struct grid *g, const struct host *h)
{
    if (h->kind == FLAKY && below(g, 1000) < g->sim->flaky_wrong)
        return NOISE;
    if (h->kind == COLLUDER && trusted(g, h) &&
        h->stints.n_ended >= g->sim->sleep && below(g, 1000) < g->sim->lie)
        return LIE;
    return RIGHT;
}

// Its own answer to a stint that others answered so.
static enum answer check(struct grid *g, const struct host *h,
                         enum answer theirs)
{
    if (h->kind == FLAKY && below(g, 1000) < g->sim->flaky_wrong)
        return NOISE;
    return h->kind == COLLUDER && theirs == LIE ? LIE : RIGHT;
}

static void deliver(struct grid *g, uint64_t stint)
{
    g->result.delivered++;
    g->result.wrong += g->lines[stint].answer != RIGHT;
}

// What is valid with one of its keepers is final when it is with the other.
// rest: as of redun_stints_valid.
static void deliver_valid(struct grid *g, struct host *h, bool rest)
{
    uint64_t stint;

    while (redun_stints_valid(&h->stints, rest, &stint) == ERR_OK)
        if (--g->lines[stint].keepers == 0)
            deliver(g, stint);
}

static enum err queue_check(struct grid *g, uint64_t stint, bool referee,
                            bool chance)
{
    if (g->n_queue == g->cap_queue) {
        size_t cap = g->cap_queue ? g->cap_queue * 2 : 1024;
        struct check *queue = realloc(g->queue, cap * sizeof *queue);

        if (!queue)
            return ERR_NOMEM;
        g->queue = queue;
        g->cap_queue = cap;
    }
    if (g->lines[stint].open)
        return ERR_OK;
    g->lines[stint].open = true;
    g->queue[g->n_queue++] =
        (struct check){stint, g->tick + CHECK_AFTER, referee, chance};
    return ERR_OK;
}

// A host who may check that one, or NOBODY.
static uint32_t checker(struct grid *g, uint32_t maker)
{
    for (int i = 0; i < CHECKER_TRIES; i++) {
        uint32_t at = g->wheel[below(g, (uint32_t)g->n_wheel)];
        struct host *h = &g->hosts[at];

        if (at != maker && !h->trust.banned &&
            redun_may_check(trusted(g, &g->hosts[maker]), trusted(g, h)))
            return at;
    }
    return NOBODY;
}

// A dispute was lost, about its work or as a checker: a strike, and what it has
// pending is checked by the referee.
static enum err lost(struct grid *g, uint32_t at)
{
    static uint64_t ids[REDUN_STINTS_MAX];
    struct host *h = &g->hosts[at];
    bool was = h->trust.banned;
    enum err err = ERR_OK;
    size_t n;

    redun_trust_lost(&h->trust, now_ms(g));
    g->result.banned += h->trust.banned && !was;
    if (h->trust.banned && !was)
        redun_season_ban(&g->season);
    g->result.banned_honest += h->trust.banned && !was && h->kind == HONEST;
    n = redun_stints_lost(&h->stints, ids);
    for (size_t i = 0; !err && i < n; i++)
        err = queue_check(g, ids[i], true, false);
    return err;
}

// Nobody has it pending any more.
static void drop(struct grid *g, uint64_t stint)
{
    struct line *l = &g->lines[stint];

    redun_stints_drop(&g->hosts[l->maker].stints, stint);
    if (l->voucher != NOBODY)
        redun_stints_drop(&g->hosts[l->voucher].stints, stint);
}

// A volunteer's check agreed.
static enum err vouched(struct grid *g, const struct check *c, uint32_t by)
{
    struct line *l = &g->lines[c->stint];
    struct host *maker = &g->hosts[l->maker], *voucher = &g->hosts[by];
    enum err err = redun_stints_agreed(&maker->stints, c->stint, true);

    redun_trust_agreed(&maker->trust);
    redun_trust_agreed(&voucher->trust);
    if (c->chance)
        redun_season_add(&g->season, false);
    if (!err)
        err = redun_stints_vouch(&voucher->stints, c->stint);
    l->voucher = by;
    l->keepers = 2;
    deliver_valid(g, maker, false);
    return err;
}

// The referee says what it is.
static enum err judged(struct grid *g, const struct check *c)
{
    struct line *l = &g->lines[c->stint];
    struct host *maker = &g->hosts[l->maker];
    uint32_t voucher = l->voucher;
    enum err err;

    g->result.referee++;
    if (c->chance)
        redun_season_add(&g->season, l->answer != RIGHT);
    if (l->answer == RIGHT) {
        redun_trust_agreed(&maker->trust);
        err = redun_stints_agreed(&maker->stints, c->stint, false);
        if (err == ERR_NOT_FOUND)
            err = ERR_OK; // it was the voucher's only
        drop(g, c->stint);
        deliver(g, c->stint);
        deliver_valid(g, maker, false);
        if (voucher != NOBODY)
            deliver_valid(g, &g->hosts[voucher], false);
        return err;
    }
    g->again++;
    drop(g, c->stint);
    err = lost(g, l->maker);
    if (!err && voucher != NOBODY)
        err = lost(g, voucher);
    return err;
}

static enum err run_check(struct grid *g, const struct check *c)
{
    struct line *l = &g->lines[c->stint];
    uint32_t at = c->referee ? NOBODY : checker(g, l->maker);
    enum err err = ERR_OK;
    enum answer own;

    l->open = false;
    if (at == NOBODY)
        return judged(g, c);
    own = check(g, &g->hosts[at], l->answer);
    g->result.checks++;
    if (own == l->answer && own != NOISE)
        return vouched(g, c, at);
    if (own == RIGHT)
        redun_trust_agreed(&g->hosts[at].trust);
    else
        err = lost(g, at);
    return err ? err : judged(g, c);
}

static enum err run_due(struct grid *g, bool all)
{
    enum err err = ERR_OK;

    while (!err && g->n_queue > 0 && (all || g->queue[0].due <= g->tick)) {
        struct check c = g->queue[0];

        memmove(g->queue, g->queue + 1, --g->n_queue * sizeof *g->queue);
        err = run_check(g, &c);
    }
    return err;
}

static enum err one_stint(struct grid *g, uint64_t stint)
{
    uint32_t at;
    struct host *h;
    enum err err;
    bool drawn;

    do {
        at = g->wheel[below(g, (uint32_t)g->n_wheel)];
        h = &g->hosts[at];
    } while (h->trust.banned || redun_trust_rests(&h->trust, now_ms(g)));
    g->lines[stint] = (struct line){work(g, h), at, NOBODY, 1, false};
    g->tick++;
    g->result.computed++;
    drawn = redun_draw(h->trust.run, strikes(g, h),
                       redun_draw_least(&g->season), draw32(g));
    err = redun_stints_add(&h->stints, stint, drawn);
    if (!err && drawn)
        err = queue_check(g, stint, false, trusted(g, h));
    deliver_valid(g, h, false);
    return err ? err : run_due(g, false);
}

// The batch has ended: some more checks for each host that has something
// pending, and then the rest.
static enum err settle(struct grid *g)
{
    enum err err = run_due(g, true);
    uint64_t stint;

    for (uint32_t i = 0; !err && i < g->sim->n_hosts; i++) {
        struct redun_stints *stints = &g->hosts[i].stints;
        size_t undrawn = redun_stints_undrawn(stints);
        size_t n = redun_settle(undrawn, redun_draw_least(&g->season));

        for (; !err && n > 0; n--)
            if (redun_stints_settle(stints, draw32(g), &stint) == ERR_OK)
                err = queue_check(g, stint, undrawn >= REDUN_SETTLE_REFEREE,
                                  true);
    }
    if (!err)
        err = run_due(g, true);
    for (uint32_t i = 0; !err && i < g->sim->n_hosts; i++)
        deliver_valid(g, &g->hosts[i], true);
    return err;
}

static void people(struct grid *g)
{
    const struct trust_sim *sim = g->sim;
    uint32_t colluders = sim->n_hosts * sim->colluders / 1000;
    uint32_t flaky = sim->n_hosts * sim->flaky / 1000;

    for (uint32_t i = 0; i < sim->n_hosts; i++) {
        struct host *h = &g->hosts[i];

        h->kind = i < colluders           ? COLLUDER
                  : i < colluders + flaky ? FLAKY
                                          : HONEST;
        h->speed = 1 + below(g, SPEEDS);
        for (uint32_t k = 0; k < h->speed; k++)
            g->wheel[g->n_wheel++] = i;
    }
}

enum err trust_sim_run(const struct trust_sim *sim,
                       struct trust_sim_result *out)
{
    struct grid g = {.sim = sim, .random = sim->seed};
    uint64_t most = (uint64_t)sim->n_stints * 4; // with those computed again
    uint64_t stint = 0;
    enum err err = ERR_OK;

    g.hosts = calloc(sim->n_hosts, sizeof *g.hosts);
    g.lines = calloc(most, sizeof *g.lines);
    g.wheel = calloc((size_t)sim->n_hosts * SPEEDS, sizeof *g.wheel);
    if (!g.hosts || !g.lines || !g.wheel) {
        err = ERR_NOMEM;
        goto done;
    }
    people(&g);
    for (uint32_t batch = 0; !err && batch < sim->n_batches; batch++) {
        uint64_t left = sim->n_stints / sim->n_batches;

        do {
            for (; !err && left > 0 && stint < most; left--)
                err = one_stint(&g, stint++);
            if (!err)
                err = settle(&g);
            left = g.again;
            g.again = 0;
        } while (!err && left > 0);
    }
    if (!err)
        *out = g.result;

done:
    free(g.queue);
    free(g.wheel);
    free(g.lines);
    free(g.hosts);
    return err;
}

double trust_sim_extra(const struct trust_sim_result *r)
{
    return (double)(r->computed + r->checks + r->referee) /
               (double)r->delivered -
           1;
}

double trust_sim_wrong(const struct trust_sim_result *r)
{
    return (double)r->wrong / (double)r->delivered;
}
