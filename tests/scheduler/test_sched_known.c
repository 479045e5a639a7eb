// Known answers: who gives a wrong one has lost a dispute, though none of its
// lines was drawn.
#include "fake.h"

#define CELL  "syn:{0}:"
#define ZEROS "000000000000000000000000000000"
#define REST  "ab" ZEROS ZEROS // of an account's name, after its number

static void always(struct sched_policy *p)
{
    p->known = 1000000;
}

static void leave(struct world *w, struct fake *f)
{
    fake_release(f);
    world_run(w, 20);
    CHECK_EQ(fake_leave(f), ERR_OK);
}

// The referee finds what account 1, a newcomer, computed right. Then account 2,
// trusted for long, gets lines; with each unit one whose answer is known.
static void begin(struct world *w, struct fake f[3])
{
    world_init(w, always);
    fake_join(&f[0], w, 1, 1, false);
    fake_join(&f[2], w, 9, 9, true);
    world_batch(w, "batch_1", 6, false);
    fake_go(&f[0]);
    fake_go(&f[2]);
    fakes_until_final(w, "batch_1", 5000);
    fakes_output(w, "batch_1");
    leave(w, &f[0]);
    CHECK(world_redis(w, "HEXISTS " CELL "g known") == 0); // not its own
    fake_join(&f[1], w, 2, 2, false);
    world_redis(w, "HSET " CELL "acct:02" REST " run 100000");
}

static void an_honest_volunteer_passes(void)
{
    enum { LINES = 40 };
    struct world w;
    struct fake f[3];

    begin(&w, f);
    world_batch(&w, "batch_2", LINES, false);
    fake_go(&f[1]);
    fakes_until_final(&w, "batch_2", 8000);
    world_check(&w, "batch_2", LINES, false, true); // each once, no other
    CHECK(world_redis(&w, "HGET " CELL "g known") > 0);
    CHECK_EQ(world_redis(&w, "HGET " CELL "g disagreements"), 0);
    CHECK(f[1].work_seqs > LINES);
    fakes_output(&w, "batch_2");
    leave(&w, &f[1]);
    leave(&w, &f[2]);
    CHECK_EQ(world_redis(&w, "HGET " CELL "g n_q"), 0); // nothing stays
    CHECK_EQ(world_redis(&w, "HGET " CELL "g n_r"), 0);
    world_release(&w);
}

static void a_liar_is_found_before_any_draw(void)
{
    // Enough units: a known line of one token cannot be wrong in the second.
    enum { LINES = 160 };
    struct world w;
    struct fake f[3];

    begin(&w, f);
    leave(&w, &f[2]); // nobody is there who could check
    world_batch(&w, "batch_2", LINES, false);
    f[1].mode = FAKE_WRONG_TOKEN;
    fake_go(&f[1]);
    for (int i = 0; i < 600; i++)
        if (!world_redis(&w, "HGET " CELL "acct:02" REST " ban"))
            world_run(&w, 50);
    CHECK_EQ(world_redis(&w, "HGET " CELL "acct:02" REST " ban"), 1);
    CHECK(world_redis(&w, "HGET " CELL "g known") >= 3);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_2 n_ok"), 0);
    leave(&w, &f[1]);
    fake_join(&f[0], &w, 3, 3, false);
    fake_join(&f[2], &w, 10, 9, true);
    fake_go(&f[0]);
    fake_go(&f[2]);
    fakes_until_final(&w, "batch_2", 8000);
    world_check(&w, "batch_2", LINES, false, true);
    fakes_output(&w, "batch_2");
    leave(&w, &f[0]);
    leave(&w, &f[2]);
    world_release(&w);
}

int main(void)
{
    an_honest_volunteer_passes();
    a_liar_is_found_before_any_draw();
    return 0;
}
