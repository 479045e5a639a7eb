// Newcomers of one address block: how many it opens, what more of them pay, and
// what they may do until they are proven.
#include "fake.h"

#include "redundancy/entry.h"

#define CELL  "syn:{0}:"
#define ZEROS "000000000000000000000000000000"
#define REST  "ab" ZEROS ZEROS // of an account's name, after its number
#define HERE  "192.0.2.0/24"
#define THERE "198.51.100.0/24"

enum { FREE = 2, MOST = 40, BITS = 4 };

static void few(struct sched_policy *p)
{
    p->new_free = FREE;
    p->new_accounts = MOST;
    p->new_bits = BITS;
    p->new_volunteers = 2;
    p->new_units = 3;
    p->unit_seqs = 2;
}

// Volunteer number n of account n, from this block, having paid so many bits.
static struct sched_entry enter(struct fake *f, struct world *w, int n,
                                const char *block, uint32_t bits,
                                int64_t until_ms)
{
    struct sched_joiner joiner = {.account = {(uint8_t)n, 0xab},
                                  .name = "fake",
                                  .backend = "native-ref",
                                  .threads = 1,
                                  .block = block,
                                  .paid_bits = bits,
                                  .paid_until_ms = until_ms};

    return fake_enter(f, w, n, joiner);
}

// It comes and goes.
static struct sched_entry visit(struct world *w, int n, const char *block,
                                uint32_t bits, int64_t until_ms)
{
    struct fake f;
    struct sched_entry e = enter(&f, w, n, block, bits, until_ms);

    fake_release(&f);
    if (e.kind == SCHED_ENTERED)
        CHECK_EQ(fake_leave(&f), ERR_OK);
    return e;
}

static void the_first_enter_and_the_others_pay(void)
{
    struct world w;
    struct sched_entry e;
    int64_t later;

    world_init(&w, few);
    for (int n = 1; n <= FREE; n++)
        CHECK_EQ(visit(&w, n, HERE, 0, 0).kind, SCHED_ENTERED);
    e = visit(&w, 10, HERE, 0, 0);
    CHECK_EQ(e.kind, SCHED_ENTRY_TOLL);
    CHECK_EQ(e.bits, BITS);
    CHECK(e.now_ms > INT64_C(1600000000000));
    later = e.now_ms + 60000;
    // nothing of a refused one stays
    CHECK_EQ(world_redis(&w, "EXISTS " CELL "v:vol_10"), 0);
    CHECK_EQ(world_redis(&w, "EXISTS " CELL "acct:0a" REST), 0);

    CHECK_EQ(visit(&w, 1, HERE, 0, 0).kind, SCHED_ENTERED); // is known
    CHECK_EQ(visit(&w, 11, THERE, 0, 0).kind, SCHED_ENTERED);
    CHECK_EQ(visit(&w, 12, "", 0, 0).kind, SCHED_ENTERED);
    CHECK_EQ(visit(&w, 10, HERE, BITS - 1, later).kind, SCHED_ENTRY_TOLL);
    CHECK_EQ(visit(&w, 10, HERE, BITS, e.now_ms - 1).kind, SCHED_ENTRY_TOLL);
    CHECK_EQ(visit(&w, 10, HERE, BITS, later).kind, SCHED_ENTERED);
    CHECK_EQ(visit(&w, 10, HERE, 0, 0).kind, SCHED_ENTERED);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "n:" HERE), FREE + 1);
    world_release(&w);
}

static void more_cost_more_up_to_an_end(void)
{
    struct world w;
    struct sched_entry e;
    int64_t later = world_ms();
    uint32_t bits = 0, n = 1;

    world_init(&w, few);
    for (; n <= MOST; n++) {
        e = visit(&w, (int)n, HERE, 0, 0);
        if (e.kind == SCHED_ENTRY_TOLL) {
            CHECK(e.bits >= bits && e.bits >= BITS);
            bits = e.bits;
            later = e.now_ms + 60000;
            e = visit(&w, (int)n, HERE, bits, later);
        }
        CHECK_EQ(e.kind, SCHED_ENTERED);
    }
    CHECK_EQ(bits, BITS + (MOST - 1 - FREE) / REDUN_ENTRY_STEP);
    e = visit(&w, (int)n, HERE, 255, later);
    CHECK_EQ(e.kind, SCHED_ENTRY_CLOSED);
    CHECK(e.retry_ms > REDUN_ENTRY_WINDOW_MS - 60000);
    CHECK(e.retry_ms <= REDUN_ENTRY_WINDOW_MS);
    CHECK_EQ(visit(&w, (int)n, THERE, 0, 0).kind, SCHED_ENTERED);
    CHECK_EQ(visit(&w, 1, HERE, 0, 0).kind, SCHED_ENTERED); // is known

    // a toll that was asked for long ago is no longer enough
    world_redis(&w, "ZREMRANGEBYRANK " CELL "n:" HERE " 0 1");
    CHECK_EQ(visit(&w, 100, HERE, BITS, later).kind, SCHED_ENTRY_TOLL);
    // an hour later all of them are forgotten
    for (uint32_t i = 1; i <= MOST; i++)
        world_redis(&w, "ZADD " CELL "n:" HERE " XX 1 %02x" REST, i);
    CHECK_EQ(visit(&w, 100, HERE, 0, 0).kind, SCHED_ENTERED);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "n:" HERE), 1);
    world_release(&w);
}

// Its ban holds for what it brings later, and its neighbours pay for it.
static void a_ban_counts_against_the_block(void)
{
    struct world w;
    struct fake f[3];
    struct sched_entry e;

    world_init(&w, few);
    CHECK_EQ(enter(&f[0], &w, 1, HERE, 0, 0).kind, SCHED_ENTERED);
    fake_join(&f[1], &w, 9, 9, true);
    // all of a newcomer's lines are checked, so the wrong ones are found
    f[0].mode = FAKE_WRONG_TOKEN;
    world_batch(&w, "batch_1", 8, false);
    fake_go(&f[0]);
    fake_go(&f[1]);
    for (int i = 0; i < 600; i++)
        if (!world_redis(&w, "HGET " CELL "acct:01" REST " ban"))
            world_run(&w, 50);
    CHECK_EQ(world_redis(&w, "HGET " CELL "acct:01" REST " ban"), 1);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "n:" HERE ":b"), 1);
    CHECK(world_redis(&w, "PTTL " CELL "n:" HERE ":b") > 0);

    // it leaves, and comes again
    fake_release(&f[0]);
    CHECK_EQ(fake_leave(&f[0]), ERR_OK);
    for (int n = 20; n < 22; n++) {
        struct sched_joiner again = {.account = {1, 0xab},
                                     .name = "again",
                                     .backend = "native-ref",
                                     .threads = 1,
                                     .block = n == 20 ? HERE : THERE};

        CHECK_EQ(fake_enter(&f[0], &w, n, again).kind, SCHED_ENTERED);
        CHECK_EQ(fake_call(&f[0], -1, 0), ERR_OK);
        CHECK_EQ(f[0].reason, SYN1_BANNED);
        fake_release(&f[0]);
        CHECK_EQ(fake_leave(&f[0]), ERR_OK);
    }
    // a neighbour, of the two that would pay nothing
    e = visit(&w, 2, HERE, 0, 0);
    CHECK_EQ(e.kind, SCHED_ENTRY_TOLL);
    CHECK_EQ(e.bits, BITS + (1 + REDUN_ENTRY_BANNED - FREE) / REDUN_ENTRY_STEP);
    CHECK_EQ(visit(&w, 3, THERE, 0, 0).kind, SCHED_ENTERED);
    // and a week later
    world_redis(&w, "ZADD " CELL "n:" HERE ":b XX 1 01" REST);
    CHECK_EQ(visit(&w, 2, HERE, 0, 0).kind, SCHED_ENTERED);

    fake_join(&f[2], &w, 3, 3, false);
    fake_go(&f[2]);
    fakes_until_final(&w, "batch_1", 8000);
    world_check(&w, "batch_1", 8, false, true);
    fakes_output(&w, "batch_1");
    for (int i = 1; i < 3; i++) {
        fake_release(&f[i]);
        CHECK_EQ(fake_leave(&f[i]), ERR_OK);
    }
    world_release(&w);
}

static void a_new_account_brings_few_volunteers(void)
{
    struct world w;
    struct fake f[4];
    struct sched_joiner one = {.account = {1, 0xab},
                               .name = "",
                               .backend = "native-ref",
                               .threads = 1,
                               .block = HERE};
    struct sched_entry e;

    world_init(&w, few);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(fake_enter(&f[i], &w, i + 1, one).kind, SCHED_ENTERED);
    e = fake_enter(&f[2], &w, 3, one);
    CHECK_EQ(e.kind, SCHED_ENTRY_CROWDED);
    CHECK(e.retry_ms > 0);
    fake_release(&f[2]);
    one.block = ""; // a place of many
    CHECK_EQ(fake_enter(&f[2], &w, 3, one).kind, SCHED_ENTERED);
    one.block = HERE;
    world_redis(&w, "HSET " CELL "acct:01" REST " run 10"); // proven
    CHECK_EQ(fake_enter(&f[3], &w, 4, one).kind, SCHED_ENTERED);
    for (int i = 0; i < 4; i++) {
        fake_release(&f[i]);
        CHECK_EQ(fake_leave(&f[i]), ERR_OK);
    }
    world_release(&w);
}

// Three units at a time are for the newcomers of a block; its proven ones, and
// other blocks, are not held up by them.
static void newcomers_of_a_block_hold_few_units(void)
{
    struct world w;
    struct fake f[5];

    world_init(&w, few);
    world_batch(&w, "batch_1", 60, false);
    for (int i = 0; i < 4; i++) {
        f[i] = (struct fake){0};
        CHECK_EQ(enter(&f[i], &w, i + 1, HERE, 255, INT64_MAX / 2).kind,
                 SCHED_ENTERED);
        f[i].slots = 4; // two units
    }
    CHECK_EQ(fake_call(&f[0], -1, 0), ERR_OK);
    CHECK_EQ(fake_call(&f[0], -1, 0), ERR_OK);
    CHECK_EQ(fake_call(&f[1], -1, 0), ERR_OK);
    CHECK_EQ(f[0].n_held + f[1].n_held, 3);
    CHECK_EQ(fake_call(&f[1], -1, 0), ERR_OK);
    CHECK_EQ(f[1].reason, SYN1_QUOTA);
    CHECK_EQ(fake_call(&f[2], -1, 0), ERR_OK);
    CHECK_EQ(f[2].reason, SYN1_QUOTA);
    CHECK_EQ(enter(&f[4], &w, 50, THERE, 0, 0).kind, SCHED_ENTERED);
    CHECK_EQ(fake_call(&f[4], -1, 0), ERR_OK);
    CHECK_EQ(f[4].n_held, 1);
    world_redis(&w, "HSET " CELL "acct:04" REST " run 10");
    CHECK_EQ(fake_call(&f[3], -1, 0), ERR_OK);
    CHECK_EQ(f[3].n_held, 1);
    CHECK_EQ(world_redis(&w, "SCARD " CELL "n:" HERE ":u"), 3);
    // one comes back: its place is free
    CHECK_EQ(fake_call(&f[0], 0, 0), ERR_OK);
    CHECK_EQ(f[0].outcome, SYN1_ACCEPTED);
    CHECK_EQ(world_redis(&w, "SCARD " CELL "n:" HERE ":u"), 3); // the next one
    // ... or is given up
    for (int i = 0; i < 5; i++)
        fake_release(&f[i]);
    CHECK_EQ(fake_leave(&f[0]), ERR_OK);
    CHECK_EQ(world_redis(&w, "SCARD " CELL "n:" HERE ":u"), 1);
    for (int i = 1; i < 5; i++)
        CHECK_EQ(fake_leave(&f[i]), ERR_OK);
    CHECK_EQ(world_redis(&w, "SCARD " CELL "n:" HERE ":u"), 0);
    world_redis(&w, "FLUSHALL"); // the batch is not to be ended here
    world_release(&w);
}

int main(void)
{
    the_first_enter_and_the_others_pay();
    more_cost_more_up_to_an_end();
    a_ban_counts_against_the_block();
    a_new_account_brings_few_volunteers();
    newcomers_of_a_block_hold_few_units();
    return 0;
}
