// Who is to hold what: pure decisions.
#include "scheduler/plan_make.h"

#include <string.h>

#include "check.h"

enum { MAX = 12 };

static const struct sched_shard six[6] = {{.n_bytes = 10}, {.n_bytes = 10},
                                          {.n_bytes = 10}, {.n_bytes = 10},
                                          {.n_bytes = 10}, {.n_bytes = 10}};

struct asked {
    const char *what;
    uint64_t memory[MAX];
    size_t n;
    uint16_t now[7]; // the path as it is
    size_t n_now;
    bool fixed;
    uint16_t path[7]; // what must come
    size_t n_path;
    unsigned least; // holders of each span
    uint32_t missing;
};

static const struct asked table[] = {
    {.what = "nobody is there", .missing = 1},
    {.what = "one holds it all", .memory = {60}, .n = 1},
    {.what = "whoever can holds it all, the others share it",
     .memory = {60, 30, 30, 30, 30, 99},
     .n = 6,
     .path = {0, 3, 6},
     .n_path = 3,
     .least = 2},
    {.what = "two copies of the fewest spans",
     .memory = {30, 30, 30, 30},
     .n = 4,
     .path = {0, 3, 6},
     .n_path = 3,
     .least = 2},
    {.what = "one copy where there are too few",
     .memory = {30, 30, 30},
     .n = 3,
     .path = {0, 3, 6},
     .n_path = 3,
     .least = 1},
    {.what = "spans are even where memory is not",
     .memory = {50, 50, 40, 40},
     .n = 4,
     .path = {0, 3, 6},
     .n_path = 3,
     .least = 2},
    {.what = "the small ones get small spans",
     .memory = {40, 40, 20, 20, 9},
     .n = 5,
     .path = {0, 4, 6},
     .n_path = 3,
     .least = 2},
    {.what = "what is missing is told",
     .memory = {20, 20},
     .n = 2,
     .path = {0, 2, 4, 6},
     .n_path = 4,
     .missing = 5},
    {.what = "a path that does is kept",
     .memory = {30, 30, 30, 30, 30, 30},
     .n = 6,
     .now = {0, 3, 6},
     .n_now = 3,
     .path = {0, 3, 6},
     .n_path = 3,
     .least = 3},
    {.what = "also an uneven one",
     .memory = {40, 40, 40, 40},
     .n = 4,
     .now = {0, 2, 6},
     .n_now = 3,
     .path = {0, 2, 6},
     .n_path = 3,
     .least = 2},
    {.what = "one over more devices than needed is not",
     .memory = {30, 30, 30, 30},
     .n = 4,
     .now = {0, 2, 4, 6},
     .n_now = 4,
     .path = {0, 3, 6},
     .n_path = 3,
     .least = 2},
    {.what = "one that nobody can hold is not",
     .memory = {10, 10, 10, 10, 10, 10},
     .n = 6,
     .now = {0, 3, 6},
     .n_now = 3,
     .path = {0, 1, 2, 3, 4, 5, 6},
     .n_path = 7,
     .least = 1},
    {.what = "unless it is pinned",
     .memory = {30, 30, 30, 30},
     .n = 4,
     .now = {0, 1, 6},
     .n_now = 3,
     .fixed = true,
     .path = {0, 1, 6},
     .n_path = 3,
     .missing = 2},
};

static void plans_follow_memory(void)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct asked *t = &table[i];
        struct plan_volunteer v[MAX] = {{0}};
        int stages[MAX];
        static struct plan plan;
        unsigned least = 99;

        for (size_t k = 0; k < t->n; k++)
            v[k].memory = t->memory[k];
        plan_make(six, 6, v, t->n, t->now, t->n_now, t->fixed, stages, &plan);
        if (plan.n_path != t->n_path || plan.missing != t->missing)
            fprintf(stderr, "%s\n", t->what);
        CHECK_EQ(plan.n_path, t->n_path);
        CHECK(memcmp(plan.path, t->path, t->n_path * sizeof *t->path) == 0);
        CHECK_EQ(plan.missing, t->missing);
        for (size_t s = 0; s + 1 < plan.n_path; s++)
            least = plan.n_holders[s] < least ? plan.n_holders[s] : least;
        if (plan.n_path)
            CHECK_EQ(least, t->least);
        for (size_t k = 0; k < t->n; k++) {
            CHECK((stages[k] == PLAN_WHOLE) == (t->memory[k] >= 60));
            if (stages[k] >= 0)
                CHECK(plan_need(six, plan.path[stages[k]],
                                plan.path[stages[k] + 1]) <= t->memory[k]);
        }
    }
}

// A span needs its shards, their KV, and to compute what one shard needs.
static void spans_need_room_to_compute(void)
{
    static const struct sched_shard two[] = {
        {.n_bytes = 10, .kv_bytes = 3, .scratch_bytes = 5},
        {.n_bytes = 20, .kv_bytes = 4, .scratch_bytes = 7},
    };
    struct plan_volunteer v[2] = {{.memory = 43}, {.memory = 31}};
    int stages[2];
    static struct plan plan;

    CHECK_EQ(plan_need(two, 0, 1), 18);
    CHECK_EQ(plan_need(two, 0, 2), 44);
    plan_make(two, 2, v, 2, NULL, 0, false, stages, &plan);
    CHECK_EQ(plan.n_path, 3);
    CHECK(!plan.whole && !plan.missing);
    v[0].memory = 30; // nobody can compute with the second
    plan_make(two, 2, v, 1, NULL, 0, false, stages, &plan);
    CHECK_EQ(plan.missing, 2);
}

// What is held stays, pins go first, and the very slow do not count.
static void volunteers_keep_what_they_hold(void)
{
    struct plan_volunteer v[6] = {{0}};
    int stages[6];
    static const uint16_t now[] = {0, 3, 6};
    static struct plan plan;

    for (int k = 0; k < 5; k++) {
        v[k].memory = 30;
        v[k].n_held = 1;
        v[k].held[0][0] = k < 4 ? 0 : 3;
        v[k].held[0][1] = k < 4 ? 3 : 6;
    }
    plan_make(six, 6, v, 5, now, 3, false, stages, &plan);
    CHECK_EQ(plan.n_holders[0], 3); // one of four goes over, no more
    CHECK_EQ(plan.n_holders[1], 2);
    CHECK_EQ(stages[4], 1);

    v[4].pinned = true;
    v[4].pin[0] = 0;
    v[4].pin[1] = 3;
    plan_make(six, 6, v, 5, now, 3, false, stages, &plan);
    CHECK_EQ(stages[4], 0);
    CHECK(plan.n_holders[1] >= 1);

    v[4].pinned = false;
    for (int k = 0; k < 5; k++)
        v[k].speed = 1000;
    v[4].speed = 20;
    plan_make(six, 6, v, 5, now, 3, false, stages, &plan);
    CHECK_EQ(plan.n_holders[1], 2); // two others besides the slow one
    CHECK_EQ(stages[4], 1);
}

// Spans of two shards, of two layers each: class f32 fills what class exact
// leaves, never the head, never more layers than four.
static void class_f32_fills_what_is_left(void)
{
    static const uint16_t thirds[] = {0, 2, 4, 6};
    struct sched_shard shards[6];
    struct plan_volunteer v[5] = {{0}};
    int stages[5];
    static struct plan plan;

    for (int k = 0; k < 6; k++)
        shards[k] = (struct sched_shard){.n_bytes = 10, .n_layers = 2};
    for (int k = 0; k < 5; k++) {
        v[k].memory = 20;
        v[k].near = k < 2;
    }
    plan_make(shards, 6, v, 3, NULL, 0, false, stages, &plan);
    CHECK_EQ(plan.n_path, 4);
    CHECK_EQ(stages[2], 2); // the head
    CHECK_EQ(stages[0] + stages[1], 1);
    CHECK_EQ(plan.missing, 0);
    CHECK_EQ(plan.n_holders[0] + plan.n_holders[1], 0);

    plan_make(shards, 6, v, 5, thirds, 4, false, stages, &plan);
    for (int s = 0; s < 3; s++)
        CHECK_EQ(plan.n_holders[s], 1);
    CHECK_EQ(plan.n_near[0], 1);
    CHECK_EQ(plan.n_near[1], 1);

    // Both hold the same span, and nobody the one before: one of them moves.
    for (int k = 0; k < 2; k++) {
        v[k].n_held = 1;
        memcpy(v[k].held[0], (uint16_t[]){2, 4}, sizeof v[k].held[0]);
    }
    v[2].n_held = 1;
    memcpy(v[2].held[0], (uint16_t[]){4, 6}, sizeof v[2].held[0]);
    plan_make(shards, 6, v, 3, thirds, 4, false, stages, &plan);
    CHECK_EQ(plan.n_path, 4);
    CHECK_EQ(plan.missing, 0);
    CHECK_EQ(stages[0] + stages[1], 1);
    for (int k = 0; k < 3; k++)
        v[k].n_held = 0;

    // One that has memory for all of it, and one for more layers than it may.
    v[0].memory = 99;
    v[2].memory = 60;
    plan_make(shards, 6, v, 3, NULL, 0, false, stages, &plan);
    CHECK_EQ(stages[0], PLAN_NONE);
    CHECK_EQ(stages[2], PLAN_WHOLE);
    v[2].memory = v[3].memory = 30;
    plan_make(shards, 6, v, 4, NULL, 0, false, stages, &plan);
    CHECK_EQ(plan.n_path, 3);
    CHECK_EQ(stages[0], PLAN_NONE);

    // None without class exact.
    plan_make(shards, 6, v, 2, NULL, 0, false, stages, &plan);
    CHECK_EQ(plan.n_path, 0);
    CHECK_EQ(plan.missing, 1);
}

int main(void)
{
    class_f32_fills_what_is_left();
    plans_follow_memory();
    spans_need_room_to_compute();
    volunteers_keep_what_they_hold();
    return 0;
}
