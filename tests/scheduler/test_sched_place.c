// Placement: who is given which check, and that none waits for a fit.
#include "fake.h"

#define CELL  "syn:{0}:"
#define ZEROS "000000000000000000000000000000"
#define REST  "ab" ZEROS ZEROS // of an account's name, after its number
#define QUEUE CELL "c:01020304000000000000000000000000"
#define HERE  "192.0.2.0/24"
#define THERE "198.51.100.0/24"

enum { LINES = 12 };

static void stop_all(struct world *w, struct fake *fakes, int n)
{
    for (int i = 0; i < n; i++)
        fake_release(&fakes[i]);
    world_run(w, 20);
    for (int i = 0; i < n; i++)
        CHECK_EQ(fake_leave(&fakes[i]), ERR_OK);
    world_release(w);
}

static void join(struct fake *f, struct world *w, int n, const char *block,
                 bool trusted)
{
    fake_join_from(f, w, n, (uint8_t)n, block, "native-ref");
    if (trusted)
        world_redis(w, "HSET " CELL "acct:%02x" REST " run 1000", n);
}

// Lines of a batch that are being checked.
static long long being_checked(struct world *w, const char *batch)
{
    static const char script[] =
        "local n = 0 "
        "for _, s in ipairs(redis.call('SMEMBERS', KEYS[1])) do "
        "if redis.call('HGET', 'syn:{0}:s:' .. s, 'st') == 'k' then "
        "n = n + 1 end end return n";

    return world_redis(w, "EVAL %s 1 " CELL "b:%s:s", script, batch);
}

// One volunteer computes a whole batch by itself, each line to be checked.
static void computed_by(struct world *w, struct fake *f, const char *batch,
                        uint32_t n)
{
    w->redundancy = 2;
    world_batch(w, batch, n, false);
    do
        CHECK_EQ(fake_call(f, f->n_held ? 0 : -1, 0), ERR_OK);
    while (f->n_held);
    CHECK_EQ(world_redis(w, "HGET " CELL "b:%s n_c", batch), n);
}

static void neighbours_do_not_check_each_other(void)
{
    struct world w;
    struct fake f[4];

    world_init(&w, NULL);
    join(&f[0], &w, 1, HERE, true);
    computed_by(&w, &f[0], "batch_1", LINES);
    join(&f[1], &w, 2, HERE, true);
    join(&f[2], &w, 3, THERE, true);
    fake_join(&f[3], &w, 9, 9, true); // there, but it does not call
    CHECK_EQ(fake_call(&f[1], -1, 0), ERR_OK);
    CHECK_EQ(f[1].reason != SYN1_WORK, true);
    fake_go(&f[1]);
    fake_go(&f[2]);
    fakes_until_final(&w, "batch_1", 5000);
    world_check(&w, "batch_1", LINES, false, true);
    CHECK_EQ(f[1].check_seqs, 0);
    CHECK_EQ(f[2].check_seqs, LINES);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 4);
}

static void a_newcomer_leaves_checks_to_the_trusted(void)
{
    struct world w;
    struct fake f[4];

    world_init(&w, NULL);
    join(&f[0], &w, 1, HERE, true);
    computed_by(&w, &f[0], "batch_1", LINES);
    join(&f[1], &w, 2, THERE, false);
    join(&f[2], &w, 3, "", true);
    fake_join(&f[3], &w, 9, 9, true);
    CHECK_EQ(fake_call(&f[1], -1, 0), ERR_OK);
    CHECK(f[1].reason != SYN1_WORK);
    CHECK_EQ(fake_leave(&f[2]), ERR_OK);
    CHECK_EQ(fake_call(&f[1], -1, 0), ERR_OK);
    CHECK_EQ(f[1].reason, SYN1_WORK); // nobody better is online now
    fake_go(&f[1]);
    fakes_until_final(&w, "batch_1", 5000);
    CHECK_EQ(f[1].check_seqs, LINES);
    world_check(&w, "batch_1", LINES, false, true);
    fakes_output(&w, "batch_1");
    fake_release(&f[2]);
    f[2] = f[3];
    stop_all(&w, f, 3);
}

static void other_hardware_comes_first(void)
{
    struct world w;
    struct fake f[4];

    world_init(&w, NULL);
    join(&f[0], &w, 1, "", true);
    computed_by(&w, &f[0], "batch_1", 6);
    fake_join_from(&f[1], &w, 2, 2, "", "wasm-simd");
    world_redis(&w, "HSET " CELL "acct:02" REST " run 1000");
    f[1].slots = 0; // does not check the first batch
    fake_join(&f[3], &w, 9, 9, true);
    world_redis(&w, "RENAME " QUEUE " hidden");
    f[1].slots = 16;
    computed_by(&w, &f[1], "batch_2", 6);
    world_redis(&w, "ZUNIONSTORE " QUEUE " 2 " QUEUE " hidden");
    world_redis(&w, "DEL hidden");
    join(&f[2], &w, 3, "", true);
    CHECK_EQ(fake_call(&f[2], -1, 0), ERR_OK);
    CHECK(being_checked(&w, "batch_2") >= 2); // its fair part
    CHECK_EQ(being_checked(&w, "batch_1"), 0);
    for (int i = 0; i < 4; i++)
        fake_go(&f[i]);
    fakes_until_final(&w, "batch_1", 8000);
    fakes_until_final(&w, "batch_2", 8000);
    for (int i = 0; i < 4; i++)
        fake_release(&f[i]);
    world_redis(&w, "FLUSHALL"); // which output is due first was left to chance
    world_release(&w);
}

// Five and twenty newcomers behind one address, whether it was named as a place
// of many or not: the referee does what they may not, and at once.
static void a_classroom_completes_a_batch(const char *block)
{
    enum { PUPILS = 25, N = 150 };
    struct world w;
    static struct fake f[PUPILS + 1];
    uint32_t checks = 0;

    world_init(&w, NULL);
    world_batch(&w, "batch_1", N, false);
    for (int i = 0; i < PUPILS; i++)
        join(&f[i], &w, i + 10, block, false);
    fake_join(&f[PUPILS], &w, 9, 9, true);
    for (int i = 0; i <= PUPILS; i++)
        fake_go(&f[i]);
    fakes_until_final(&w, "batch_1", 9000);
    world_check(&w, "batch_1", N, false, true);
    for (int i = 0; i < PUPILS && *block; i++)
        checks += f[i].check_seqs;
    CHECK_EQ(checks, 0);
    CHECK(world_redis(&w, "HGET " CELL "g cwn") >= 100); // they are new
    CHECK(world_redis(&w, "HGET " CELL "g cwm") < 3000);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, PUPILS + 1);
}

// Somebody who suits is online, but never calls: after five seconds (here less)
// the referee takes the check.
static void soon(struct sched_policy *p)
{
    p->referee_after_ms = 300;
}

static void no_check_waits_for_a_fit(void)
{
    struct world w;
    struct fake f[3];

    world_init(&w, soon);
    join(&f[0], &w, 1, HERE, true);
    computed_by(&w, &f[0], "batch_1", LINES);
    join(&f[1], &w, 2, THERE, true);
    fake_join(&f[2], &w, 9, 9, true);
    fake_go(&f[2]);
    fakes_until_final(&w, "batch_1", 5000);
    CHECK_EQ(f[2].check_seqs, LINES);
    CHECK(world_redis(&w, "HGET " CELL "g cwm") >= 300);
    CHECK(world_redis(&w, "HGET " CELL "g cwm") < 2000);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 3);
}

int main(void)
{
    neighbours_do_not_check_each_other();
    a_newcomer_leaves_checks_to_the_trusted();
    other_hardware_comes_first();
    a_classroom_completes_a_batch(HERE);
    a_classroom_completes_a_batch("");
    no_check_waits_for_a_fit();
    return 0;
}
