// Confirmation: no wrong line becomes final, whoever computes or checks, and
// the blame goes where it belongs.
#include "fake.h"

#include <string.h>

#define CELL "syn:{0}:"

enum { LINES = 24 };

static void stop_all(struct world *w, struct fake *fakes, int n)
{
    for (int i = 0; i < n; i++)
        fake_release(&fakes[i]);
    world_run(w, 20);
    for (int i = 0; i < n; i++)
        CHECK_EQ(fake_leave(&fakes[i]), ERR_OK);
    world_release(w);
}

struct standing {
    bool done;
    uint64_t credit[10], disagreements[10], checks[10], total;
};

static void on_ranks(enum err err, const struct sched_rank *ranks, size_t n,
                     uint64_t total, void *ctx)
{
    struct standing *s = ctx;
    uint64_t last = UINT64_MAX;

    CHECK_EQ(err, ERR_OK);
    for (size_t i = 0; i < n; i++) {
        int account = ranks[i].account[1] - '0'; // fakes: 01ab.., 02ab..

        CHECK(strncmp(ranks[i].account + 2, "ab0000", 6) == 0);
        CHECK(account >= 0 && account < 10);
        CHECK(ranks[i].credit <= last);
        CHECK_EQ(ranks[i].rank, i + 1);
        last = ranks[i].credit;
        s->credit[account] = ranks[i].credit;
        s->disagreements[account] = ranks[i].disagreements;
        s->checks[account] = ranks[i].checks;
    }
    s->total = total;
    s->done = true;
}

static struct standing standing_of(struct world *w)
{
    struct standing s = {0};

    world_run(w, 80); // a sweep folds the ledger
    CHECK_EQ(sched_stats_ranks(w->store, 0, 100, on_ranks, &s), ERR_OK);
    world_until(w, &s.done);
    return s;
}

// Volunteers 1 .. n of accounts 1 .. n; the first has this mode. With a
// referee (account 9) if asked for.
static void gather(struct world *w, struct fake *f, int n, enum fake_mode mode,
                   bool referee)
{
    for (int i = 0; i < n; i++)
        fake_join(&f[i], w, i + 1, (uint8_t)(i + 1), false);
    if (referee)
        fake_join(&f[n], w, 9, 9, true);
    f[0].mode = mode;
    for (int i = 0; i < n + referee; i++)
        fake_go(&f[i]);
}

static void a_liar_is_caught_and_named(void)
{
    static const enum fake_mode modes[] = {FAKE_WRONG_TOKEN, FAKE_WRONG_PRINT,
                                           FAKE_WRONG_PROBS, FAKE_STOPS_EARLY,
                                           FAKE_NO_PROBS,    FAKE_MALFORMED};

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct world w;
        struct fake f[4];
        struct standing s;

        world_init(&w, NULL);
        world_batch(&w, "batch_1", LINES, i % 2);
        gather(&w, f, 3, modes[i], true);
        fakes_until_final(&w, "batch_1", 8000);
        world_check(&w, "batch_1", LINES, i % 2, true);
        s = standing_of(&w);
        if (modes[i] == FAKE_MALFORMED || modes[i] == FAKE_NO_PROBS)
            CHECK(world_redis(&w, "HGET " CELL "g faults") > 0);
        else
            CHECK(s.disagreements[1] > 0);
        CHECK_EQ(s.disagreements[2], 0);
        CHECK_EQ(s.disagreements[3], 0);
        CHECK(s.credit[2] > 0 && s.credit[3] > 0);
        CHECK_EQ(s.credit[9], 0); // the referee is no competitor
        fakes_output(&w, "batch_1");
        stop_all(&w, f, 4);
    }
}

// An account has trust: newcomers may check what it made.
static void earned(struct world *w, int account)
{
    world_redis(w, "HSET " CELL "acct:0%dab%060d run 15", account, 0);
}

// A checker that always differs never stops a line, and pays for it.
static void a_checker_that_lies_loses(void)
{
    struct world w;
    struct fake f[3];
    struct standing s;

    world_init(&w, NULL);
    w.redundancy = 2;
    gather(&w, f, 2, FAKE_WRONG_PRINT, true);
    earned(&w, 2);
    f[0].slots = 0;
    world_run(&w, 20);
    world_batch(&w, "batch_1", LINES, false);
    world_run(&w, 100); // the second computes
    f[0].slots = 16;    // the first checks
    fakes_until_final(&w, "batch_1", 8000);
    world_check(&w, "batch_1", LINES, false, true);
    s = standing_of(&w);
    CHECK(s.disagreements[1] > 0);
    CHECK_EQ(s.disagreements[2], 0);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 3);
}

static void late(struct sched_policy *p)
{
    p->referee_after_ms = 60000;
}

// Nothing waits for a second one to come.
static void one_lone_device_completes_a_batch(void)
{
    struct world w;
    struct fake f[2];
    struct standing s;

    world_init(&w, late);
    world_batch(&w, "batch_1", LINES, true);
    gather(&w, f, 1, FAKE_HONEST, true);
    fakes_until_final(&w, "batch_1", 5000);
    world_check(&w, "batch_1", LINES, true, true);
    s = standing_of(&w);
    CHECK_EQ(f[1].work_seqs, 0); // the referee only checks
    CHECK(s.credit[1] > 0 && s.checks[1] == 0);
    CHECK_EQ(s.total, 1);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 2);
}

static void two_devices_of_one_account_do_not_check_each_other(void)
{
    struct world w;
    struct fake f[3];

    world_init(&w, NULL);
    world_batch(&w, "batch_1", LINES, false);
    for (int i = 0; i < 3; i++)
        fake_join(&f[i], &w, i + 1, i == 2 ? 9 : 1, i == 2);
    for (int i = 0; i < 3; i++)
        fake_go(&f[i]);
    fakes_until_final(&w, "batch_1", 5000);
    world_check(&w, "batch_1", LINES, false, true);
    CHECK_EQ(f[0].check_seqs + f[1].check_seqs, 0);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 3);
}

static void soon(struct sched_policy *p)
{
    p->referee_after_ms = 300;
    p->sticky_ms = 100;
}

// A second account is online, and may check, but never calls.
static void the_referee_checks_what_nobody_picks_up(void)
{
    struct world w;
    struct fake f[3];
    int64_t start;

    world_init(&w, soon);
    fake_join(&f[0], &w, 1, 1, false);
    fake_join(&f[1], &w, 2, 2, false);
    fake_join(&f[2], &w, 9, 9, true);
    earned(&w, 2);
    fake_go(&f[0]);
    fake_go(&f[2]);
    world_batch(&w, "batch_1", 4, false);
    start = world_ms();
    fakes_until_final(&w, "batch_1", 5000);
    CHECK(world_ms() - start >= 250);
    CHECK(world_ms() - start < 5000); // which it is by default
    CHECK_EQ(f[2].check_seqs, 4);
    world_check(&w, "batch_1", 4, false, true);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 3);
}

static void without_a_referee_a_third_account_decides(void)
{
    struct world w;
    struct fake f[4];
    struct standing s;

    world_init(&w, NULL);
    world_batch(&w, "batch_1", LINES, false);
    gather(&w, f, 4, FAKE_WRONG_TOKEN, false);
    fakes_until_final(&w, "batch_1", 8000);
    world_check(&w, "batch_1", LINES, false, true);
    s = standing_of(&w);
    CHECK(s.disagreements[1] > 0);
    for (int i = 2; i <= 4; i++)
        CHECK_EQ(s.disagreements[i], 0);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 4);
}

// A rollback keeps what was right, raises the epoch and blames the stint that
// holds the first wrong position.
static void a_rollback_keeps_the_right_prefix(void)
{
    struct world w;
    struct fake f[3];
    uint32_t i = 0;

    world_init(&w, NULL);
    while (world_max_tokens(i) < 10)
        i++;
    world_batch(&w, "batch_1", i + 1, false);
    fake_join(&f[0], &w, 1, 1, false);
    fake_join(&f[1], &w, 9, 9, true);
    f[0].mode = FAKE_WRONG_TOKEN;
    while (fake_call(&f[0], f[0].n_held ? 0 : -1, 0) == ERR_OK &&
           f[0].reason == SYN1_WORK)
        continue;
    while (fake_call(&f[1], f[1].n_held ? 0 : -1, 0) == ERR_OK &&
           f[1].reason == SYN1_WORK)
        continue;
    CHECK(world_redis(&w, "HGET " CELL "g rollbacks") > 0);
    CHECK_EQ(world_redis(&w, "HGET " CELL "s:%u ep", i + 1), 1);
    CHECK_EQ(world_redis(&w, "HSTRLEN " CELL "s:%u o", i + 1), 4); // one token
    CHECK_EQ(world_redis(&w, "HSTRLEN " CELL "s:%u pr", i + 1), 16);
    CHECK_EQ(f[1].rows > 0, true);
    fake_join(&f[2], &w, 2, 2, false);
    fake_go(&f[1]);
    fake_go(&f[2]);
    fakes_until_final(&w, "batch_1", 5000);
    world_check(&w, "batch_1", i + 1, false, true);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 3);
}

static void short_units(struct sched_policy *p)
{
    p->first_new = 2;
    p->max_new = 2;
}

// The first volunteer is honest and leaves; the second goes on and lies.
static void blame_goes_to_the_stint_that_is_wrong(void)
{
    struct world w;
    struct fake f[4];
    struct standing s;

    world_init(&w, short_units);
    world_batch(&w, "batch_1", LINES, false);
    fake_join(&f[0], &w, 1, 1, false);
    CHECK_EQ(fake_call(&f[0], -1, 0), ERR_OK);
    fake_call_start(&f[0], 0, 0);
    world_until(&w, &f[0].done);
    CHECK_EQ(f[0].outcome, SYN1_ACCEPTED);
    CHECK_EQ(fake_leave(&f[0]), ERR_OK);
    fake_join(&f[1], &w, 2, 2, false);
    fake_join(&f[2], &w, 9, 9, true);
    f[1].mode = FAKE_WRONG_WORK;
    fake_go(&f[1]);
    fake_go(&f[2]);
    world_run(&w, 300);
    fake_join(&f[3], &w, 3, 3, false); // the second is banned by now, or soon
    fake_go(&f[3]);
    fakes_until_final(&w, "batch_1", 8000);
    world_check(&w, "batch_1", LINES, false, true);
    s = standing_of(&w);
    CHECK_EQ(s.disagreements[1], 0);
    CHECK(s.disagreements[2] > 0);
    CHECK_EQ(s.disagreements[2], world_redis(&w, "HGET " CELL "g rollbacks"));
    CHECK(s.credit[1] > 0); // what it did was right
    fakes_output(&w, "batch_1");
    fake_release(&f[0]);
    stop_all(&w, f + 1, 3);
}

// Two liars vouch for each other's lines; one is caught about another line, by
// an honest volunteer, before their batch has ended.
static void liars_who_vouch_for_each_other_get_nothing_through(void)
{
    for (uint32_t redundancy = 1; redundancy <= 2; redundancy++) {
        struct world w;
        struct fake f[4];
        struct standing s;

        world_init(&w, NULL);
        w.redundancy = redundancy;
        for (int i = 0; i < 3; i++) {
            fake_join(&f[i], &w, i + 1, (uint8_t)(i + 1), false);
            f[i].mode = i < 2 ? FAKE_WRONG_TOKEN : FAKE_HONEST;
        }
        fake_join(&f[3], &w, 9, 9, true);
        f[0].slots = f[1].slots = 2;
        for (int i = 1; i <= 2;
             i++) // those who have no trust are checked always
            earned(&w, redundancy == 1 && i == 1 ? 7 : i);
        world_batch(&w, "batch_1", LINES, false);
        fake_go(&f[0]);
        fake_go(&f[1]);
        for (int i = 0;
             i < 3000 && world_redis(&w, "SCARD " CELL "b:batch_1:h") == 0; i++)
            world_run(&w, 1);
        CHECK(world_redis(&w, "SCARD " CELL "b:batch_1:h") > 0); // vouched for
        CHECK_EQ(world_redis(&w, "LLEN " CELL "b:batch_1:res"), 0);
        earned(&w, 3);
        fake_go(&f[2]);
        fake_go(&f[3]);
        fakes_until_final(&w, "batch_1", 8000);
        world_check(&w, "batch_1", LINES, false, true);
        s = standing_of(&w);
        CHECK(s.disagreements[1] > 0 && s.disagreements[2] > 0);
        CHECK_EQ(s.disagreements[3], 0);
        fakes_output(&w, "batch_1");
        stop_all(&w, f, 4);
    }
}

// Who was wrong gets no new lines, while another is there who was not.
static void who_was_wrong_rests(void)
{
    struct world w;
    struct fake f[4];
    long long now;

    world_init(&w, NULL);
    world_batch(&w, "batch_1", LINES, false);
    fake_join(&f[0], &w, 1, 1, false);
    now = world_redis(&w, "HGET " CELL "v:%s seen", f[0].id);
    world_redis(&w, "HSET " CELL "acct:01ab%060d st 1 stt %lld", 0, now);
    f[0].slots = 1;
    CHECK_EQ(fake_call(&f[0], -1, 0), ERR_OK); // alone, it works
    CHECK_EQ(f[0].reason, SYN1_WORK);
    CHECK_EQ(fake_leave(&f[0]), ERR_OK);
    fake_join(&f[1], &w, 2, 2, false);
    f[1].slots = 1;
    CHECK_EQ(fake_call(&f[1], -1, 0), ERR_OK);
    CHECK_EQ(f[1].reason, SYN1_WORK);
    fake_join(&f[2], &w, 3, 1, false);
    CHECK_EQ(fake_call(&f[2], -1, 0), ERR_OK);
    CHECK(f[2].reason != SYN1_WORK);
    CHECK_EQ(fake_leave(&f[1]), ERR_OK);
    fake_join(&f[3], &w, 9, 9, true);
    fake_go(&f[2]); // alone again
    fake_go(&f[3]);
    fakes_until_final(&w, "batch_1", 8000);
    world_check(&w, "batch_1", LINES, false, true);
    fakes_output(&w, "batch_1");
    fake_release(&f[0]);
    fake_release(&f[1]);
    stop_all(&w, f + 2, 2);
}

int main(void)
{
    who_was_wrong_rests();
    liars_who_vouch_for_each_other_get_nothing_through();
    blame_goes_to_the_stint_that_is_wrong();
    a_liar_is_caught_and_named();
    a_checker_that_lies_loses();
    one_lone_device_completes_a_batch();
    two_devices_of_one_account_do_not_check_each_other();
    the_referee_checks_what_nobody_picks_up();
    without_a_referee_a_third_account_decides();
    a_rollback_keeps_the_right_prefix();
    return 0;
}
