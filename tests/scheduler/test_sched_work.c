// The work call: what is committed, repeated, held, released, given back.
#include "fake.h"

#include <event2/event.h>
#include <string.h>

#include "scheduler/state.h"

#define CELL "syn:{0}:"

static void two_volunteers_complete_a_batch(void)
{
    struct world w;
    struct fake a, b;

    world_init(&w, NULL);
    fake_join(&a, &w, 1, 1, false);
    fake_join(&b, &w, 2, 2, false);
    world_batch(&w, "batch_1", 30, false);
    fake_go(&a);
    fake_go(&b);
    fakes_until_final(&w, "batch_1", 5000);
    world_check(&w, "batch_1", 30, false, true);
    CHECK(a.work_seqs && b.work_seqs && a.check_seqs && b.check_seqs);
    fakes_output(&w, "batch_1");
    fake_release(&a);
    fake_release(&b);
    world_run(&w, 10);
    CHECK_EQ(fake_leave(&a), ERR_OK);
    CHECK_EQ(fake_leave(&b), ERR_OK);
    CHECK_EQ(fake_leave(&b), ERR_DENIED);
    world_release(&w);
}

static void stop_strings_cut_and_two_units_in_hand(void)
{
    struct world w;
    struct fake f[3];

    world_init(&w, NULL);
    world_batch(&w, "batch_1", 60, true);
    for (int i = 0; i < 3; i++) {
        fake_join(&f[i], &w, i, (uint8_t)i, false);
        f[i].depth = 2;
    }
    for (int i = 0; i < 3; i++)
        fake_go(&f[i]);
    fakes_until_final(&w, "batch_1", 5000);
    world_check(&w, "batch_1", 60, true, true);
    fakes_output(&w, "batch_1");
    for (int i = 0; i < 3; i++)
        fake_release(&f[i]);
    world_run(&w, 10);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(fake_leave(&f[i]), ERR_OK);
    world_release(&w);
}

// One that forgets what it was given, call after call, does not keep it from
// the others.
static void who_loses_every_unit_does_not_keep_its_rows(void)
{
    enum { LINES = 4 };
    struct world w;
    struct fake f[3];
    long long left = LINES;

    world_init(&w, NULL);
    world_batch(&w, "batch_1", LINES, false);
    for (int i = 0; i < 3; i++)
        fake_join(&f[i], &w, i + 1, (uint8_t)(i + 1), i == 2);
    CHECK_EQ(fake_call(&f[0], -1, 0), ERR_OK);
    CHECK_EQ(f[0].n_held, 1); // all the lines
    fake_go(&f[1]);
    fake_go(&f[2]);
    for (int i = 0; i < 2000 && left > 0; i++) {
        while (f[0].n_held)
            free(f[0].held[--f[0].n_held].frame);
        CHECK_EQ(fake_call(&f[0], -1, 0), ERR_OK);
        world_run(&w, 5);
        left = LINES - world_redis(&w, "HGET " CELL "b:batch_1 n_ok");
    }
    CHECK_EQ(left, 0);
    CHECK(f[1].work_seqs > 0);
    fakes_until_final(&w, "batch_1", 1000);
    world_check(&w, "batch_1", LINES, false, true);
    fakes_output(&w, "batch_1");
    for (int i = 0; i < 3; i++)
        fake_release(&f[i]);
    world_run(&w, 10);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(fake_leave(&f[i]), ERR_OK);
    world_release(&w);
}

// Volunteers that lose their KV, have no room or are told to hold little.
static void kv_missing_and_no_room_go_back(void)
{
    struct world w;
    struct fake f[4];

    world_init(&w, NULL);
    world_batch(&w, "batch_1", 40, false);
    for (int i = 0; i < 4; i++)
        fake_join(&f[i], &w, i, (uint8_t)i, i == 3); // the last is a referee
    f[0].mode = FAKE_FORGETS;
    f[1].mode = FAKE_NO_ROOM;
    f[2].slots = 2;
    for (int i = 0; i < 4; i++)
        fake_go(&f[i]);
    fakes_until_final(&w, "batch_1", 5000);
    world_check(&w, "batch_1", 40, false, true);
    CHECK_EQ(world_redis(&w, "HGET " CELL "g faults"), 0);
    fakes_output(&w, "batch_1");
    for (int i = 0; i < 4; i++)
        fake_release(&f[i]);
    world_run(&w, 10);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(fake_leave(&f[i]), ERR_OK);
    world_release(&w);
}

// A world with one volunteer that has joined and a batch of n lines.
static void one_begin(struct world *w, struct fake *a, uint32_t n,
                      void (*set_policy)(struct sched_policy *p))
{
    world_init(w, set_policy);
    fake_join(a, w, 1, 1, false);
    if (n)
        world_batch(w, "batch_1", n, false);
}

// The batch is of no further interest.
static void one_end(struct world *w, struct fake *a)
{
    fake_release(a);
    world_run(w, 10);
    enum err err = fake_leave(a);
    CHECK(err == ERR_OK || err == ERR_DENIED);
    world_redis(w, "FLUSHALL");
    world_release(w);
}

static void a_repeated_call_gets_the_same_bytes_and_counts_once(void)
{
    struct world w;
    struct fake a;
    static uint8_t first[1 << 16];
    size_t len;

    one_begin(&w, &a, 3, NULL);
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
    CHECK_EQ(a.reason, SYN1_WORK);
    for (int i = 0; i < 4; i++) {
        len = a.answer_len;
        memcpy(first, a.answer, len);
        CHECK_EQ(fake_repeat(&a), ERR_OK);
        CHECK_EQ(a.answer_len, len);
        CHECK(memcmp(a.answer, first, len) == 0);
        CHECK_EQ(world_redis(&w, "ZCARD " CELL "units"), 1);
        CHECK_EQ(world_redis(&w, "HGET " CELL "v:vol_1 units"), i);
        free(a.held[--a.n_held].frame); // the repeat was added once more
        if (a.n_held && fake_call(&a, 0, 0) == ERR_OK && a.reason != SYN1_WORK)
            break;
    }
    a.number -= 2;
    CHECK_EQ(fake_call(&a, -1, 0), ERR_EXISTS); // an older number
    one_end(&w, &a);
}

static void nobody_posts_what_another_holds(void)
{
    struct world w;
    struct fake a, b;

    one_begin(&w, &a, 1, NULL);
    fake_join(&b, &w, 2, 2, false);
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
    b.held[0].len = a.held[0].len;
    b.held[0].frame = malloc(a.held[0].len);
    CHECK(b.held[0].frame);
    memcpy(b.held[0].frame, a.held[0].frame, a.held[0].len);
    b.n_held = 1;
    CHECK_EQ(fake_call(&b, 0, 0), ERR_GONE);
    CHECK_EQ(b.outcome, SYN1_GONE);
    CHECK_EQ(fake_call(&a, 0, 0), ERR_OK);
    CHECK_EQ(a.outcome, SYN1_ACCEPTED);

    // and with a wrong token nobody does anything
    a.who.token_hash[5] ^= 1;
    CHECK_EQ(fake_call(&a, -1, 0), ERR_DENIED);
    CHECK_EQ(fake_leave(&a), ERR_DENIED);
    a.who.token_hash[5] ^= 1;
    fake_release(&b);
    one_end(&w, &a);
}

static void short_leases(struct sched_policy *p)
{
    p->first_lease_ms = 40;
    p->lease_ms = 40;
    p->lease_factor = 0;
    p->progress_ms = 200;
}

static void a_late_result_counts_until_the_rows_are_taken(void)
{
    struct world w;
    struct fake a, b;

    one_begin(&w, &a, 1, short_leases);
    fake_join(&b, &w, 2, 2, false);
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
    world_run(&w, 100);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "units"), 0);
    CHECK_EQ(world_redis(&w, "HGET " CELL "v:vol_1 late"), 1);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_q"), 1);
    CHECK_EQ(fake_call(&a, 0, 0), ERR_OK);
    CHECK_EQ(a.outcome, SYN1_ACCEPTED);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_c"), 1);

    world_batch(&w, "batch_2", 1, false);
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
    CHECK_EQ(a.reason, SYN1_WORK);
    world_run(&w, 100);
    CHECK_EQ(fake_call(&b, -1, 0), ERR_OK); // b has the rows now
    CHECK_EQ(b.reason, SYN1_WORK);
    CHECK_EQ(fake_call(&a, 0, 0), ERR_GONE);
    CHECK_EQ(a.outcome, SYN1_GONE);
    fake_release(&b);
    one_end(&w, &a);
}

static void progress_extends_a_lease(void)
{
    struct world w;
    struct fake a;
    struct waited done = {0};

    one_begin(&w, &a, 1, short_leases);
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
    CHECK_EQ(world_wait(&w,
                        sched_volunteer_progress(w.store, &a.who,
                                                 a.held[0].frame + 32, 1, 5,
                                                 on_waited, &done),
                        &done),
             ERR_OK);
    world_run(&w, 100);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "units"), 1);
    world_run(&w, 200);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "units"), 0);
    one_end(&w, &a);
}

static void what_is_not_listed_is_sent_again(void)
{
    struct world w;
    struct fake a;
    uint8_t before[8];

    one_begin(&w, &a, 1, NULL);
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
    memcpy(before, a.held[0].frame + SYN1_HEADER_LEN, 8);
    free(a.held[--a.n_held].frame); // the answer got lost
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
    CHECK_EQ(a.reason, SYN1_WORK);
    CHECK(memcmp(before, a.held[0].frame + SYN1_HEADER_LEN, 8) == 0);
    CHECK_EQ(bytes_peek_u32(a.held[0].frame + 48), 1); // attempt
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "units"), 1);
    one_end(&w, &a);
}

static void short_grace(struct sched_policy *p)
{
    p->grace_ms = 80;
}

static void presence_has_a_grace(void)
{
    struct world w;
    struct fake a;
    struct waited done = {0};
    const uint8_t p1[16] = {1}, p2[16] = {2};

    one_begin(&w, &a, 1, short_grace);
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
#define WAIT(call) CHECK_EQ(world_wait(&w, call, &done), ERR_OK)
    WAIT(sched_volunteer_present(w.store, &a.who, p1, on_waited, &done));
    // a reload: the new one opens before the old one is seen closing
    WAIT(sched_volunteer_present(w.store, &a.who, p2, on_waited, &done));
    WAIT(sched_volunteer_lost(w.store, &a.who, p1, on_waited, &done));
    world_run(&w, 150);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "vols"), 1);
    // lost, and back in time
    WAIT(sched_volunteer_lost(w.store, &a.who, p2, on_waited, &done));
    world_run(&w, 20);
    WAIT(sched_volunteer_present(w.store, &a.who, p1, on_waited, &done));
    world_run(&w, 150);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "vols"), 1);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "units"), 1);
    // lost for good: signs of life do not undo that
    WAIT(sched_volunteer_lost(w.store, &a.who, p1, on_waited, &done));
    WAIT(sched_volunteer_progress(w.store, &a.who, a.held[0].frame + 32, 1, 0,
                                  on_waited, &done));
    world_run(&w, 200);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "vols"), 0);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "units"), 0);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_q"), 1);
    CHECK_EQ(fake_call(&a, -1, 0), ERR_DENIED);
    one_end(&w, &a);
}

static void silent_soon(struct sched_policy *p)
{
    p->seen_ms = 500; // the first call comes sooner
}

static void a_silent_volunteer_is_gone(void)
{
    struct world w;
    struct fake a;

    one_begin(&w, &a, 1, silent_soon);
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
    world_run(&w, 800);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "vols"), 0);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_q"), 1);
    one_end(&w, &a);
}

static void a_client_that_left_gives_its_unit_back(void)
{
    struct world w;
    struct fake a;

    one_begin(&w, &a, 2, NULL);
    fake_call_start(&a, -1, 1000);
    while (!world_redis(&w, "ZCARD " CELL "units")) // taken, reply on its way
        event_base_loop(w.base, EVLOOP_NONBLOCK);
    if (!a.done) {
        sched_work_cancel(a.work);
        a.work = NULL;
        world_run(&w, 50);
        CHECK_EQ(world_redis(&w, "ZCARD " CELL "units"), 0);
        CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_q"), 2);
    }
    // the same call again is answered with a unit
    CHECK_EQ(fake_repeat(&a), ERR_OK);
    CHECK_EQ(a.reason, SYN1_WORK);
    // and a result still counts when its client leaves before the answer
    fake_call_start(&a, 0, 1000);
    sched_work_cancel(a.work);
    a.work = NULL;
    world_run(&w, 50);
    CHECK_EQ(world_redis(&w, "HGET " CELL "v:vol_1 units"), 1);
    one_end(&w, &a);
}

static void a_held_call_wakes_at_once(void)
{
    struct world w;
    struct fake a;
    int64_t start;

    one_begin(&w, &a, 0, NULL);
    fake_call_start(&a, -1, 5000);
    world_run(&w, 50);
    CHECK(!a.done);
    world_batch(&w, "batch_1", 1, false);
    start = world_ms();
    world_until(&w, &a.done);
    CHECK(world_ms() - start < 250);
    CHECK_EQ(a.reason, SYN1_WORK);
    one_end(&w, &a);
}

static void a_wait_ends_with_a_reason(void)
{
    struct world w;
    struct fake a;
    int64_t start;

    one_begin(&w, &a, 0, NULL);
    start = world_ms();
    CHECK_EQ(fake_call(&a, -1, 150), ERR_OK);
    CHECK_EQ(a.reason, SYN1_NO_WORK);
    CHECK(world_ms() - start >= 140 && world_ms() - start < 1000);

    // a newer call ends the held one
    struct fake twin = a;
    fake_call_start(&a, -1, 5000);
    world_run(&w, 30);
    twin.number = a.number;
    fake_call_start(&twin, -1, 100);
    world_until(&w, &a.done);
    CHECK_EQ(a.reason, SYN1_NO_WORK);
    world_until(&w, &twin.done);
    CHECK_EQ(twin.reason, SYN1_NO_WORK);
    a.number = twin.number;

    // draining ends all
    fake_call_start(&a, -1, 5000);
    world_run(&w, 30);
    CHECK(!a.done);
    sched_store_drain(w.store);
    world_until(&w, &a.done);
    CHECK_EQ(a.reason, SYN1_DRAINING);
    one_end(&w, &a);
}

static void what_it_does_not_cache_is_named(void)
{
    struct world w;
    struct fake a;
    struct syn1_frame frame;

    one_begin(&w, &a, 1, NULL);
    w.model.id[0] ^= 1; // the fake says it has another one
    CHECK_EQ(fake_call(&a, -1, 1000), ERR_OK);
    CHECK_EQ(a.reason, SYN1_NOT_CACHED);
    w.model.id[0] ^= 1;
    CHECK_EQ(syn1_parse(a.answer, a.answer_len, &frame), ERR_OK);
    CHECK(memcmp(frame.header.model, w.model.id, SYN1_ID_LEN) == 0);
    CHECK_EQ(frame.header.span_end, w.model.n_shards);
    a.slots = 0;
    CHECK_EQ(fake_call(&a, -1, 1000), ERR_OK);
    CHECK_EQ(a.reason, SYN1_NO_SLOTS);
    one_end(&w, &a);
}

static void broken_frames_are_refused_at_once(void)
{
    struct world w;
    struct fake a;
    static uint8_t frame[1 << 16];
    struct sched_work *work = NULL;
    size_t len;

    one_begin(&w, &a, 1, NULL);
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
    fake_call_start(&a, 0, 0);
    world_until(&w, &a.done);
    memcpy(frame, a.call, a.call_len);
    len = a.call_len;
    for (size_t n = 0; n < len; n++)
        CHECK(sched_work_start(w.store, &a.who, frame, n, NULL, NULL, &work) !=
              ERR_OK);
    for (size_t i = 0; i < len; i++) {
        frame[i] ^= 0x41;
        CHECK(sched_work_start(w.store, &a.who, frame, len, NULL, NULL,
                               &work) != ERR_OK);
        frame[i] ^= 0x41;
    }
    CHECK(!work);
    one_end(&w, &a);
}

static void malformed_results_are_faults(void)
{
    static const enum fake_mode modes[] = {FAKE_MALFORMED, FAKE_SHORT};

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct world w;
        struct fake a, b, judge;

        one_begin(&w, &a, 6, NULL);
        a.mode = modes[i];
        fake_join(&b, &w, 2, 2, false);
        CHECK_EQ(world_take(&w, SCHED_JOB_OUTPUT).err, ERR_NOT_FOUND);
        while (!world_redis(&w, "HGET " CELL "v:vol_1 faults")) {
            enum err err = fake_call(&a, a.n_held ? 0 : -1, 0);
            CHECK(err == ERR_OK || err == ERR_GONE);
        }
        // others do its lines; some have then been in both hands
        a.mode = FAKE_HONEST;
        fake_join(&judge, &w, 9, 9, true);
        fake_go(&judge);
        fake_go(&b);
        while (a.n_held)
            fake_call(&a, 0, 0);
        fake_go(&a);
        fakes_until_final(&w, "batch_1", 5000);
        world_check(&w, "batch_1", 6, false, true);
        fake_release(&b);
        fake_release(&judge);
        one_end(&w, &a);
    }
}

static void sticky_soon(struct sched_policy *p)
{
    p->sticky_ms = 60;
    p->first_new = 2;
}

static void ready_rows_do_not_wait_for_an_owner_for_ever(void)
{
    struct world w;
    struct fake a, b;

    one_begin(&w, &a, 8, sticky_soon);
    fake_join(&b, &w, 2, 2, false);
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
    a.slots = 0;
    a.mode = FAKE_HONEST;
    fake_call_start(&a, 0, 1000);
    sched_work_cancel(a.work); // posts its result, and stops calling
    a.work = NULL;
    world_run(&w, 20);
    CHECK(world_redis(&w, "ZCARD " CELL "v:vol_1:q") > 0);
    world_run(&w, 150);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "v:vol_1:q"), 0);
    CHECK_EQ(world_redis(&w, "ZCARD " CELL "sticky"), 0);
    fake_release(&b);
    one_end(&w, &a);
}

// With 16 lines and 4 volunteers, the first to come does not take them all.
static void what_there_is_is_shared(void)
{
    struct world w;
    struct fake f[4];

    world_init(&w, NULL);
    world_batch(&w, "batch_1", 16, false);
    for (int i = 0; i < 4; i++)
        fake_join(&f[i], &w, i, (uint8_t)i, false);
    for (int i = 0; i < 4; i++) {
        struct syn1_frame unit;

        CHECK_EQ(fake_call(&f[i], -1, 0), ERR_OK);
        CHECK_EQ(f[i].reason, SYN1_WORK);
        CHECK_EQ(syn1_parse(f[i].held[0].frame, f[i].held[0].len, &unit),
                 ERR_OK);
        CHECK(unit.header.n_seqs <= 4);
    }
    for (int i = 1; i < 4; i++)
        fake_release(&f[i]);
    one_end(&w, &f[0]);
}

int main(void)
{
    two_volunteers_complete_a_batch();
    stop_strings_cut_and_two_units_in_hand();
    who_loses_every_unit_does_not_keep_its_rows();
    kv_missing_and_no_room_go_back();
    a_repeated_call_gets_the_same_bytes_and_counts_once();
    nobody_posts_what_another_holds();
    a_late_result_counts_until_the_rows_are_taken();
    progress_extends_a_lease();
    what_is_not_listed_is_sent_again();
    presence_has_a_grace();
    a_silent_volunteer_is_gone();
    a_client_that_left_gives_its_unit_back();
    a_held_call_wakes_at_once();
    a_wait_ends_with_a_reason();
    what_it_does_not_cache_is_named();
    broken_frames_are_refused_at_once();
    malformed_results_are_faults();
    ready_rows_do_not_wait_for_an_owner_for_ever();
    what_there_is_is_shared();
    return 0;
}
