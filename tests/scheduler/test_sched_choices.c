// Lines of batches with several choices: one sequence each, one result of all,
// counted once, whatever happens in between.
#include "fake.h"

#include <stdlib.h>
#include <string.h>

#define CELL "syn:{0}:"

enum { N = SCHED_CHOICES_MAX, SEED = 40 };

struct shown {
    bool done;
    struct sched_batch b; // its numbers
};

static void on_batch(enum err err, const struct sched_batch *b, void *ctx)
{
    struct shown *s = ctx;

    CHECK_EQ(err, ERR_OK);
    s->done = true;
    s->b = *b;
}

static struct sched_batch show(struct world *w)
{
    struct shown s = {0};

    CHECK_EQ(sched_batch_get(w->store, "batch_1", NULL, on_batch, &s), ERR_OK);
    world_until(w, &s.done);
    return s.b;
}

// A batch of one line with N choices and one with one, read in.
static void batch_make(struct world *w, uint32_t redundancy)
{
    struct sched_batch_new batch = {.id = "batch_1",
                                    .key = "key_a",
                                    .model = "",
                                    .endpoint = "/v1/completions",
                                    .window_ms = 3600000,
                                    .input_file = "in",
                                    .input_id = "file-1",
                                    .n_lines = 2,
                                    .callback_url = "",
                                    .callback_secret = "",
                                    .redundancy = redundancy};
    static const uint32_t prompt[] = {3, 1, 4};
    struct sched_line lines[2] = {{.n_prompt = 3,
                                   .custom_id = {(const uint8_t *)"many", 4},
                                   .prompt = prompt,
                                   .max_tokens = 4,
                                   .seed_given = true,
                                   .n_choices = N,
                                   .sampling = {.top_p_q16 = 65536,
                                                .inv_temp_q16 = 65536,
                                                .seed = SEED}}};
    struct took t;
    struct waited done = {0};

    memcpy(lines[0].model, w->model.id, sizeof lines[0].model);
    lines[1] = lines[0];
    lines[1].number = 1;
    lines[1].n_choices = 1;
    CHECK_EQ(world_wait(w,
                        sched_batch_create(w->store, &batch, on_waited, &done),
                        &done),
             ERR_OK);
    t = world_take(w, SCHED_JOB_INGEST);
    CHECK_EQ(t.err, ERR_OK);
    for (int i = 0; i < 2; i++) { // the repeat of a step adds nothing
        CHECK_EQ(world_wait(w,
                            sched_batch_add(w->store, &t.job, lines, 2, 9,
                                            60000, on_waited, &done),
                            &done),
                 ERR_OK);
    }
    t.job.cursor = 9;
    CHECK_EQ(world_wait(
                 w, sched_batch_lines_done(w->store, &t.job, on_waited, &done),
                 &done),
             ERR_OK);
    CHECK_EQ(show(w).queued, N + 1);
    CHECK_EQ(world_redis(w, "HGET " CELL "k:key_a:u open"), 2);
}

struct seen {
    bool done;
    size_t n, n_errors;
    uint32_t tokens; // of all
    bool several;
};

static void on_results(enum err err, const struct sched_result *results,
                       size_t n, uint64_t next, bool more, void *ctx)
{
    struct seen *s = ctx;

    CHECK_EQ(err, ERR_OK);
    CHECK(next == n && !more);
    s->done = true;
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        const struct sched_result *r = &results[i];

        s->n_errors += r->error.len > 0;
        if (r->error.len > 0)
            continue;
        s->several |= r->n_choices > 0;
        CHECK_EQ(r->n_choices, r->number == 0 ? N : 0);
        for (uint32_t c = 0; c < (r->n_choices ? r->n_choices : 1); c++) {
            const struct sched_result *choice =
                r->n_choices ? &r->choices[c] : r;

            CHECK_EQ(choice->number, r->number);
            CHECK_EQ(choice->seed, SEED + c);
            CHECK(choice->seed_given);
            CHECK_EQ(choice->n_prompt, 3);
            CHECK(choice->n_tokens > 0);
            CHECK(choice->custom_id.len == 4);
            s->tokens += choice->n_tokens;
        }
    }
}

static struct seen results(struct world *w)
{
    struct seen s = {0};

    CHECK_EQ(
        sched_batch_results(w->store, "batch_1", NULL, 0, 8, on_results, &s),
        ERR_OK);
    world_until(w, &s.done);
    return s;
}

static void one_at_a_time(struct sched_policy *p)
{
    p->unit_seqs = 1;
}

// Some of the choices are final, and not all.
static void some_final(struct world *w)
{
    for (int i = 0; i < 3000; i++) {
        if (world_redis(w, "HGET " CELL "b:batch_1:g 0:n") > 0)
            break;
        world_run(w, 1);
    }
    CHECK(world_redis(w, "HGET " CELL "b:batch_1:g 0:n") > 0);
}

// One who computes, and the referee, whose word is final at once.
static void volunteers(struct world *w, struct fake f[2])
{
    for (int i = 0; i < 2; i++) {
        fake_join(&f[i], w, i + 1, (uint8_t)(i + 1), i == 1);
        f[i].slots = 1;
        fake_go(&f[i]);
    }
}

static void volunteers_leave(struct world *w, struct fake f[2])
{
    for (int i = 0; i < 2; i++)
        fake_release(&f[i]);
    world_run(w, 20);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(fake_leave(&f[i]), ERR_OK);
}

static void choices_become_one_result(void)
{
    struct world w;
    struct fake f[2];
    struct sched_batch b;
    struct seen s;

    world_init(&w, one_at_a_time);
    batch_make(&w, 2);
    volunteers(&w, f);
    some_final(&w);
    world_redis_kill(&w); // those that are final are kept
    world_run(&w, 30);
    world_redis_start(&w);
    world_until_up(&w);
    fakes_until_final(&w, "batch_1", 8000);
    b = show(&w);
    s = results(&w);
    CHECK(b.completed == 2 && b.failed == 0 && b.total == 2);
    CHECK(b.queued + b.running + b.checking == 0);
    CHECK(s.n == 2 && s.n_errors == 0 && s.several);
    CHECK_EQ(b.tokens, s.tokens);
    CHECK_EQ(world_redis(&w, "EXISTS " CELL "b:batch_1:g"), 0);
    CHECK_EQ(world_redis(&w, "HGET " CELL "k:key_a:u open"), 0);
    // the prompt of a line counts once
    CHECK_EQ(world_redis(&w, "HGET " CELL "k:key_a:u tok"), s.tokens + 2 * 3);
    fakes_output(&w, "batch_1");
    volunteers_leave(&w, f);
    world_release(&w);
}

// It expires, or is cancelled, while some choices are final.
static void ended_between(bool expires)
{
    struct world w;
    struct fake f[2];
    struct waited done = {0};
    struct took t;
    struct sched_batch_files files = {.results = "all"};
    struct sched_batch b;
    struct seen s;

    world_init(&w, one_at_a_time);
    batch_make(&w, 2);
    volunteers(&w, f);
    some_final(&w);
    volunteers_leave(&w, f);
    if (expires)
        world_redis(&w, "ZADD " CELL "expiring 5 batch_1");
    else
        CHECK_EQ(world_wait(&w,
                            sched_batch_cancel(w.store, "batch_1", "key_a",
                                               on_waited, &done),
                            &done),
                 ERR_OK);
    world_run(&w, 1200); // a sweep drops its sequences
    b = show(&w);
    s = results(&w);
    CHECK(b.queued + b.running + b.checking == 0 && !s.several);
    CHECK_EQ(s.n, b.completed + b.failed);
    CHECK(expires ? s.n == 2 && s.n_errors >= 1 : s.n_errors == 0 && s.n < 2);
    CHECK_EQ(s.n_errors, b.failed);
    CHECK_EQ(world_redis(&w, "HGET " CELL "k:key_a:u open"),
             2 - (long long)s.n);
    t = world_take(&w, SCHED_JOB_OUTPUT);
    CHECK_EQ(t.err, ERR_OK);
    CHECK_EQ(world_wait(&w,
                        sched_batch_output(w.store, &t.job, &files, "evt_1",
                                           on_waited, &done),
                        &done),
             ERR_OK);
    CHECK_EQ(show(&w).status, expires ? SCHED_EXPIRED : SCHED_CANCELLED);
    CHECK_EQ(world_redis(&w, "EXISTS " CELL "b:batch_1:g"), 0);
    CHECK_EQ(world_redis(&w, "HGET " CELL "k:key_a:u open"), 0);
    world_release(&w);
}

int main(void)
{
    choices_become_one_result();
    ended_between(true);
    ended_between(false);
    return 0;
}
