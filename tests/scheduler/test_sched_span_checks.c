// Checks of single spans: lies in one are found, blamed on who told them, and
// computed again by others, with a referee or without.
#include "fake.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/plan.h"

#define CELL "syn:{0}:"

enum { FAKES_MAX = 12, LIMIT_MS = 30000 };

// So many volunteers for each stage of path, accounts 1, 2, ..; then perhaps a
// referee. Returns how many there are.
static int team(struct world *w, struct fake *f, const uint16_t *path, int n,
                int each, bool referee)
{
    struct waited done = {0};
    int k = 0;

    CHECK_EQ(world_wait(w,
                        sched_plan_pin(w->store, w->model.id, NULL, path,
                                       (size_t)n, on_waited, &done),
                        &done),
             ERR_OK);
    for (int i = 0; i < n - 1; i++)
        for (int j = 0; j < each; j++, k++) {
            fake_join(&f[k], w, k + 1, (uint8_t)(k + 1), false);
            fake_holds(&f[k], path[i], path[i + 1]);
            f[k].depth = 2;
        }
    if (referee)
        fake_join(&f[k], w, 0x99, 0x99, true);
    return k + referee;
}

static void all_go(struct fake *f, int n)
{
    for (int k = 0; k < n; k++)
        fake_go(&f[k]);
}

static void team_leaves(struct world *w, struct fake *f, int n)
{
    for (int i = 0; i < n; i++)
        fake_release(&f[i]);
    world_run(w, 10);
    for (int i = 0; i < n; i++)
        CHECK_EQ(fake_leave(&f[i]), ERR_OK);
    world_release(w);
}

static long long account(struct world *w, int a, const char *field)
{
    return world_redis(w, "HGET " CELL "acct:%02xab%060d %s", a, 0, field);
}

static void trusted(struct world *w, int a)
{
    world_redis(w, "HSET " CELL "acct:%02xab%060d run 15", a, 0);
}

static const uint16_t thirds[] = {0, 2, 4, 6};

// The liar, and nobody else, is found out, whatever span it holds.
static void a_liar_in_one_span_is_blamed(void)
{
    for (int referee = 0; referee < 2; referee++)
        for (int liar = 3; liar < 9; liar += 3) {
            static struct fake f[FAKES_MAX];
            struct world w;

            world_init(&w, NULL);
            int n = team(&w, f, thirds, 4, 3, referee);
            f[liar].mode = liar < 6 ? FAKE_WRONG_ROW : FAKE_WRONG_TOKEN;
            world_batch(&w, "batch_1", 30, false);
            all_go(f, n);
            fakes_until_final(&w, "batch_1", LIMIT_MS);
            world_check(&w, "batch_1", 30, false, true);
            world_run(&w, 80); // a sweep folds the ledger
            for (int k = 0; k < 9; k++)
                if (k == liar)
                    CHECK(account(&w, k + 1, "lies") > 0);
                else
                    CHECK_EQ(account(&w, k + 1, "lies"), 0);
            CHECK(world_redis(&w, "HGET " CELL "g rollbacks") > 0);
            fakes_output(&w, "batch_1");
            team_leaves(&w, f, n);
        }
}

// A checker that differs with what is right is blamed itself; nothing is
// undone.
static void a_checker_that_lies_is_blamed(void)
{
    for (int referee = 0; referee < 2; referee++) {
        static struct fake f[FAKES_MAX];
        struct world w;

        world_init(&w, NULL);
        int n = team(&w, f, thirds, 4, 3, referee);
        for (int k = 0; k < 9; k++)
            trusted(&w, k + 1);
        f[4].mode = FAKE_WRONG_PRINT;
        w.redundancy = 1 + (uint32_t)referee;
        world_batch(&w, "batch_1", 40, false);
        all_go(f, n);
        fakes_until_final(&w, "batch_1", LIMIT_MS);
        world_check(&w, "batch_1", 40, false, true);
        world_run(&w, 80);
        CHECK(account(&w, 5, "lies") > 0);
        for (int k = 0; k < 9; k++)
            CHECK(k == 4 || account(&w, k + 1, "lies") == 0);
        CHECK_EQ(world_redis(&w, "HGET " CELL "g rollbacks"), 0);
        fakes_output(&w, "batch_1");
        team_leaves(&w, f, n);
    }
}

// Where accounts are trusted few stages are checked, and who computed what is
// credited by its span's part of the model: 1600, 1600 and 1800 of 5000.
static void few_checks_are_enough_and_credit_follows_the_parameters(void)
{
    static struct fake f[FAKES_MAX];
    struct world w;
    long long credit[3];

    world_init(&w, NULL);
    int n = team(&w, f, thirds, 4, 1, true);
    for (int k = 0; k < 3; k++)
        trusted(&w, k + 1);
    world_batch(&w, "batch_1", 60, false);
    all_go(f, n);
    fakes_until_final(&w, "batch_1", LIMIT_MS);
    world_check(&w, "batch_1", 60, false, true);
    long long tokens = world_redis(&w, "HGET " CELL "b:batch_1 tok");
    long long checked = world_redis(&w, "HGET " CELL "b:batch_1 n_ct");
    CHECK(checked > 0 && checked < tokens / 2);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_rt"), checked);
    world_run(&w, 80);
    for (int k = 0; k < 3; k++)
        credit[k] = account(&w, k + 1, "credit");
    CHECK(credit[0] > 0);
    CHECK(llabs(credit[1] - credit[0]) <= 60); // rounded for each line
    CHECK(llabs(credit[2] * 8 - credit[0] * 9) <= 17 * 60);
    fakes_output(&w, "batch_1");
    team_leaves(&w, f, n);
}

static void all_stages_are_confirmed_by_as_many_as_asked_for(void)
{
    static struct fake f[FAKES_MAX];
    struct world w;

    world_init(&w, NULL);
    int n = team(&w, f, thirds, 4, 3, false);
    for (int k = 0; k < 9; k++)
        trusted(&w, k + 1);
    w.redundancy = 3;
    world_batch(&w, "batch_1", 12, false);
    all_go(f, n);
    fakes_until_final(&w, "batch_1", LIMIT_MS);
    world_check(&w, "batch_1", 12, false, true);
    long long tokens = world_redis(&w, "HGET " CELL "b:batch_1 tok");
    CHECK(world_redis(&w, "HGET " CELL "b:batch_1 n_rt") >= 2 * tokens - 40);
    fakes_output(&w, "batch_1");
    team_leaves(&w, f, n);
}

static void small_log(struct sched_policy *p)
{
    p->log_bytes = 3 * 2 * 21 * MODEL_ROW; // of the longest lines, three
}

// Lines that wait for later checks keep their log: when it is full, one more
// check makes room.
static void a_full_log_is_settled(void)
{
    static struct fake f[FAKES_MAX];
    struct world w;

    world_init(&w, small_log);
    int n = team(&w, f, thirds, 4, 2, false);
    for (int k = 0; k < 6; k++)
        trusted(&w, k + 1);
    world_batch(&w, "batch_1", 24, false);
    all_go(f, n);
    fakes_until_final(&w, "batch_1", LIMIT_MS);
    world_check(&w, "batch_1", 24, false, true);
    fakes_output(&w, "batch_1");
    team_leaves(&w, f, n);
}

// Lines that are finished wait for somebody to check them; when all have gone
// and others share the model in another way, they are computed anew.
static void lines_that_nobody_can_check_begin_again(void)
{
    static const uint16_t halves[] = {0, 3, 6};
    static struct fake f[FAKES_MAX], g[FAKES_MAX];
    struct world w;

    world_init(&w, NULL);
    int n = team(&w, f, thirds, 4, 1, false);
    world_batch(&w, "batch_1", 8, false);
    all_go(f, n);
    while (world_redis(&w, "HGET " CELL "b:batch_1 n_c") < 8)
        world_run(&w, 5);
    for (int k = 0; k < n; k++) {
        fake_release(&f[k]);
        world_run(&w, 5);
        CHECK_EQ(fake_leave(&f[k]), ERR_OK);
    }
    world_run(&w, 50);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_1 n_ok"), 0);
    n = team(&w, g, halves, 3, 2, false);
    all_go(g, n);
    fakes_until_final(&w, "batch_1", LIMIT_MS);
    world_check(&w, "batch_1", 8, false, true);
    CHECK_EQ(world_redis(&w, "HGET " CELL "g restarts"), 8);
    fakes_output(&w, "batch_1");
    team_leaves(&w, g, n);
}

struct seen {
    bool done;
    char waiting[32];
};

static void on_batch(enum err err, const struct sched_batch *b, void *ctx)
{
    struct seen *s = ctx;

    CHECK_EQ(err, ERR_OK);
    snprintf(s->waiting, sizeof s->waiting, "%s", b->waiting);
    s->done = true;
}

// Where nobody may check a stage, and no referee is there, the batch says so;
// who has the whole model checks the lines whole.
static void who_has_the_whole_model_checks_for_lone_volunteers(void)
{
    for (int liar = 0; liar < 2; liar++) {
        static struct fake f[FAKES_MAX];
        struct world w;
        struct seen seen = {0};

        world_init(&w, NULL);
        int n = team(&w, f, thirds, 4, 1, false);
        f[1].mode = liar ? FAKE_WRONG_ROW : FAKE_HONEST;
        world_batch(&w, "batch_1", 8, false);
        all_go(f, n);
        while (world_redis(&w, "HGET " CELL "b:batch_1 n_c") < 8)
            world_run(&w, 5);
        CHECK_EQ(sched_batch_get(w.store, "batch_1", NULL, on_batch, &seen),
                 ERR_OK);
        world_until(&w, &seen.done);
        CHECK(strcmp(seen.waiting, "checks") == 0);
        for (int k = 0; k <= liar; k++, n++) { // two, where they differ
            fake_join(&f[n], &w, n + 1, (uint8_t)(n + 1), false);
            fake_go(&f[n]);
        }
        fakes_until_final(&w, "batch_1", LIMIT_MS);
        world_check(&w, "batch_1", 8, false, true);
        CHECK_EQ(world_redis(&w, "HGET " CELL "g rollbacks") > 0, liar);
        fakes_output(&w, "batch_1");
        team_leaves(&w, f, n);
    }
}

int main(void)
{
    who_has_the_whole_model_checks_for_lone_volunteers();
    few_checks_are_enough_and_credit_follows_the_parameters();
    all_stages_are_confirmed_by_as_many_as_asked_for();
    a_full_log_is_settled();
    lines_that_nobody_can_check_begin_again();
    a_liar_in_one_span_is_blamed();
    a_checker_that_lies_is_blamed();
    return 0;
}
