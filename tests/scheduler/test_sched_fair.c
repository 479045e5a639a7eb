// Fair share: whose lines are taken next.
#include <string.h>

#include "fake.h"

#define CELL "syn:{0}:"

static void fakes_join(struct world *w, struct fake *f, int n)
{
    for (int i = 0; i < n; i++) {
        fake_join(&f[i], w, i, (uint8_t)i, false);
        f[i].slots = 8;
    }
    for (int i = 0; i < n; i++)
        fake_go(&f[i]);
}

// Of the first n lines of the queue, how many are of that batch?
static int64_t among_first(struct world *w, int n, const char *batch)
{
    static const char script[] =
        "local n = 0 "
        "for _, q in ipairs(redis.call('KEYS', 'syn:{0}:q:*')) do "
        "if not q:find(':t', 1, true) then "
        "for _, s in ipairs(redis.call('ZRANGE', q, 0, ARGV[1] - 1)) do "
        "if redis.call('HGET', 'syn:{0}:s:' .. s, 'b') == ARGV[2] then "
        "n = n + 1 end end end end return n";

    return world_redis(w, "EVAL %s 0 %d %s", script, n, batch);
}

static void a_small_batch_is_not_behind_a_large_one(void)
{
    struct world w;
    struct fake f[2];
    int64_t ahead;

    world_init(&w, NULL);
    world_batch(&w, "batch_1", 150, false);
    world_batch_of(&w, "batch_2", "key_b", 10, false);
    fakes_join(&w, f, 2);
    while (among_first(&w, 1000, "batch_2") > 0)
        world_run(&w, 1);
    ahead = 150 - among_first(&w, 1000, "batch_1");
    if (ahead > 60)
        fprintf(stderr, "%d lines were ahead\n", (int)ahead);
    CHECK(ahead <= 60);
    fakes_until_final(&w, "batch_1", 20000);
    fakes_until_final(&w, "batch_2", 20000);
    world_check(&w, "batch_1", 150, false, true);
    for (int i = 0; i < 2; i++)
        fake_release(&f[i]);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

static void keys_share_by_priority(void)
{
    struct world w;
    int64_t n;

    world_init(&w, NULL);
    world_redis(&w, "HSET " CELL "k:key_b prio 30"); // three times the usual
    world_batch(&w, "batch_1", 100, false);
    world_batch_of(&w, "batch_2", "key_b", 100, false);
    world_batch_of(&w, "batch_3", "key_c", 100, false);
    n = among_first(&w, 50, "batch_2");
    CHECK(n >= 27 && n <= 33);
    n = among_first(&w, 50, "batch_1");
    CHECK(n >= 8 && n <= 12);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

// A key that comes late starts at the present: it owes nothing for the time
// when it was not there, and gets nothing for it either.
static void a_late_key_starts_at_the_present(void)
{
    struct world w;
    struct fake f[2];
    int64_t n;

    world_init(&w, NULL);
    world_batch(&w, "batch_1", 500, false);
    fakes_join(&w, f, 2);
    while (among_first(&w, 1000, "batch_1") > 200)
        world_run(&w, 1);
    for (int i = 0; i < 2; i++)
        f[i].slots = 0; // what is taken is done; nothing goes back
    world_run(&w, 300);
    for (int i = 0; i < 2; i++)
        fake_release(&f[i]);
    world_batch_of(&w, "batch_2", "key_b", 100, false);
    n = among_first(&w, 40, "batch_2");
    CHECK(n >= 8 && n <= 25); // what the fakes held is ahead of both
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

// Lines of one key that wait for checks do not hold up another's.
static void checks_are_shared_by_key(void)
{
    enum { MANY = 120, FEW = 5 };
    struct world w;
    struct fake f[2];

    world_init(&w, NULL);
    world_batch(&w, "batch_1", MANY, false);
    fake_join(&f[0], &w, 1, 1, false);
    fake_go(&f[0]);
    while (world_redis(&w, "HGET " CELL "b:batch_1 n_c") < MANY)
        world_run(&w, 5);
    world_batch_of(&w, "batch_2", "key_b", FEW, false);
    while (world_redis(&w, "HGET " CELL "b:batch_2 n_c") < FEW)
        world_run(&w, 5);
    fake_join(&f[1], &w, 9, 9, true);
    CHECK_EQ(fake_call(&f[1], -1, 0), ERR_OK);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(fake_call(&f[1], 0, 0), ERR_OK);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_2 n_ok"), FEW);
    CHECK(world_redis(&w, "HGET " CELL "b:batch_1 n_ok") > 0);
    fake_go(&f[1]);
    fakes_until_final(&w, "batch_1", 5000);
    world_check(&w, "batch_1", MANY, false, true);
    for (int i = 0; i < 2; i++)
        fake_release(&f[i]);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

int main(void)
{
    checks_are_shared_by_key();
    a_small_batch_is_not_behind_a_large_one();
    keys_share_by_priority();
    a_late_key_starts_at_the_present();
    return 0;
}
