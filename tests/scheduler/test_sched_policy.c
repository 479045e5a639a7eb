// The policy of checks at work: trusted accounts are checked now and then,
// liars among them lose all that is pending and are banned, and a batch may ask
// for more.
#include "fake.h"

#include <string.h>
#include <time.h>

#define CELL  "syn:{0}:"
#define ZEROS "000000000000000000000000000000"
#define REST  "ab" ZEROS ZEROS // of an account's name, after its number

static void start(struct fake *f, struct world *w, int n, bool referee)
{
    for (int i = 0; i < n; i++)
        fake_join(&f[i], w, i + 1, (uint8_t)(i + 1), false);
    if (referee)
        fake_join(&f[n], w, 9, 9, true);
}

static void go(struct fake *f, int n)
{
    for (int i = 0; i < n; i++)
        fake_go(&f[i]);
}

static void stop_all(struct world *w, struct fake *fakes, int n)
{
    for (int i = 0; i < n; i++)
        fake_release(&fakes[i]);
    world_run(w, 20);
    for (int i = 0; i < n; i++)
        CHECK_EQ(fake_leave(&fakes[i]), ERR_OK);
    world_release(w);
}

static long long account(struct world *w, int n, const char *field)
{
    return world_redis(w, "HGET " CELL "acct:0%d" REST " %s", n, field);
}

// Accounts 1 .. n have so many valid checks behind them.
static void trust(struct world *w, int n, int run)
{
    for (int i = 1; i <= n; i++)
        world_redis(w, "HSET " CELL "acct:0%d" REST " run %d", i, run);
}

static void newcomers_are_checked_and_earn_trust(void)
{
    struct world w;
    struct fake f[3];

    world_init(&w, NULL);
    world_batch(&w, "batch_1", 9, false);
    start(f, &w, 1, true);
    go(f, 2);
    fakes_until_final(&w, "batch_1", 8000);
    world_check(&w, "batch_1", 9, false, true);
    CHECK_EQ(f[1].check_seqs, 9); // every one of its first
    CHECK_EQ(account(&w, 1, "run"), 9);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 2);
}

static void the_trusted_are_spot_checked(void)
{
    enum { LINES = 240 };
    struct world w;
    struct fake f[4];
    uint32_t checks = 0;

    world_init(&w, NULL);
    world_batch(&w, "batch_1", LINES, true);
    start(f, &w, 3, true);
    trust(&w, 3, 1000);
    go(f, 4);
    fakes_until_final(&w, "batch_1", 9000);
    world_check(&w, "batch_1", LINES, true, true);
    for (int i = 0; i < 4; i++)
        checks += f[i].check_seqs;
    CHECK(checks >= 1);         // at the batch's end at the latest
    CHECK(checks <= LINES / 4); // 15 expected
    CHECK(world_redis(&w, "HGET " CELL "b:batch_1 n_ct") * 3 <
          world_redis(&w, "HGET " CELL "b:batch_1 tok"));
    CHECK_EQ(world_redis(&w, "HGET " CELL "g rollbacks"), 0);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 4);
}

// It was trusted, and all that it does now is wrong. A new volunteer of the
// account, afterwards, gets no work.
static void a_sleeper_gets_nothing_through(void)
{
    enum { LINES = 90 };
    struct world w;
    struct fake f[5];

    world_init(&w, NULL);
    world_batch(&w, "batch_1", LINES, false);
    start(f, &w, 3, true);
    trust(&w, 3, 1000);
    f[0].mode = FAKE_WRONG_WORK;
    go(f, 4);
    fakes_until_final(&w, "batch_1", 9000);
    world_check(&w, "batch_1", LINES, false, true);
    world_run(&w, 80);
    CHECK_EQ(account(&w, 1, "tok"), 0); // nothing of it was confirmed
    CHECK(account(&w, 1, "lies") > 0);
    CHECK_EQ(account(&w, 1, "ban"), 1);
    CHECK_EQ(account(&w, 2, "lies") + account(&w, 3, "lies"), 0);
    CHECK_EQ(account(&w, 2, "st") + account(&w, 3, "st"), 0);
    fakes_output(&w, "batch_1");

    fake_release(&f[0]);
    CHECK_EQ(fake_leave(&f[0]), ERR_OK);
    world_batch(&w, "batch_2", 1, false);
    fake_join(&f[4], &w, 5, 1, false); // the banned account, again
    CHECK_EQ(fake_call(&f[4], -1, 0), ERR_OK);
    CHECK_EQ(f[4].reason, SYN1_BANNED);
    fakes_until_final(&w, "batch_2", 5000);
    fakes_output(&w, "batch_2");
    stop_all(&w, f + 1, 4);
}

static void strikes_are_forgotten(void)
{
    const long long week = INT64_C(7) * 24 * 3600 * 1000;
    struct world w;
    struct fake f[3];

    world_init(&w, NULL);
    start(f, &w, 2, true);
    // three weeks ago it had two; one lie now is its first
    world_redis(&w, "HSET " CELL "acct:01" REST " st 2 stt %lld",
                (long long)time(NULL) * 1000 - 3 * week);
    trust(&w, 2, 1000);
    world_batch(&w, "batch_1", 1, false);
    f[0].mode = FAKE_WRONG_WORK;
    fake_go(&f[0]);
    world_run(&w, 100);
    go(f + 1, 2);
    fakes_until_final(&w, "batch_1", 5000);
    CHECK_EQ(account(&w, 1, "st"), 1);
    CHECK_EQ(account(&w, 1, "run"), 0);
    CHECK_EQ(account(&w, 1, "ban"), 0);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 3);
}

struct report {
    bool done;
    uint32_t redundancy;
    uint64_t tokens, checked, recomputed;
};

static void on_batch(enum err err, const struct sched_batch *b, void *ctx)
{
    struct report *r = ctx;

    CHECK_EQ(err, ERR_OK);
    *r = (struct report){true, b->redundancy, b->tokens, b->checked_tokens,
                         b->recomputed_tokens};
}

static void a_batch_may_ask_for_three(void)
{
    enum { LINES = 20 };
    struct world w;
    struct fake f[4];
    struct report r = {0};
    uint32_t checks = 0;

    world_init(&w, NULL);
    w.redundancy = 3;
    world_batch(&w, "batch_1", LINES, false);
    start(f, &w, 3, false); // and no referee
    trust(&w, 3, 1000);
    go(f, 3);
    fakes_until_final(&w, "batch_1", 8000);
    world_check(&w, "batch_1", LINES, false, true);
    for (int i = 0; i < 3; i++)
        checks += f[i].check_seqs;
    CHECK_EQ(checks, 2 * LINES);
    CHECK_EQ(sched_batch_get(w.store, "batch_1", "key_a", on_batch, &r),
             ERR_OK);
    world_until(&w, &r.done);
    CHECK_EQ(r.redundancy, 3);
    CHECK_EQ(r.checked, r.tokens);
    CHECK_EQ(r.recomputed, 2 * r.tokens);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 3);
}

static void soon(struct sched_policy *p)
{
    p->referee_after_ms = 100;
}

// Two newcomers of six give the same wrong answers, and agree in checks.
static void colluders_cannot_vouch_for_each_other(void)
{
    enum { LINES = 48 };
    struct world w;
    struct fake f[7];

    world_init(&w, soon);
    w.redundancy = 2;
    world_batch(&w, "batch_1", LINES, false);
    start(f, &w, 6, true);
    f[0].mode = f[1].mode = FAKE_WRONG_TOKEN;
    go(f, 7);
    fakes_until_final(&w, "batch_1", 9000);
    world_check(&w, "batch_1", LINES, false, true);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_ct"),
             world_redis(&w, "HGET " CELL "b:batch_1 tok"));
    for (int i = 3; i <= 6; i++)
        CHECK_EQ(account(&w, i, "st"), 0);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 7);
}

// Nor do two newcomers at the default redundancy. Both are found, though nobody
// who is trusted is there.
static void two_newcomers_are_not_paired(void)
{
    enum { LINES = 32 };
    struct world w;
    struct fake f[4];

    world_init(&w, NULL);
    world_batch(&w, "batch_1", LINES, false);
    start(f, &w, 2, false);
    fake_join(&f[2], &w, 9, 9, true);
    f[0].mode = f[1].mode = FAKE_WRONG_TOKEN;
    go(f, 3);
    for (int i = 0; i < 80; i++)
        if (account(&w, 1, "ban") + account(&w, 2, "ban") < 2)
            world_run(&w, 50);
    CHECK_EQ(account(&w, 1, "ban") + account(&w, 2, "ban"), 2);
    CHECK_EQ(f[0].check_seqs + f[1].check_seqs, 0);
    fake_join(&f[3], &w, 3, 3, false);
    fake_go(&f[3]);
    fakes_until_final(&w, "batch_1", 8000);
    world_check(&w, "batch_1", LINES, false, true);
    CHECK_EQ(account(&w, 3, "st"), 0);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 4);
}

// Who leaves has one of its pending lines checked; then they are final, though
// the batch goes on.
static void who_leaves_is_settled(void)
{
    struct world w;
    struct fake f[2];

    world_init(&w, NULL);
    world_batch(&w, "batch_1", 60, false);
    fake_join(&f[0], &w, 1, 1, false);
    fake_join(&f[1], &w, 9, 9, true);
    trust(&w, 1, 1000);
    f[0].slots = 4;
    while (world_redis(&w, "SCARD " CELL "b:batch_1:p") < 5)
        CHECK_EQ(fake_call(&f[0], f[0].n_held ? 0 : -1, 0), ERR_OK);
    fake_release(&f[0]);
    CHECK_EQ(fake_leave(&f[0]), ERR_OK);
    fake_go(&f[1]);
    for (int i = 0; i < 600; i++)
        if (world_redis(&w, "SCARD " CELL "b:batch_1:p") > 0)
            world_run(&w, 50);
    CHECK_EQ(world_redis(&w, "SCARD " CELL "b:batch_1:p"), 0);
    CHECK(world_redis(&w, "HGET " CELL "b:batch_1 n_ok") >= 5);
    CHECK(f[1].check_seqs < 5);
    CHECK(world_redis(&w, "HGET " CELL "b:batch_1 n_q") > 0);
    fake_join(&f[0], &w, 2, 2, false);
    fake_go(&f[0]);
    fakes_until_final(&w, "batch_1", 8000);
    world_check(&w, "batch_1", 60, false, true);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 2);
}

int main(void)
{
    newcomers_are_checked_and_earn_trust();
    the_trusted_are_spot_checked();
    a_sleeper_gets_nothing_through();
    strikes_are_forgotten();
    a_batch_may_ask_for_three();
    colluders_cannot_vouch_for_each_other();
    two_newcomers_are_not_paired();
    who_leaves_is_settled();
    return 0;
}
