// Who loses a dispute has all that it has pending checked: what was right then
// counts, what was wrong goes back. And what a check covers.
#include "fake.h"

#define CELL  "syn:{0}:"
#define ZEROS "000000000000000000000000000000"
#define REST  "ab" ZEROS ZEROS // of an account's name, after its number

static long long account(struct world *w, int n, const char *field)
{
    return world_redis(w, "HGET " CELL "acct:%02x" REST " %s", n, field);
}

// Its lines that are drawn, and those that wait for later ones.
static long long waiting(struct world *w, int n)
{
    return world_redis(w, "ZCARD " CELL "a:%02x" REST ":p", n) +
           world_redis(w, "ZCARD " CELL "a:%02x" REST ":d", n);
}

static void trusted(struct world *w, int n)
{
    world_redis(w, "HSET " CELL "acct:%02x" REST " run 100000", n);
}

// By hand, until nothing is left for it.
static void work(struct fake *f)
{
    do
        CHECK_EQ(fake_call(f, f->n_held ? 0 : -1, 0), ERR_OK);
    while (f->reason == SYN1_WORK);
}

// Those of lines 0 .. n - 1 in which the second token can be wrong.
static long long lines_of_two(uint32_t n)
{
    long long count = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t tokens[MODEL_CONTEXT];
        uint32_t len = world_prompt(i, tokens);
        uint64_t seed = i % 3 ? 0 : 1000 + i; // as world_batch gives it

        count += world_max_tokens(i) > 1 &&
                 model_next(tokens, len, seed) != MODEL_END;
    }
    return count;
}

// A trusted account does part of a batch, first rightly, then wrongly; few of
// these lines are drawn. Then it is caught lying about another batch.
static void all_that_is_pending_is_checked(void)
{
    enum { LINES = 90, PART = 36, OTHERS = 4 }; // a part too short to be final
    struct world w;
    struct fake f[3];
    long long made, ok, wrong;

    world_init(&w, NULL);
    fake_join(&f[0], &w, 1, 1, false);
    trusted(&w, 1);
    world_batch(&w, "batch_1", LINES, false);
    f[0].slots = 4;
    while (waiting(&w, 1) < PART) {
        CHECK_EQ(fake_call(&f[0], f[0].n_held ? 0 : -1, 0), ERR_OK);
        if (waiting(&w, 1) > PART / 2)
            f[0].mode = FAKE_WRONG_TOKEN;
    }
    f[0].slots = 0; // what it has begun, and no more
    work(&f[0]);
    made = waiting(&w, 1);
    CHECK(made < 64);
    CHECK(world_redis(&w, "ZCARD " CELL "a:01" REST ":p") > PART / 2);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_ok"), 0);

    w.redundancy = 2; // these are checked for sure
    world_batch_of(&w, "batch_2", "key_b", OTHERS, false);
    w.redundancy = 0;
    f[0].slots = OTHERS;
    while (!world_redis(&w, "HGET " CELL "b:batch_2 n_c"))
        CHECK_EQ(fake_call(&f[0], f[0].n_held ? 0 : -1, 0), ERR_OK);
    f[0].slots = 0;
    work(&f[0]);
    CHECK(waiting(&w, 1) < 64);
    fake_join(&f[1], &w, 9, 9, true);
    fake_go(&f[1]);
    for (int i = 0; i < 200 && waiting(&w, 1); i++)
        world_run(&w, 50);
    CHECK_EQ(waiting(&w, 1), 0);
    world_run(&w, 80); // the ledger is folded

    // each of its lines was checked: it is confirmed, or went back
    ok = world_redis(&w, "HGET " CELL "b:batch_1 n_ok");
    wrong = world_redis(&w, "HGET " CELL "g rollbacks");
    CHECK(ok >= PART / 3 && wrong >= PART / 4);
    CHECK_EQ(ok + wrong + world_redis(&w, "HGET " CELL "b:batch_2 n_ok"),
             account(&w, 1, "n"));
    CHECK(world_redis(&w, "HGET " CELL "b:batch_1 tok") > 0);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_ct"),
             world_redis(&w, "HGET " CELL "b:batch_1 tok"));
    CHECK_EQ(account(&w, 1, "lies"), wrong);
    CHECK_EQ(account(&w, 1, "ban"), 1);
    CHECK(account(&w, 1, "credit") > 0); // what was right counts

    fake_join(&f[2], &w, 2, 2, false);
    fake_go(&f[2]);
    fakes_until_final(&w, "batch_1", 8000);
    fakes_until_final(&w, "batch_2", 5000);
    world_check(&w, "batch_1", LINES, false, true);
    CHECK_EQ(account(&w, 2, "lies"), 0);
    world_redis(&w, "FLUSHALL"); // which output is due first was left to chance
    for (int i = 0; i < 3; i++)
        fake_release(&f[i]);
    world_release(&w);
}

static void soon(struct sched_policy *p)
{
    p->referee_after_ms = 100; // others are online, but do not call
}

// A trusted account is honest about a small batch and lies about a large one
// that goes on. When the small one ends, one more of its lines is checked: that
// says nothing of the large one.
static void one_batch_does_not_vouch_for_another(void)
{
    enum { SMALL = 6, LARGE = 40 };
    struct world w;
    struct fake f[3];

    world_init(&w, soon);
    world_batch(&w, "batch_1", SMALL, false);
    fake_join(&f[1], &w, 2, 2, false);
    trusted(&w, 2);
    f[1].slots = 1; // the first line, which it keeps for now
    CHECK_EQ(fake_call(&f[1], -1, 0), ERR_OK);
    f[1].slots = 0;
    fake_join(&f[0], &w, 1, 1, false);
    trusted(&w, 1);
    work(&f[0]);
    CHECK_EQ(waiting(&w, 1), SMALL - 1);
    world_batch(&w, "batch_2", LARGE, false);
    f[0].mode = FAKE_WRONG_TOKEN;
    f[0].slots = 16;
    CHECK_EQ(fake_call(&f[0], -1, 0), ERR_OK);
    f[0].slots = 0;
    work(&f[0]);
    CHECK(waiting(&w, 1) >= SMALL);
    work(&f[1]); // the small batch has all its lines
    fake_join(&f[2], &w, 9, 9, true);
    fake_go(&f[2]);
    fakes_until_final(&w, "batch_1", 5000);
    world_check(&w, "batch_1", SMALL, false, true);
    // a line of one token is right; by chance it was drawn
    CHECK(world_redis(&w, "HGET " CELL "b:batch_2 n_ok") <=
          LARGE - lines_of_two(LARGE));
    world_check(&w, "batch_2", LARGE, false, false);
    world_redis(&w, "FLUSHALL"); // batch_2 is not to be ended here
    for (int i = 0; i < 3; i++)
        fake_release(&f[i]);
    world_release(&w);
}

int main(void)
{
    all_that_is_pending_is_checked();
    one_batch_does_not_vouch_for_another();
    return 0;
}
