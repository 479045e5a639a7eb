// Sequences that run over several volunteers, none of which holds the model.
#include "fake.h"

#include <string.h>

#include "scheduler/plan.h"
#include "scheduler/state.h"

#define CELL "syn:{0}:"
#define OPEN "HGET " CELL "p:01020304000000000000000000000000 open"

enum { FAKES_MAX = 12, LIMIT_MS = 90000 };

static void set_path(struct world *w, const uint16_t *path, size_t n)
{
    struct waited done = {0};

    CHECK_EQ(world_wait(w,
                        sched_plan_pin(w->store, w->model.id, NULL, path, n,
                                       on_waited, &done),
                        &done),
             ERR_OK);
}

// each volunteers for each stage of path, accounts 1, 2, ..; then a referee
// that holds it all. Returns how many there are.
static int team(struct world *w, struct fake *f, const uint16_t *path, int n,
                int each)
{
    int k = 0;

    set_path(w, path, (size_t)n);
    for (int i = 0; i < n - 1; i++)
        for (int j = 0; j < each; j++, k++) {
            fake_join(&f[k], w, k, (uint8_t)k, false);
            fake_holds(&f[k], path[i], path[i + 1]);
            f[k].depth = 2;
        }
    fake_join(&f[k], w, k, (uint8_t)k, true);
    return k + 1;
}

static void team_leaves(struct world *w, struct fake *f, int n)
{
    for (int i = 0; i < n; i++)
        fake_release(&f[i]);
    world_run(w, 10);
    for (int i = 0; i < n; i++) {
        enum err err = fake_leave(&f[i]);
        CHECK(err == ERR_OK || err == ERR_DENIED);
    }
    world_release(w);
}

static void spans_give_the_text_of_the_whole_model(void)
{
    static const struct {
        uint16_t path[7];
        int n, each;
    } splits[] = {
        {{0, 3, 6}, 3, 1},
        {{0, 1, 4, 6}, 4, 2},
        {{0, 1, 2, 3, 4, 5, 6}, 7, 1},
    };

    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        static struct fake f[FAKES_MAX];
        struct world w;

        world_init(&w, NULL);
        int n = team(&w, f, splits[i].path, splits[i].n, splits[i].each);
        world_batch(&w, "batch_1", 30, i == 1);
        for (int k = 0; k < n; k++)
            fake_go(&f[k]);
        fakes_until_final(&w, "batch_1", 8000);
        world_check(&w, "batch_1", 30, i == 1, true);
        for (int k = 0; k + 1 < n; k++)
            CHECK(f[k].rows);
        CHECK_EQ(f[n - 1].work_seqs, 0);
        fakes_output(&w, "batch_1");
        team_leaves(&w, f, n);
    }
}

// Batches batch_1 and on, all of as many lines.
struct batches {
    int n;
    uint32_t lines;
};

static void batch_add(struct world *w, struct batches *b)
{
    char id[32];

    snprintf(id, sizeof id, "batch_%d", ++b->n);
    world_batch(w, id, b->lines, false);
}

// Until f has computed so many units; there are always lines left.
static void until_units(struct world *w, const struct fake *f, uint32_t units,
                        struct batches *b)
{
    int64_t end = world_ms() + LIMIT_MS;

    while (f->units < units) {
        if (world_redis(w, "HGET " CELL "b:batch_%d st", b->n) ==
            SCHED_FINALIZING)
            batch_add(w, b);
        world_run_before(w, 1, end);
    }
}

// All lines are there, once and right.
static void batches_check(struct world *w, const struct batches *b)
{
    for (int i = 1; i <= b->n; i++) {
        char id[32];

        snprintf(id, sizeof id, "batch_%d", i);
        fakes_until_final(w, id, 9000);
        world_check(w, id, b->lines, false, true);
        fakes_output(w, id);
    }
}

static void short_deadlines(struct sched_policy *p)
{
    p->stage_ms = 200;
    p->sticky_ms = 60000; // stages never wait for that
}

// Of two volunteers a stage one goes, in one of the ways: every line is there,
// and what was lost is computed again from the log.
static void lost_volunteers_are_replaced_from_the_log(void)
{
    enum how { FROZEN, LEAVES, CLOSES, FORGETS, NO_ROOM, HOWS };

    for (enum how how = FROZEN; how < HOWS; how++) {
        static const uint16_t path[] = {0, 2, 4, 6};
        static struct fake f[FAKES_MAX];
        uint8_t presence[16] = {9};
        struct batches batches = {.lines = 36};
        struct waited done = {0};
        struct world w;

        world_init(&w, short_deadlines);
        int n = team(&w, f, path, 4, 2);
        for (int k = 0; k < 6; k += 2)
            CHECK_EQ(
                world_wait(&w,
                           sched_volunteer_present(w.store, &f[k].who, presence,
                                                   on_waited, &done),
                           &done),
                ERR_OK);
        batch_add(&w, &batches);
        for (int k = 0; k < n; k++) {
            if (how >= FORGETS && k % 2 == 0)
                f[k].mode = how == FORGETS ? FAKE_FORGETS : FAKE_NO_ROOM;
            fake_go(&f[k]);
        }
        for (int k = 0; k < 6; k += 2) {
            until_units(&w, &f[k], 3, &batches);
            if (how < FORGETS)
                f[k].running = false; // says nothing any more
            if (how == LEAVES)
                CHECK_EQ(fake_leave(&f[k]), ERR_OK);
            if (how == CLOSES)
                CHECK_EQ(
                    world_wait(&w,
                               sched_volunteer_lost(w.store, &f[k].who,
                                                    presence, on_waited, &done),
                               &done),
                    ERR_OK);
        }
        batches_check(&w, &batches);
        CHECK_EQ(world_redis(&w, "HGET " CELL "g rollbacks"), 0);
        team_leaves(&w, f, n);
    }
}

// Logs take what the budget allows, and lines wait for their turn.
static void small_log(struct sched_policy *p)
{
    p->log_bytes = 3 * 2 * 21 * MODEL_ROW; // of the longest lines, two
}

static void the_log_keeps_to_its_budget(void)
{
    static const uint16_t path[] = {0, 2, 4, 6};
    static struct fake f[FAKES_MAX];
    int64_t end = world_ms() + LIMIT_MS;
    struct world w;
    long long most = 0;

    world_init(&w, small_log);
    int n = team(&w, f, path, 4, 1);
    world_batch(&w, "batch_1", 30, false);
    for (int k = 0; k < n; k++)
        fake_go(&f[k]);
    while (world_redis(&w, "HGET " CELL "b:batch_1 st") != 2) {
        long long log = world_redis(&w, "HGET " CELL "g log");

        most = log > most ? log : most;
        world_run_before(&w, 2, end);
    }
    CHECK(most > 0 && most <= (long long)w.policy.log_bytes);
    world_check(&w, "batch_1", 30, false, true);
    fakes_output(&w, "batch_1");
    team_leaves(&w, f, n);
}

// A line whose log alone would be more than the budget is told so, and does not
// hold up the others.
static void tiny_log(struct sched_policy *p)
{
    p->log_bytes = 2 * 10 * MODEL_ROW;
}

static void lines_longer_than_the_log_are_told(void)
{
    static const uint16_t path[] = {0, 2, 4, 6};
    enum { LINES = 30 };
    static struct fake f[FAKES_MAX];
    long long n_long = 0;
    struct world w;

    world_init(&w, tiny_log);
    int n = team(&w, f, path, 4, 1);
    world_batch(&w, "batch_1", LINES, false);
    for (uint32_t i = 0; i < LINES; i++) {
        uint32_t prompt[MODEL_CONTEXT];

        n_long += world_prompt(i, prompt) + world_max_tokens(i) > 10;
    }
    CHECK(n_long > 0 && n_long < LINES);
    for (int k = 0; k < n; k++)
        fake_go(&f[k]);
    fakes_until_final(&w, "batch_1", 9000);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_bad"), n_long);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_ok"), LINES - n_long);
    fakes_output(&w, "batch_1");
    team_leaves(&w, f, n);
}

// No more lines begin than the stage with the least room can keep, with that of
// one of its volunteers left free; and it is known when they have ended.
static void lines_wait_until_every_stage_has_room(void)
{
    static const uint16_t path[] = {0, 2, 4, 6};
    enum { EACH = 2, FEW = 4, MOST = EACH * FEW / 2 };
    static struct fake f[FAKES_MAX];
    int64_t end = world_ms() + LIMIT_MS;
    struct world w;
    long long most = 0;

    world_init(&w, NULL);
    int n = team(&w, f, path, 4, EACH);
    f[4].slots = f[5].slots = FEW;
    world_batch(&w, "batch_1", 30, false);
    for (int k = 0; k < n; k++)
        fake_go(&f[k]);
    while (world_redis(&w, "HGET " CELL "b:batch_1 st") != 2) {
        long long open = world_redis(&w, OPEN);

        if (world_redis(&w, "HLEN " CELL "cap") == 3)
            most = open > most ? open : most;
        world_run_before(&w, 1, end);
    }
    CHECK(most > 1 && most <= MOST);
    CHECK_EQ(world_redis(&w, OPEN), 0);
    world_check(&w, "batch_1", 30, false, true);
    fakes_output(&w, "batch_1");
    team_leaves(&w, f, n);
}

static void a_wrong_row_is_caught_and_rolled_back(void)
{
    for (int liar = 0; liar < 6; liar += 2) {
        static const uint16_t path[] = {0, 2, 4, 6};
        static struct fake f[FAKES_MAX];
        struct world w;

        world_init(&w, NULL);
        int n = team(&w, f, path, 4, 2);
        f[liar].mode = liar < 4 ? FAKE_WRONG_ROW : FAKE_WRONG_TOKEN;
        f[liar + 1].slots = 3; // who holds the same span cannot take all
        world_batch(&w, "batch_1", 12, false);
        for (int k = 0; k < n; k++)
            fake_go(&f[k]);
        fakes_until_final(&w, "batch_1", 9000);
        world_check(&w, "batch_1", 12, false, true);
        CHECK(world_redis(&w, "HGET " CELL "g rollbacks") > 0);
        fakes_output(&w, "batch_1");
        team_leaves(&w, f, n);
    }
}

// Volunteers that can hold two shards of six are told which by themselves; when
// some leave the others cover for them, and when smaller ones replace them all
// sequences go on along other stages.
static void plans_are_made_and_changed_under_way(void)
{
    static struct fake f[FAKES_MAX + 1];
    struct batches batches = {.lines = 150};
    struct world w;

    world_init(&w, short_deadlines);
    w.memory = 2500; // a shard takes 1100
    for (int k = 0; k < 6; k++) {
        fake_join(&f[k], &w, k, (uint8_t)k, false);
        f[k].obeys = true;
        f[k].n_spans = 0;
        f[k].depth = 2;
        fake_go(&f[k]);
    }
    batch_add(&w, &batches);
    for (int k = 0; k < 3; k++)
        until_units(&w, &f[k], 4, &batches);
    for (int k = 0; k < 6; k++)
        CHECK_EQ(f[k].spans[0][1] - f[k].spans[0][0], 2);
    for (int k = 0; k < 6; k += 2) {
        fake_release(&f[k]);
        world_run(&w, 5);
        CHECK_EQ(fake_leave(&f[k]), ERR_OK);
    }
    w.memory = 1200;
    for (int k = 6; k < 12; k++) {
        fake_join(&f[k], &w, k, (uint8_t)k, false);
        f[k].obeys = true;
        f[k].n_spans = 0;
        fake_go(&f[k]);
    }
    world_run(&w, 5); // sequences are still on the old path
    for (int k = 1; k < 6; k += 2) {
        fake_release(&f[k]);
        world_run(&w, 5);
        CHECK_EQ(fake_leave(&f[k]), ERR_OK);
    }
    w.memory = 1 << 20;
    fake_join(&f[12], &w, 12, 12, true);
    fake_go(&f[12]);
    batches_check(&w, &batches);
    CHECK(world_redis(&w, "HGET " CELL "g detours") > 0);
    for (int k = 6; k < 12; k++)
        CHECK_EQ(f[k].spans[0][1] - f[k].spans[0][0], 1);
    for (int k = 6; k < 13; k++) {
        fake_release(&f[k]);
        world_run(&w, 5);
        CHECK_EQ(fake_leave(&f[k]), ERR_OK);
    }
    world_release(&w);
}

// A volunteer whose memory grows in the middle fetches the whole model, as soon
// as the others hold all parts; one whose memory shrinks is given less.
static void plans_follow_the_memory_that_is_told(void)
{
    static struct fake f[5];
    int64_t end = world_ms() + LIMIT_MS;
    struct world w;

    world_init(&w, short_deadlines);
    w.memory = 3500; // three shards
    for (int k = 0; k < 4; k++) {
        fake_join(&f[k], &w, k, (uint8_t)k, false);
        f[k].obeys = true;
        f[k].n_spans = 0;
        f[k].wait_ms = 20;
        fake_go(&f[k]);
    }
    for (int k = 0; k < 4; k++)
        while (!f[k].n_spans || f[k].spans[0][1] - f[k].spans[0][0] != 3)
            world_run_before(&w, 5, end);
    f[0].memory = 10000;
    while (f[0].spans[0][1] - f[0].spans[0][0] != MODEL_SHARDS)
        world_run_before(&w, 5, end);
    f[1].memory = f[2].memory = f[3].memory = 2400; // two
    for (int k = 1; k < 4; k++)
        while (f[k].spans[0][1] - f[k].spans[0][0] != 2)
            world_run_before(&w, 5, end);
    team_leaves(&w, f, 4);
}

int main(void)
{
    plans_follow_the_memory_that_is_told();
    plans_are_made_and_changed_under_way();
    lost_volunteers_are_replaced_from_the_log();
    the_log_keeps_to_its_budget();
    lines_longer_than_the_log_are_told();
    lines_wait_until_every_stage_has_room();
    a_wrong_row_is_caught_and_rolled_back();
    spans_give_the_text_of_the_whole_model();
    return 0;
}
