// What the store survives: lost connections, a killed Redis, refused writes,
// several processes.
#include "fake.h"

#include <string.h>

#include "scheduler/state.h"

enum { LINES = 60 };

static void stop_all(struct world *w, struct fake *fakes, int n)
{
    for (int i = 0; i < n; i++)
        fake_release(&fakes[i]);
    world_run(w, 20);
    for (int i = 0; i < n; i++)
        CHECK_EQ(fake_leave(&fakes[i]), ERR_OK);
    world_release(w);
}

static void start_four(struct world *w, struct fake f[4])
{
    for (int i = 0; i < 4; i++) {
        fake_join(&f[i], w, i + 1, (uint8_t)(i + 1), i == 3);
        f[i].depth = 1 + (uint32_t)i % 2;
    }
    for (int i = 0; i < 4; i++)
        fake_go(&f[i]);
}

static void small_units(struct sched_policy *p)
{
    p->unit_seqs = 4;
    p->max_new = 2;
    p->first_new = 1;
    p->referee_after_ms = 200;
}

// The connection is dropped again and again, wherever the calls happen to be.
static void lost_connections_lose_nothing(void)
{
    struct world w;
    struct fake f[4];
    uint32_t seed = 12345;

    world_init(&w, small_units);
    world_batch(&w, "batch_1", LINES, true);
    start_four(&w, f);
    for (int i = 0; i < 40; i++) {
        seed = seed * 1103515245 + 12345;
        world_run(&w, 1 + seed / 65536 % 12);
        sched_link_reset(w.store->link, "test");
        CHECK(!sched_store_up(w.store));
        world_until_up(&w);
    }
    fakes_until_final(&w, "batch_1", 8000);
    world_check(&w, "batch_1", LINES, true, true);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 4);
}

static void a_killed_redis_loses_nothing(void)
{
    struct world w;
    struct fake f[4];
    struct waited done = {0};
    uint32_t before, final = 0;

    world_init(&w, small_units);
    world_batch(&w, "batch_1", LINES, false);
    start_four(&w, f);
    for (int i = 0; i < 3; i++) {
        world_run(&w, 20);
        before = world_check(&w, "batch_1", LINES, false, false);
        CHECK(before >= final);
        world_redis_kill(&w);
        world_run(&w, 30);
        CHECK(!sched_store_up(w.store));
        CHECK_EQ(sched_store_ping(w.store, on_waited, &done), ERR_STORE);
        world_redis_start(&w);
        world_until_up(&w);
        final = world_check(&w, "batch_1", LINES, false, false);
        CHECK(final >= before);
    }
    fakes_until_final(&w, "batch_1", 8000);
    world_check(&w, "batch_1", LINES, false, true);
    fakes_output(&w, "batch_1");
    stop_all(&w, f, 4);
}

static void two_processes_share_one_redis(void)
{
    struct world w;
    struct fake f[4];
    struct sched_store *second;

    world_init(&w, small_units);
    second = world_store(&w);
    for (int i = 0; i < 4; i++) {
        fake_join(&f[i], &w, i + 1, (uint8_t)(i + 1), false);
        f[i].store = i % 2 ? second : w.store;
        f[i].wait_ms = 5000;
        fake_go(&f[i]);
    }
    world_run(&w, 30);
    world_batch(&w, "batch_1", LINES, false);
    fakes_until_final(&w, "batch_1", 5000);
    world_check(&w, "batch_1", LINES, false, true);
    fakes_output(&w, "batch_1");
    for (int i = 0; i < 4; i++) {
        fake_release(&f[i]);
        f[i].store = w.store;
    }
    sched_store_free(second);
    world_run(&w, 20);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(fake_leave(&f[i]), ERR_OK);
    world_release(&w);
}

static void refused_writes_are_busy(void)
{
    struct world w;
    struct fake a;
    struct waited done = {0};

    world_init(&w, NULL);
    fake_join(&a, &w, 1, 1, false);
    world_batch(&w, "batch_1", 2, false);
    world_redis(&w, "CONFIG SET maxmemory 1");
    CHECK_EQ(fake_call(&a, -1, 1000), ERR_BUSY);
    CHECK_EQ(fake_repeat(&a), ERR_BUSY);
    world_redis(&w, "CONFIG SET maxmemory 0");
    CHECK_EQ(fake_repeat(&a), ERR_OK);
    CHECK_EQ(a.reason, SYN1_WORK);
    world_redis(&w, "CONFIG SET min-replicas-to-write 1");
    fake_call_start(&a, 0, 0);
    world_until(&w, &a.done);
    CHECK_EQ(a.err, ERR_BUSY);
    world_redis(&w, "CONFIG SET min-replicas-to-write 0");
    CHECK_EQ(fake_repeat(&a), ERR_OK);
    CHECK_EQ(a.outcome, SYN1_ACCEPTED);
    CHECK_EQ(world_wait(&w, sched_store_ping(w.store, on_waited, &done), &done),
             ERR_OK);
    fake_release(&a);
    CHECK_EQ(fake_leave(&a), ERR_OK);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

// A held call outlives a restart of Redis, and is then answered.
static void a_held_call_outlives_a_restart(void)
{
    struct world w;
    struct fake a;

    world_init(&w, NULL);
    fake_join(&a, &w, 1, 1, false);
    fake_call_start(&a, -1, 8000);
    world_run(&w, 30);
    world_redis_kill(&w);
    world_run(&w, 30);
    CHECK(!a.done);
    world_redis_start(&w);
    world_until_up(&w);
    world_batch(&w, "batch_1", 1, false);
    world_until(&w, &a.done);
    CHECK_EQ(a.reason, SYN1_WORK);
    // one that has no time left is told
    world_redis_kill(&w);
    world_run(&w, 30);
    fake_release(&a);
    world_redis_start(&w);
    world_until_up(&w);
    CHECK_EQ(fake_leave(&a), ERR_OK);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

// A store that goes away ends everything that is under way, once.
static void freeing_a_store_ends_all_calls(void)
{
    struct world w;
    struct fake a, b;
    struct waited ping = {0};
    struct sched_store *store;

    world_init(&w, NULL);
    fake_join(&a, &w, 1, 1, false);
    fake_join(&b, &w, 2, 2, false);
    store = world_store(&w);
    a.store = b.store = store;
    fake_call_start(&a, -1, 8000);
    world_run(&w, 30); // held
    fake_call_start(&b, -1, 8000);
    CHECK_EQ(sched_store_ping(store, on_waited, &ping), ERR_OK);
    sched_store_free(store);
    CHECK(a.done && a.err == ERR_STORE);
    CHECK(b.done && b.err == ERR_STORE);
    CHECK(ping.done && ping.err == ERR_STORE);
    a.store = b.store = w.store;
    CHECK_EQ(fake_leave(&a), ERR_OK);
    CHECK_EQ(fake_leave(&b), ERR_OK);
    fake_release(&a);
    fake_release(&b);
    world_release(&w);
}

static void wrong_addresses_are_refused(void)
{
    static const char *const wrong[] = {
        "", "unix:", "host", "host:", ":6379", "h:0", "h:70000", "h:12x"};
    struct world w;
    struct sched_store *store = NULL;

    world_init(&w, NULL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct sched_store_options o = {.base = w.base, .address = wrong[i]};

        CHECK_EQ(sched_store_new(&o, &store), ERR_FORMAT);
    }
    struct sched_store_options o = {
        .base = w.base, .address = w.address, .cell = "Not a cell"};
    CHECK_EQ(sched_store_new(&o, &store), ERR_FORMAT);
    CHECK(!store);
    // nobody there: no error, only never up
    o.cell = NULL;
    o.address = "unix:/nowhere/at/all";
    CHECK_EQ(sched_store_new(&o, &store), ERR_OK);
    world_run(&w, 120);
    CHECK(!sched_store_up(store));
    sched_store_free(store);
    o.address = "127.0.0.1:1";
    CHECK_EQ(sched_store_new(&o, &store), ERR_OK);
    world_run(&w, 120);
    CHECK(!sched_store_up(store));
    sched_store_free(store);
    world_release(&w);
}

int main(void)
{
    wrong_addresses_are_refused();
    freeing_a_store_ends_all_calls();
    refused_writes_are_busy();
    a_held_call_outlives_a_restart();
    two_processes_share_one_redis();
    lost_connections_lose_nothing();
    a_killed_redis_loses_nothing();
    return 0;
}
