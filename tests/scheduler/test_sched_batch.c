// Batches, jobs, results, callbacks and keys: their life, and what a crash in
// the middle leaves.
#include "fake.h"

#include <string.h>

#define CELL                "syn:{0}:"
#define WAIT(call)          CHECK_EQ(world_wait(&w, call, &done), ERR_OK)
#define WAIT_ERR(call, err) CHECK_EQ(world_wait(&w, call, &done), err)

// A batch as it was shown, with copies of the texts of interest.
struct shown {
    bool done;
    enum err err;
    struct sched_batch b;
    char error_code[64], waiting[32], event[64], output[64];
    char error_file[64];
};

static void on_batch(enum err err, const struct sched_batch *b, void *ctx)
{
    struct shown *s = ctx;

    s->done = true;
    s->err = err;
    if (!b)
        return;
    s->b = *b;
    snprintf(s->error_code, sizeof s->error_code, "%s", b->error_code);
    snprintf(s->waiting, sizeof s->waiting, "%s", b->waiting);
    snprintf(s->event, sizeof s->event, "%s", b->callback_event);
    snprintf(s->output, sizeof s->output, "%s", b->output_file);
    snprintf(s->error_file, sizeof s->error_file, "%s", b->error_id);
}

static struct shown show(struct world *w, const char *id, const char *key)
{
    struct shown s = {0};

    CHECK_EQ(sched_batch_get(w->store, id, key, on_batch, &s), ERR_OK);
    world_until(w, &s.done);
    return s;
}

static struct sched_batch_new batch_new(const char *id, uint64_t n)
{
    return (struct sched_batch_new){.id = id,
                                    .key = "key_a",
                                    .model = "toy",
                                    .input_file = "in",
                                    .endpoint = "/v1/completions",
                                    .window_ms = 86400000,
                                    .input_id = id,
                                    .input_bytes = 1000,
                                    .n_lines = n,
                                    .callback_url = "https://example.org/cb",
                                    .callback_secret = "whsec_x",
                                    .callback_endpoint = "example.org:443",
                                    .metadata = {(const uint8_t *)"{}", 2},
                                    .stored_max = 2500};
}

static const uint32_t prompt[] = {3, 1, 4};

static struct sched_line line_new(const struct world *w, uint64_t number)
{
    struct sched_line line = {.number = number,
                              .custom_id = {(const uint8_t *)"id", 2},
                              .n_prompt = 3,
                              .prompt = prompt,
                              .max_tokens = 4,
                              .sampling = {.top_p_q16 = 65536}};

    memcpy(line.model, w->model.id, sizeof line.model);
    return line;
}

static void ingestion_resumes_at_its_cursor(void)
{
    struct world w;
    struct waited done = {0};
    struct sched_batch_new batch = batch_new("batch_1", 5);
    struct sched_line lines[5];
    struct took first, second;

    world_init(&w, NULL);
    for (uint32_t i = 0; i < 5; i++)
        lines[i] = line_new(&w, i);
    CHECK_EQ(world_take(&w, SCHED_JOB_INGEST).err, ERR_NOT_FOUND);
    for (int i = 0; i < 3; i++) // repeats change nothing
        WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
    CHECK_EQ(world_redis(&w, "HGET " CELL "k:key_a stored"), 1000);
    CHECK_EQ(show(&w, "batch_1", "key_a").b.status, SCHED_VALIDATING);

    first = world_take(&w, SCHED_JOB_INGEST);
    CHECK_EQ(first.err, ERR_OK);
    CHECK_EQ(first.job.cursor, 0);
    CHECK_EQ(first.job.taken, 1);
    CHECK_EQ(world_take(&w, SCHED_JOB_INGEST).err,
             ERR_NOT_FOUND);    // it is leased
    for (int i = 0; i < 2; i++) // the repeat of a step adds nothing
        WAIT(sched_batch_add(w.store, &first.job, lines, 2, 77, 60000,
                             on_waited, &done));
    CHECK_EQ(show(&w, "batch_1", NULL).b.ingested, 2);
    CHECK_EQ(show(&w, "batch_1", NULL).b.queued, 2);
    CHECK_EQ(show(&w, "batch_1", NULL).b.status, SCHED_IN_PROGRESS);

    // whoever held it is gone, and its lease passes
    world_redis(&w, "ZADD " CELL "j:ingest 1 batch_1");
    second = world_take(&w, SCHED_JOB_INGEST);
    CHECK_EQ(second.err, ERR_OK);
    CHECK_EQ(second.job.cursor, 77);
    CHECK_EQ(second.job.line, 2);
    CHECK_EQ(second.job.taken, 2);
    first.job.cursor = 77;
    WAIT_ERR(sched_batch_add(w.store, &first.job, lines + 2, 1, 99, 60000,
                             on_waited, &done),
             ERR_GONE);
    WAIT_ERR(sched_batch_lines_done(w.store, &first.job, on_waited, &done),
             ERR_GONE);
    WAIT_ERR(sched_job_give_back(w.store, &first.job, 0, on_waited, &done),
             ERR_GONE);
    WAIT(sched_job_give_back(w.store, &second.job, 0, on_waited, &done));
    second = world_take(&w, SCHED_JOB_INGEST);
    WAIT(sched_batch_add(w.store, &second.job, lines + 2, 3, 200, 60000,
                         on_waited, &done));
    WAIT(sched_batch_lines_done(w.store, &second.job, on_waited, &done));
    WAIT(sched_batch_lines_done(w.store, &second.job, on_waited, &done));
    CHECK_EQ(show(&w, "batch_1", NULL).b.ingested, 5);
    CHECK_EQ(show(&w, "batch_1", NULL).b.queued, 5);
    CHECK(strcmp(show(&w, "batch_1", NULL).waiting, "volunteers") == 0);
    CHECK_EQ(world_take(&w, SCHED_JOB_INGEST).err, ERR_NOT_FOUND);

    // the cap of the key, and other people's batches
    struct sched_batch_new more = batch_new("batch_2", 1);
    WAIT(sched_batch_create(w.store, &more, on_waited, &done));
    more.id = "batch_3";
    WAIT_ERR(sched_batch_create(w.store, &more, on_waited, &done), ERR_FULL);
    CHECK_EQ(show(&w, "batch_3", NULL).err, ERR_NOT_FOUND);
    CHECK_EQ(show(&w, "batch_1", "key_b").err, ERR_NOT_FOUND);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

static void lines_past_their_limits_are_refused(void)
{
    struct world w;
    struct waited done = {0};
    struct sched_batch_new batch = batch_new("batch_1", 5);
    static uint32_t long_prompt[MODEL_CONTEXT];
    struct sched_line bad;
    struct took t;

    world_init(&w, NULL);
    WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
    t = world_take(&w, SCHED_JOB_INGEST);
#define REFUSED(field, value)                                        \
    do {                                                             \
        bad = line_new(&w, 0);                                       \
        bad.field = value;                                           \
        WAIT_ERR(sched_batch_add(w.store, &t.job, &bad, 1, 5, 60000, \
                                 on_waited, &done),                  \
                 ERR_RANGE);                                         \
    } while (0)
    REFUSED(n_prompt, 0);
    REFUSED(max_tokens, 0);
    REFUSED(custom_id.len, SCHED_CUSTOM_ID_MAX + 1);
    REFUSED(n_stop, SYN1_STOP_MAX + 1);
    REFUSED(n_bias, SYN1_BIAS_MAX + 1);
    REFUSED(sampling.top_p_q16, 0);
    REFUSED(model[3], 99); // unknown
    bad = line_new(&w, 0);
    bad.prompt = long_prompt;
    bad.n_prompt = MODEL_CONTEXT; // no room for an answer
    WAIT_ERR(
        sched_batch_add(w.store, &t.job, &bad, 1, 5, 60000, on_waited, &done),
        ERR_RANGE);
    CHECK_EQ(show(&w, "batch_1", NULL).b.ingested, 0);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

struct page {
    bool done;
    enum err err;
    size_t n;
    uint64_t next, number;
    bool more;
    char error[32];
};

static void on_page(enum err err, const struct sched_result *r, size_t n,
                    uint64_t next, bool more, void *ctx)
{
    struct page *p = ctx;

    *p = (struct page){true, err, n, next, n ? r[0].number : 0, more, ""};
    if (n)
        memcpy(p->error, r[0].error.ptr, r[0].error.len);
}

static struct page results(struct world *w, const char *id, const char *key,
                           uint64_t after, uint32_t limit)
{
    struct page p = {0};

    CHECK_EQ(sched_batch_results(w->store, id, key, after, limit, on_page, &p),
             ERR_OK);
    world_until(w, &p.done);
    return p;
}

struct event {
    bool done;
    enum err err;
    char id[64], type[64], batch[64], url[64], secret[64];
    uint32_t attempts;
    uint8_t lease[SCHED_LEASE_LEN];
};

static void on_event(enum err err, const struct sched_callback *e, void *ctx)
{
    struct event *event = ctx;

    event->done = true;
    event->err = err;
    if (!e)
        return;
    snprintf(event->id, sizeof event->id, "%s", e->id);
    snprintf(event->type, sizeof event->type, "%s", e->type);
    snprintf(event->batch, sizeof event->batch, "%s", e->batch);
    snprintf(event->url, sizeof event->url, "%s", e->url);
    snprintf(event->secret, sizeof event->secret, "%s", e->secret);
    event->attempts = e->attempts;
    memcpy(event->lease, e->lease, sizeof event->lease);
}

static struct event take_event(struct world *w)
{
    struct event e = {0};

    CHECK_EQ(sched_callback_take(w->store, 60000, on_event, &e), ERR_OK);
    world_until(w, &e.done);
    return e;
}

// Two error lines: the whole life without a volunteer.
static void from_error_lines_to_the_callback(void)
{
    struct world w;
    struct waited done = {0};
    struct sched_batch_new batch = batch_new("batch_1", 2);
    struct sched_line bad[2] = {
        {.number = 0, .error = {(const uint8_t *)"zero", 4}},
        {.number = 1, .error = {(const uint8_t *)"one", 3}}};
    struct sched_batch_files files = {
        .results = "out",
        .results_bytes = 5,
        .error = {.id = "file-err", .path = "out", .bytes = 5, .lines = 2}};
    struct sched_callback_try down = {503, 50, 7, "down"},
                              good = {200, 0, 9, ""};
    struct took t, again;
    struct page p;
    struct event e;
    struct shown s;

    world_init(&w, NULL);
    WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
    t = world_take(&w, SCHED_JOB_INGEST);
    WAIT(sched_batch_add(w.store, &t.job, bad, 2, 9, 60000, on_waited, &done));
    CHECK_EQ(world_take(&w, SCHED_JOB_OUTPUT).err,
             ERR_NOT_FOUND); // more may come
    p = results(&w, "batch_1", "key_a", 0, 1);
    CHECK(p.n == 1 && p.next == 1 && p.more && strcmp(p.error, "zero") == 0);
    p = results(&w, "batch_1", "key_a", p.next, 10);
    CHECK(p.n == 1 && p.next == 2 && !p.more && strcmp(p.error, "one") == 0);
    CHECK_EQ(p.number, 1);
    p = results(&w, "batch_1", "key_a", 2, 10);
    CHECK(p.n == 0 && p.next == 2 && !p.more);
    CHECK_EQ(results(&w, "batch_1", "key_b", 0, 1).err, ERR_NOT_FOUND);
    WAIT(sched_batch_lines_done(w.store, &t.job, on_waited, &done));
    s = show(&w, "batch_1", "key_a");
    CHECK_EQ(s.b.status, SCHED_FINALIZING);
    CHECK(s.b.failed == 2 && s.b.completed == 0 && s.b.total == 2);

    t = world_take(&w, SCHED_JOB_OUTPUT);
    CHECK_EQ(t.err, ERR_OK);
    world_redis(&w, "ZADD " CELL "j:output 1 batch_1"); // its holder crashed
    again = world_take(&w, SCHED_JOB_OUTPUT);
    WAIT_ERR(
        sched_batch_output(w.store, &t.job, &files, "evt_1", on_waited, &done),
        ERR_GONE);
    WAIT(sched_batch_output(w.store, &again.job, &files, "evt_2", on_waited,
                            &done));
    WAIT(sched_batch_output(w.store, &again.job, &files, "evt_3", on_waited,
                            &done));
    s = show(&w, "batch_1", "key_a");
    CHECK_EQ(s.b.status, SCHED_COMPLETED);
    CHECK(strcmp(s.output, "out") == 0 && strcmp(s.event, "evt_2") == 0);
    CHECK(s.b.completed_ms >= s.b.finalizing_ms && s.b.finalizing_ms > 0);
    CHECK_EQ(results(&w, "batch_1", "key_a", 0, 1).err, ERR_GONE);
    CHECK_EQ(world_redis(&w, "HGET " CELL "k:key_a stored"), 1005);
    CHECK(strcmp(s.error_file, "file-err") == 0);

    e = take_event(&w);
    CHECK_EQ(e.err, ERR_OK);
    CHECK(strcmp(e.id, "evt_2") == 0 && strcmp(e.batch, "batch_1") == 0);
    CHECK(strcmp(e.type, "batch.completed") == 0);
    CHECK(strcmp(e.url, "https://example.org/cb") == 0);
    CHECK(strcmp(e.secret, "whsec_x") == 0);
    CHECK_EQ(e.attempts, 0);
    CHECK_EQ(take_event(&w).err, ERR_NOT_FOUND); // it is leased
    WAIT(sched_callback_tried(w.store, e.id, e.lease, &down, on_waited, &done));
    WAIT_ERR(
        sched_callback_tried(w.store, e.id, e.lease, &down, on_waited, &done),
        ERR_GONE);
    CHECK_EQ(take_event(&w).err, ERR_NOT_FOUND); // not yet
    world_run(&w, 60);
    e = take_event(&w);
    CHECK_EQ(e.err, ERR_OK);
    CHECK_EQ(e.attempts, 1);
    s = show(&w, "batch_1", NULL);
    CHECK(s.b.callback_attempts == 1 && s.b.callback_status == 503);
    CHECK_EQ(s.b.callback_delivered_ms, 0);
    // the process died without a word: it is taken again
    world_redis(&w, "DEL " CELL "er:example.org:443");
    world_redis(&w, "ZADD " CELL "eq:example.org:443 1 evt_2");
    world_redis(&w, "ZADD " CELL "events 1 example.org:443");
    e = take_event(&w);
    WAIT(sched_callback_tried(w.store, e.id, e.lease, &good, on_waited, &done));
    CHECK_EQ(take_event(&w).err, ERR_NOT_FOUND);
    s = show(&w, "batch_1", NULL);
    CHECK(s.b.callback_attempts == 2 && s.b.callback_status == 200);
    CHECK(s.b.callback_delivered_ms > 0);
    world_release(&w); // and nothing is left without an end
}

static void a_failed_batch_drops_its_lines(void)
{
    struct world w;
    struct fake a;
    struct waited done = {0};
    struct sched_batch_new batch = batch_new("batch_1", 9);
    struct sched_line line;
    struct took t;
    struct shown s;
    struct event e;

    world_init(&w, NULL);
    fake_join(&a, &w, 1, 1, false);
    line = line_new(&w, 0);
    WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
    t = world_take(&w, SCHED_JOB_INGEST);
    WAIT(
        sched_batch_add(w.store, &t.job, &line, 1, 9, 60000, on_waited, &done));
    CHECK_EQ(fake_call(&a, -1, 0), ERR_OK);
    CHECK_EQ(a.reason, SYN1_WORK);
    WAIT(sched_batch_fail(w.store, &t.job, "input_lost", "The file is gone.", 2,
                          on_waited, &done));
    s = show(&w, "batch_1", "key_a");
    CHECK_EQ(s.b.status, SCHED_FAILED);
    CHECK(strcmp(s.error_code, "input_lost") == 0 && s.b.error_line == 2);
    world_run(&w, 80);
    CHECK_EQ(show(&w, "batch_1", NULL).b.running, 0);
    CHECK_EQ(fake_call(&a, 0, 0), ERR_GONE);
    CHECK_EQ(a.reason, SYN1_NO_WORK);
    e = take_event(&w);
    CHECK(strcmp(e.type, "batch.failed") == 0);
    WAIT(sched_callback_tried(
        w.store, e.id, e.lease,
        &(struct sched_callback_try){.retry_ms = -1, .why = "no"}, on_waited,
        &done));
    CHECK_EQ(take_event(&w).err, ERR_NOT_FOUND); // given up
    CHECK_EQ(fake_leave(&a), ERR_OK);
    fake_release(&a);
    world_release(&w);
}

struct listed {
    bool done, more;
    enum err err;
    size_t n;
    char first[64], last[64];
};

static void on_list(enum err err, const struct sched_batch *b, size_t n,
                    bool more, void *ctx)
{
    struct listed *l = ctx;

    *l = (struct listed){true, more, err, n, "", ""};
    if (n) {
        snprintf(l->first, sizeof l->first, "%s", b[0].id);
        snprintf(l->last, sizeof l->last, "%s", b[n - 1].id);
    }
}

static struct listed list(struct world *w, const char *after, uint32_t limit)
{
    struct listed l = {0};

    CHECK_EQ(sched_batch_list(w->store, "key_a", after, limit, on_list, &l),
             ERR_OK);
    world_until(w, &l.done);
    return l;
}

static void batches_are_listed_newest_first(void)
{
    struct world w;
    struct waited done = {0};
    struct listed l;
    char id[16];

    world_init(&w, NULL);
    l = list(&w, "", 5);
    CHECK(l.err == ERR_OK && l.n == 0 && !l.more);
    for (int i = 0; i < 5; i++) {
        struct sched_batch_new batch = batch_new(id, 1);

        batch.stored_max = 0;
        snprintf(id, sizeof id, "batch_%d", i);
        WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
        world_run(&w, 2);
    }
    l = list(&w, "", 3);
    CHECK(l.n == 3 && l.more && strcmp(l.first, "batch_4") == 0);
    l = list(&w, l.last, 3);
    CHECK(l.n == 2 && !l.more && strcmp(l.last, "batch_0") == 0);
    CHECK_EQ(list(&w, "batch_9", 3).err, ERR_NOT_FOUND);
    world_redis(&w, "DEL " CELL "b:batch_3"); // its time has passed
    l = list(&w, "", 2);
    CHECK(l.n == 2 && l.more && strcmp(l.last, "batch_2") == 0);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

// Only so many lines of a batch stand in the queue; reading in goes on when
// most of these are taken.
static void a_long_batch_is_read_in_by_and_by(void)
{
    struct sched_batch_new batch = batch_new("batch_1", 2);
    struct sched_line line;
    struct waited done = {0};
    struct fake f;
    struct world w;
    struct took t;

    world_init(&w, NULL);
    line = line_new(&w, 0);
    WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
    t = world_take(&w, SCHED_JOB_INGEST);
    WAIT(
        sched_batch_add(w.store, &t.job, &line, 1, 9, 60000, on_waited, &done));
    t.job.cursor = 9;
    line.number = 1;
    world_redis(&w, "HINCRBY " CELL "b:batch_1 n_q 8191"); // as if there were
    WAIT_ERR(
        sched_batch_add(w.store, &t.job, &line, 1, 18, 60000, on_waited, &done),
        ERR_FULL);
    WAIT(sched_batch_add(w.store, &t.job, NULL, 0, 9, 60000, on_waited, &done));
    WAIT(sched_job_give_back(w.store, &t.job, 60000, on_waited, &done));
    CHECK_EQ(world_take(&w, SCHED_JOB_INGEST).err, ERR_NOT_FOUND);
    world_redis(&w, "HINCRBY " CELL "b:batch_1 n_q -4095");
    fake_join(&f, &w, 1, 1, false);
    CHECK_EQ(fake_call(&f, -1, 0), ERR_OK); // takes the line
    t = world_take(&w, SCHED_JOB_INGEST);
    CHECK_EQ(t.err, ERR_OK);
    WAIT(sched_batch_add(w.store, &t.job, &line, 1, 18, 60000, on_waited,
                         &done));
    fake_release(&f);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

// Two jobs of a key are out at most: there is always room for another key's.
static void no_key_takes_all_the_readers(void)
{
    struct waited done = {0};
    struct world w;

    world_init(&w, NULL);
    for (int i = 0; i < 4; i++) {
        char id[16];
        struct sched_batch_new batch = batch_new(id, 2);

        snprintf(id, sizeof id, "batch_%d", i);
        batch.stored_max = 0;
        batch.key = i < 3 ? "key_a" : "key_b";
        WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
        world_run(&w, 3);
    }
    CHECK(strcmp(world_take(&w, SCHED_JOB_INGEST).job.batch, "batch_0") == 0);
    CHECK(strcmp(world_take(&w, SCHED_JOB_INGEST).job.batch, "batch_1") == 0);
    CHECK(strcmp(world_take(&w, SCHED_JOB_INGEST).job.batch, "batch_3") == 0);
    CHECK_EQ(world_take(&w, SCHED_JOB_INGEST).err, ERR_NOT_FOUND);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

static void callbacks_back_off_for_three_days(void)
{
    int64_t total = 0;
    uint32_t n = 1;

    for (; sched_callback_delay_ms(n, 0) > 0; n++) {
        CHECK(n == 1 || sched_callback_delay_ms(n, 0) >=
                            sched_callback_delay_ms(n - 1, 0));
        CHECK(sched_callback_delay_ms(n, UINT32_MAX) >
              sched_callback_delay_ms(n, 0));
        CHECK(sched_callback_delay_ms(n, UINT32_MAX) <=
              sched_callback_delay_ms(n, 0) * 11 / 10);
        total += sched_callback_delay_ms(n, 0);
    }
    CHECK_EQ(sched_callback_delay_ms(1, 0), 5000);
    CHECK_EQ(sched_callback_delay_ms(5, 0), 3600000);
    CHECK_EQ(sched_callback_delay_ms(n, 0), -1);
    CHECK(total > INT64_C(70) * 3600000 && total < INT64_C(80) * 3600000);
}

static int jobs_seen;

static void on_job(void *ctx)
{
    (void)ctx;
    jobs_seen++;
}

static void a_new_job_is_told_at_once(void)
{
    struct world w;
    struct waited done = {0};
    struct sched_batch_new batch = batch_new("batch_1", 1);

    world_init(&w, NULL);
    sched_job_watch(w.store, on_job, NULL);
    world_run(&w, 10);
    jobs_seen = 0;
    WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
    world_run(&w, 15);
    CHECK(jobs_seen >= 1);
    sched_job_watch(w.store, NULL, NULL);
    jobs_seen = 0;
    world_run(&w, 50);
    CHECK_EQ(jobs_seen, 0);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

struct seen {
    bool done;
    struct sched_stats s;
    enum sched_doing doing;
};

static void on_stats(enum err err, const struct sched_stats *s, void *ctx)
{
    struct seen *seen = ctx;

    CHECK_EQ(err, ERR_OK);
    seen->s = *s;
    if (s->n_volunteers)
        seen->doing = s->volunteers[0].doing;
    seen->done = true;
}

static struct seen stats(struct world *w)
{
    struct seen s = {0};

    CHECK_EQ(sched_stats_get(w->store, on_stats, &s), ERR_OK);
    world_until(w, &s.done);
    return s;
}

static void statistics_follow_the_work(void)
{
    struct world w;
    struct fake a;
    struct seen s;

    world_init(&w, NULL);
    fake_join(&a, &w, 1, 1, false);
    s = stats(&w);
    CHECK(s.s.online == 1 && s.s.referees == 0 && s.s.n_volunteers == 1);
    CHECK_EQ(s.doing, SCHED_IDLE);
    fake_call_start(&a, -1, 5000);
    world_run(&w, 20);
    CHECK_EQ(stats(&w).doing, SCHED_WAITING);
    world_batch(&w, "batch_1", 2, false);
    world_until(&w, &a.done);
    s = stats(&w);
    CHECK_EQ(s.doing, SCHED_COMPUTING);
    CHECK(s.s.running >= 1 && s.s.units_out == 1);
    CHECK_EQ(s.s.running + s.s.queued, 2);
    while (a.n_held)
        CHECK_EQ(fake_call(&a, 0, 0), ERR_OK);
    s = stats(&w);
    CHECK_EQ(s.s.checking + s.s.queued, 2);
    CHECK(s.s.units >= 1);
    world_run(&w, 1100); // the running second does not count yet
    CHECK(stats(&w).s.tokens_per_s > 0);
    CHECK(strcmp(show(&w, "batch_1", NULL).waiting, "checks") == 0 ||
          stats(&w).s.queued);
    CHECK_EQ(fake_leave(&a), ERR_OK);
    fake_release(&a);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

int main(void)
{
    ingestion_resumes_at_its_cursor();
    lines_past_their_limits_are_refused();
    from_error_lines_to_the_callback();
    a_failed_batch_drops_its_lines();
    batches_are_listed_newest_first();
    a_long_batch_is_read_in_by_and_by();
    no_key_takes_all_the_readers();
    callbacks_back_off_for_three_days();
    a_new_job_is_told_at_once();
    statistics_follow_the_work();
    return 0;
}
