// Accounts: which credit is pending and why, that it is what comes, and that
// no entry of the ledger is dropped before it is folded.
#include "fake.h"

#include <string.h>

#include "scheduler/account.h"

#define CELL  "syn:{0}:"
#define ZEROS "000000000000000000000000000000"
#define REST  "ab" ZEROS ZEROS // of an account's name, after its number

struct shown {
    bool done;
    enum err err;
    struct sched_account account;
    char name[32];
};

static void on_account(enum err err, const struct sched_account *a, void *ctx)
{
    struct shown *shown = ctx;

    shown->done = true;
    shown->err = err;
    if (err)
        return;
    shown->account = *a;
    snprintf(shown->name, sizeof shown->name, "%s", a->name);
}

static struct shown show(struct world *w, const char *account)
{
    struct shown shown = {0};

    CHECK_EQ(sched_account_get(w->store, account, on_account, &shown), ERR_OK);
    world_until(w, &shown.done);
    return shown;
}

static void pending_credit_says_why_and_comes(void)
{
    enum { LINES = 8 };
    struct world w;
    struct fake f[2];
    struct shown s;
    uint64_t expected;

    world_init(&w, NULL);
    CHECK_EQ(show(&w, "01" REST).err, ERR_NOT_FOUND);
    world_batch(&w, "batch_1", LINES, false);
    fake_join(&f[0], &w, 1, 1, false);
    fake_go(&f[0]);
    do { // nobody is there to check
        world_run(&w, 20);
        s = show(&w, "01" REST);
        CHECK_EQ(s.err, ERR_OK);
    } while (s.account.checking.lines < LINES);
    CHECK_EQ(s.account.later.lines, 0);
    CHECK_EQ(s.account.credit, 0);
    CHECK_EQ(s.account.online, 1);
    CHECK_EQ(s.account.rank, 1); // of units done, without credit
    expected = s.account.checking.credit;
    CHECK(expected > 0);

    fake_join(&f[1], &w, 9, 9, true);
    fake_go(&f[1]);
    fakes_until_final(&w, "batch_1", 5000);
    s = show(&w, "01" REST);
    CHECK_EQ(s.account.checking.lines, 0);
    CHECK_EQ(s.account.agreed, LINES);
    CHECK_EQ(s.account.run, LINES);
    CHECK_EQ(s.account.disagreements, 0);
    CHECK(!s.account.banned);
    // each line is rounded alone
    CHECK(s.account.credit + LINES >= expected);
    CHECK(s.account.credit <= expected + LINES);
    fakes_output(&w, "batch_1");
    fake_release(&f[0]);
    fake_release(&f[1]);
    world_run(&w, 20);
    CHECK_EQ(fake_leave(&f[0]), ERR_OK);
    CHECK_EQ(fake_leave(&f[1]), ERR_OK);
    world_release(&w);
}

// A trusted account's lines are undrawn: they wait for what follows.
static void undrawn_lines_wait_for_later_checks(void)
{
    struct world w;
    struct fake f;
    struct shown s;

    world_init(&w, NULL);
    world_batch(&w, "batch_1", 60, false);
    fake_join(&f, &w, 1, 1, false);
    world_redis(&w, "HSET " CELL "acct:01" REST " run 1000");
    f.slots = 4;
    do {
        CHECK_EQ(fake_call(&f, f.n_held ? 0 : -1, 0), ERR_OK);
        s = show(&w, "01" REST);
    } while (s.account.later.lines < 5);
    CHECK(s.account.later.credit > 0);
    CHECK_EQ(s.account.credit, 0);
    fake_release(&f);
    CHECK_EQ(fake_leave(&f), ERR_OK);
    world_redis(&w, "FLUSHALL"); // the batch is not to be ended here
    world_release(&w);
}

static void a_long_ledger_is_folded_whole_and_once(void)
{
    enum { ENTRIES = 101500 }; // more than are kept
    struct world w;

    world_init(&w, NULL);
    world_redis(&w, "EVAL %s 0",
                "for i = 1, 101500 do redis.call('XADD', '" CELL
                "ledger', '*', 'a', '01" REST
                "', 'k', 'work', 'c', '1', 't', 2) end return 1");
    for (int i = 0; i < 400; i++)
        if (world_redis(&w, "HGET " CELL "acct:01" REST " tok") < 2 * ENTRIES)
            world_run(&w, 20);
    world_run(&w, 60); // nothing more comes
    CHECK_EQ(world_redis(&w, "HGET " CELL "acct:01" REST " credit"), ENTRIES);
    CHECK_EQ(world_redis(&w, "HGET " CELL "acct:01" REST " tok"), 2 * ENTRIES);
    CHECK_EQ(world_redis(&w, "ZSCORE " CELL "board 01" REST), ENTRIES);
    world_release(&w);
}

int main(void)
{
    pending_credit_says_why_and_comes();
    undrawn_lines_wait_for_later_checks();
    a_long_ledger_is_folded_whole_and_once();
    return 0;
}
