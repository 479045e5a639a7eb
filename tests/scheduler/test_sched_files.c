// Files of keys, batches that end early (cancelled or expired), and requests
// that someone waits for.
#include <stdio.h>
#include <string.h>

#include "fake.h"
#include "scheduler/ask.h"
#include "scheduler/file.h"
#include "world.h"

#define CELL                   "syn:{0}:"
#define WAIT(call)             CHECK_EQ(world_wait(&w, call, &done), ERR_OK)
#define WAIT_ERR(call, expect) CHECK_EQ(world_wait(&w, call, &done), expect)

struct found {
    bool done, more;
    enum err err;
    size_t n;
    char ids[8][64], paths[8][64];
    struct sched_file file; // numbers only
};

static void on_files(enum err err, const struct sched_file *files, size_t n,
                     bool more, void *ctx)
{
    struct found *found = ctx;

    found->done = true;
    found->err = err;
    found->more = more;
    found->n = n;
    CHECK(n <= 8);
    for (size_t i = 0; i < n; i++) {
        snprintf(found->ids[i], 64, "%s", files[i].id);
        snprintf(found->paths[i], 64, "%s", files[i].path);
        found->file = files[i];
    }
}

static void on_file(enum err err, const struct sched_file *file, void *ctx)
{
    on_files(err, file, err ? 0 : 1, false, ctx);
}

static struct found get(struct world *w, const char *id, const char *key)
{
    struct found found = {0};

    CHECK_EQ(sched_file_get(w->store, id, key, on_file, &found), ERR_OK);
    world_until(w, &found.done);
    return found;
}

static struct found list(struct world *w, const char *after, uint32_t limit,
                         const char *purpose, bool oldest_first)
{
    struct sched_file_query query = {"key_a", after, purpose, limit,
                                     oldest_first};
    struct found found = {0};

    CHECK_EQ(sched_file_list(w->store, &query, on_files, &found), ERR_OK);
    world_until(w, &found.done);
    return found;
}

static struct found expired(struct world *w)
{
    struct found found = {0};

    CHECK_EQ(sched_file_expired(w->store, on_files, &found), ERR_OK);
    world_until(w, &found.done);
    return found;
}

static struct sched_file_new file_new(const char *id)
{
    return (struct sched_file_new){.id = id,
                                   .key = "key_a",
                                   .path = id,
                                   .name = "in.jsonl",
                                   .purpose = "batch",
                                   .bytes = 100,
                                   .lines = 3,
                                   .stored_max = 350};
}

static void files_are_kept_listed_and_forgotten(void)
{
    struct world w;
    struct waited done = {0};
    struct sched_file_new file = file_new("file-1");
    struct found f;

    world_init(&w, NULL);
    WAIT(sched_file_create(w.store, &file, on_waited, &done));
    WAIT(sched_file_create(w.store, &file, on_waited, &done)); // a repeat
    CHECK_EQ(world_redis(&w, "HGET " CELL "k:key_a stored"), 100);
    f = get(&w, "file-1", "key_a");
    CHECK(f.n == 1 && f.file.bytes == 100 && f.file.lines == 3);
    CHECK_EQ(f.file.expires_ms - f.file.created_ms, w.policy.keep_ms);
    CHECK_EQ(get(&w, "file-1", "key_b").err, ERR_NOT_FOUND);
    CHECK_EQ(get(&w, "file-2", "key_a").err, ERR_NOT_FOUND);

    world_run(&w, 5);
    file = file_new("file-2");
    file.purpose = "batch_output";
    file.keep_ms = 3600000;
    WAIT(sched_file_create(w.store, &file, on_waited, &done));
    f = get(&w, "file-2", "key_a");
    CHECK_EQ(f.file.expires_ms - f.file.created_ms, 3600000);
    world_run(&w, 5);
    file = file_new("file-3");
    WAIT(sched_file_create(w.store, &file, on_waited, &done));
    file = file_new("file-4");
    WAIT_ERR(sched_file_create(w.store, &file, on_waited, &done), ERR_FULL);

    f = list(&w, "", 2, "", false);
    CHECK(f.n == 2 && f.more && strcmp(f.ids[0], "file-3") == 0);
    f = list(&w, f.ids[1], 2, "", false);
    CHECK(f.n == 1 && !f.more && strcmp(f.ids[0], "file-1") == 0);
    f = list(&w, "", 8, "", true);
    CHECK(f.n == 3 && !f.more && strcmp(f.ids[0], "file-1") == 0);
    f = list(&w, "", 1, "batch", true);
    CHECK(f.n == 1 && f.more && strcmp(f.ids[0], "file-1") == 0);
    f = list(&w, "", 8, "batch_output", false);
    CHECK(f.n == 1 && !f.more && strcmp(f.ids[0], "file-2") == 0);
    CHECK_EQ(list(&w, "file-9", 8, "", false).err, ERR_NOT_FOUND);

    // its time passes: it is not shown, and whoever removes it is told
    CHECK_EQ(expired(&w).n, 0);
    world_redis(&w, "HSET " CELL "f:file-1 exp 5");
    world_redis(&w, "ZADD " CELL "fexp 5 file-1");
    CHECK_EQ(get(&w, "file-1", "key_a").err, ERR_NOT_FOUND);
    CHECK_EQ(list(&w, "", 8, "", false).n, 2);
    f = expired(&w);
    CHECK(f.n == 1 && strcmp(f.ids[0], "file-1") == 0 &&
          strcmp(f.paths[0], "file-1") == 0);
    WAIT(sched_file_delete(w.store, "file-1", NULL, on_waited, &done));
    WAIT_ERR(sched_file_delete(w.store, "file-2", "key_b", on_waited, &done),
             ERR_NOT_FOUND);
    WAIT(sched_file_delete(w.store, "file-2", "key_a", on_waited, &done));
    WAIT(sched_file_delete(w.store, "file-3", "key_a", on_waited, &done));
    WAIT_ERR(sched_file_delete(w.store, "file-3", NULL, on_waited, &done),
             ERR_NOT_FOUND);
    CHECK_EQ(world_redis(&w, "EXISTS " CELL "k:key_a"), 0);
    CHECK_EQ(world_redis(&w, "EXISTS " CELL "k:key_a:f"), 0);
    CHECK_EQ(world_redis(&w, "EXISTS " CELL "fexp"), 0);
    world_release(&w);
}

struct shown {
    bool done;
    enum err err;
    struct sched_batch b;
    char output[64], error[64];
};

static void on_batch(enum err err, const struct sched_batch *b, void *ctx)
{
    struct shown *s = ctx;

    s->done = true;
    s->err = err;
    if (!b)
        return;
    s->b = *b;
    snprintf(s->output, sizeof s->output, "%s", b->output_id);
    snprintf(s->error, sizeof s->error, "%s", b->error_id);
}

static struct shown show(struct world *w, const char *id)
{
    struct shown s = {0};

    CHECK_EQ(sched_batch_get(w->store, id, NULL, on_batch, &s), ERR_OK);
    world_until(w, &s.done);
    return s;
}

struct page {
    bool done;
    enum err err;
    size_t n;
    char errors[8][160];
};

static void on_results(enum err err, const struct sched_result *results,
                       size_t n, uint64_t next, bool more, void *ctx)
{
    struct page *p = ctx;

    (void)next, (void)more;
    p->done = true;
    p->err = err;
    p->n = n;
    for (size_t i = 0; i < n && i < 8; i++)
        snprintf(p->errors[i], sizeof p->errors[i], "%.*s",
                 (int)results[i].error.len, (const char *)results[i].error.ptr);
}

static struct page results(struct world *w, const char *id)
{
    struct page p = {0};

    CHECK_EQ(sched_batch_results(w->store, id, NULL, 0, 8, on_results, &p),
             ERR_OK);
    world_until(w, &p.done);
    return p;
}

static enum err output(struct world *w, const char *id)
{
    struct sched_batch_files files = {
        .results = "all",
        .output = {.id = "file-out", .path = "good", .bytes = 1, .lines = 1},
        .error = {.id = "file-err", .path = "bad", .bytes = 1, .lines = 1}};
    struct waited done = {0};
    struct took t = world_take(w, SCHED_JOB_OUTPUT);

    CHECK_EQ(t.err, ERR_OK);
    CHECK(strcmp(t.job.batch, id) == 0);
    return world_wait(
        w,
        sched_batch_output(w->store, &t.job, &files, "evt_1", on_waited, &done),
        &done);
}

static void a_cancelled_batch_keeps_what_is_final(void)
{
    struct world w;
    struct waited done = {0};
    struct shown s;

    world_init(&w, NULL);
    world_batch(&w, "batch_1", 5, false);
    WAIT_ERR(sched_batch_cancel(w.store, "batch_1", "key_x", on_waited, &done),
             ERR_NOT_FOUND);
    CHECK_EQ(show(&w, "batch_1").b.queued, 5);
    for (int i = 0; i < 2; i++) // a repeat changes nothing
        WAIT(sched_batch_cancel(w.store, "batch_1", "key_a", on_waited, &done));
    s = show(&w, "batch_1");
    CHECK_EQ(s.b.status, SCHED_CANCELLING);
    CHECK(s.b.cancelling_ms > 0 && s.b.completed_ms == 0);
    world_run(&w, 1200); // a sweep drops its lines
    CHECK_EQ(show(&w, "batch_1").b.queued, 0);
    CHECK_EQ(results(&w, "batch_1").n, 0);
    CHECK_EQ(output(&w, "batch_1"), ERR_OK);
    s = show(&w, "batch_1");
    CHECK_EQ(s.b.status, SCHED_CANCELLED);
    CHECK(strcmp(s.output, "file-out") == 0);
    WAIT(sched_batch_cancel(w.store, "batch_1", "key_a", on_waited, &done));
    world_release(&w);
}

static void an_expired_batch_turns_the_rest_into_error_lines(void)
{
    struct world w;
    struct waited done = {0};
    struct page p;
    struct shown s;

    world_init(&w, NULL);
    world_batch(&w, "batch_1", 3, false);
    world_redis(&w, "ZADD " CELL "expiring 5 batch_1");
    world_run(&w, 1200);
    s = show(&w, "batch_1");
    CHECK_EQ(s.b.status, SCHED_FINALIZING);
    CHECK(s.b.failed == 3 && s.b.queued == 0 && s.b.total == 3);
    p = results(&w, "batch_1");
    CHECK_EQ(p.n, 3);
    for (size_t i = 0; i < p.n; i++)
        CHECK(strstr(p.errors[i], "\"batch_expired\""));
    CHECK_EQ(output(&w, "batch_1"), ERR_OK);
    CHECK_EQ(show(&w, "batch_1").b.status, SCHED_EXPIRED);
    WAIT_ERR(sched_batch_cancel(w.store, "batch_1", "key_a", on_waited, &done),
             ERR_EXISTS);
    world_release(&w);
}

static void a_batch_may_expire_while_it_is_read_in(void)
{
    struct world w;
    struct waited done = {0};
    struct sched_batch_new batch = {.id = "batch_1",
                                    .key = "key_a",
                                    .model = "",
                                    .endpoint = "/v1/completions",
                                    .window_ms = 1,
                                    .input_file = "in",
                                    .input_id = "file-1",
                                    .n_lines = 1,
                                    .callback_url = "",
                                    .callback_secret = ""};
    uint32_t prompt[] = {3};
    struct sched_line line = {.n_prompt = 1,
                              .prompt = prompt,
                              .max_tokens = 4,
                              .sampling = {.top_p_q16 = 65536}};
    struct took t;

    world_init(&w, NULL);
    memcpy(line.model, w.model.id, sizeof line.model);
    WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
    t = world_take(&w, SCHED_JOB_INGEST);
    // no lines yet: the lease is longer, and nothing else changes
    WAIT(sched_batch_add(w.store, &t.job, NULL, 0, 0, 60000, on_waited, &done));
    world_run(&w, 1200);
    CHECK_EQ(show(&w, "batch_1").b.status, SCHED_FINALIZING);
    CHECK_EQ(world_take(&w, SCHED_JOB_OUTPUT).err, ERR_NOT_FOUND);
    WAIT(
        sched_batch_add(w.store, &t.job, &line, 1, 9, 60000, on_waited, &done));
    CHECK_EQ(show(&w, "batch_1").b.failed, 1);
    t.job.cursor = 9;
    WAIT(sched_batch_lines_done(w.store, &t.job, on_waited, &done));
    CHECK_EQ(output(&w, "batch_1"), ERR_OK);
    CHECK_EQ(show(&w, "batch_1").b.status, SCHED_EXPIRED);
    world_release(&w);
}

struct looked {
    bool done;
    enum err err;
    size_t n_lines, n_open, n_final;
    uint32_t n_tokens; // of all, final or not
};

static void on_look(enum err err, const struct sched_ask *ask, void *ctx)
{
    struct looked *looked = ctx;

    looked->done = true;
    looked->err = err;
    if (!ask)
        return;
    looked->n_lines = ask->n_lines;
    looked->n_open = ask->n_open;
    looked->n_final = ask->n_final;
    for (size_t i = 0; i < ask->n_open; i++)
        looked->n_tokens += ask->lines[i].n_tokens;
    for (size_t i = 0; i < ask->n_final; i++)
        looked->n_tokens += ask->results[i].n_tokens;
}

static struct looked look(struct world *w, const char *id, int64_t ttl_ms)
{
    struct looked looked = {0};

    CHECK_EQ(sched_ask_look(w->store, id, ttl_ms, on_look, &looked), ERR_OK);
    world_until(w, &looked.done);
    return looked;
}

// A request that someone waits for, as long as it can get.
static enum err ask(struct world *w, const char *id, size_t n, int64_t ttl_ms)
{
    uint32_t prompt[MODEL_CONTEXT];
    struct sched_line lines[3] = {0};
    struct waited done = {0};

    for (uint32_t i = 0; i < n; i++) {
        lines[i].number = i;
        lines[i].n_prompt = world_prompt(1, prompt);
        lines[i].prompt = prompt;
        lines[i].max_tokens = 3;
        lines[i].sampling.top_p_q16 = 65536;
        memcpy(lines[i].model, w->model.id, sizeof lines[i].model);
    }
    return world_wait(w,
                      sched_ask_create(w->store, id, "key_a", lines, n, ttl_ms,
                                       on_waited, &done),
                      &done);
}

static void a_request_goes_ahead_of_batches_and_leaves_nothing(void)
{
    struct world w;
    struct fake a, b;
    struct looked l;
    struct waited done = {0};

    world_init(&w, NULL);
    world_batch(&w, "batch_1", 40, false);
    for (int i = 0; i < 2; i++) // a repeat changes nothing
        CHECK_EQ(ask(&w, "ask_1", 2, 60000), ERR_OK);
    l = look(&w, "ask_1", 0);
    CHECK(l.n_lines == 2 && l.n_open == 2 && l.n_final == 0);
    CHECK_EQ(look(&w, "ask_2", 0).err, ERR_NOT_FOUND);
    CHECK_EQ(look(&w, "batch_1", 0).err, ERR_NOT_FOUND);
    fake_join(&a, &w, 1, 1, false);
    fake_join(&b, &w, 2, 2, false);
    fake_go(&a);
    fake_go(&b);
    while (look(&w, "ask_1", 60000).n_final < 2)
        world_run(&w, 5);
    CHECK(show(&w, "batch_1").b.completed < 40);
    CHECK_EQ(look(&w, "ask_1", 0).n_open, 0);
    CHECK(look(&w, "ask_1", 0).n_tokens >= 2);
    for (int i = 0; i < 2; i++)
        WAIT(sched_ask_end(w.store, "ask_1", on_waited, &done));
    CHECK_EQ(look(&w, "ask_1", 0).err, ERR_NOT_FOUND);
    WAIT(sched_ask_end(w.store, "batch_1", on_waited, &done)); // none of those
    CHECK_EQ(show(&w, "batch_1").err, ERR_OK);

    // nobody looks any more: its lease passes
    CHECK_EQ(ask(&w, "ask_2", 1, 1), ERR_OK);
    world_run(&w, 1200);
    CHECK_EQ(look(&w, "ask_2", 0).err, ERR_NOT_FOUND);
    fake_release(&a);
    fake_release(&b);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

int main(void)
{
    a_request_goes_ahead_of_batches_and_leaves_nothing();
    files_are_kept_listed_and_forgotten();
    a_cancelled_batch_keeps_what_is_final();
    an_expired_batch_turns_the_rest_into_error_lines();
    a_batch_may_expire_while_it_is_read_in();
    return 0;
}
