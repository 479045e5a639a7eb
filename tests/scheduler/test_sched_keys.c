// API keys: found until revoked; their quotas.
#include <string.h>

#include "fake.h"
#include "scheduler/ask.h"
#include "scheduler/file.h"

#define CELL                   "syn:{0}:"
#define WAIT(call)             CHECK_EQ(world_wait(&w, call, &done), ERR_OK)
#define WAIT_ERR(call, expect) CHECK_EQ(world_wait(&w, call, &done), expect)

static const struct sched_rights all = {SCHED_SCOPES, SCHED_PRIORITY, 0, 0, 0};

struct found {
    bool done;
    enum err err;
    size_t n;
    char id[64], name[64];
    int64_t revoked_ms;
};

static void on_key(enum err err, const struct sched_key *k, void *ctx)
{
    struct found *f = ctx;

    *f = (struct found){true, err, 0, "", "", 0};
    if (k) {
        snprintf(f->id, sizeof f->id, "%s", k->id);
        snprintf(f->name, sizeof f->name, "%s", k->name);
    }
}

static void on_keys(enum err err, const struct sched_key *k, size_t n,
                    void *ctx)
{
    struct found *f = ctx;

    *f = (struct found){true, err, n, "", "", n ? k[0].revoked_ms : 0};
}

static void keys_are_found_until_revoked(void)
{
    struct world w;
    struct waited done = {0};
    struct found f = {0};
    const uint8_t h1[32] = {1}, h2[32] = {2};

    world_init(&w, NULL);
    WAIT(sched_key_create(w.store, "key_1", h1, "first", "abcd", &all,
                          on_waited, &done));
    WAIT_ERR(
        sched_key_create(w.store, "key_1", h2, "", "", &all, on_waited, &done),
        ERR_EXISTS);
    WAIT_ERR(
        sched_key_create(w.store, "key_2", h1, "", "", &all, on_waited, &done),
        ERR_EXISTS);
    WAIT(sched_key_create(w.store, "key_2", h2, "second", "", &all, on_waited,
                          &done));
    CHECK_EQ(sched_key_find(w.store, h1, on_key, &f), ERR_OK);
    world_until(&w, &f.done);
    CHECK(f.err == ERR_OK && strcmp(f.id, "key_1") == 0 &&
          strcmp(f.name, "first") == 0);
    WAIT(sched_key_revoke(w.store, "key_1", on_waited, &done));
    WAIT(sched_key_revoke(w.store, "key_1", on_waited, &done));
    WAIT_ERR(sched_key_revoke(w.store, "key_3", on_waited, &done),
             ERR_NOT_FOUND);
    f.done = false;
    CHECK_EQ(sched_key_find(w.store, h1, on_key, &f), ERR_OK);
    world_until(&w, &f.done);
    CHECK_EQ(f.err, ERR_NOT_FOUND);
    f.done = false;
    CHECK_EQ(sched_key_list(w.store, on_keys, &f), ERR_OK);
    world_until(&w, &f.done);
    CHECK(f.n == 2 && f.revoked_ms > 0);
    world_release(&w);
}

struct seen {
    bool done;
    enum err err;
    struct sched_key k; // numbers only
};

static void on_seen(enum err err, const struct sched_key *k, void *ctx)
{
    struct seen *seen = ctx;

    seen->done = true;
    seen->err = err;
    if (k)
        seen->k = *k;
}

static struct sched_key see(struct world *w, const char *id)
{
    struct seen seen = {0};

    CHECK_EQ(sched_key_get(w->store, id, on_seen, &seen), ERR_OK);
    world_until(w, &seen.done);
    CHECK_EQ(seen.err, ERR_OK);
    return seen.k;
}

static struct sched_batch_new batch_new(const char *id, uint64_t bytes)
{
    return (struct sched_batch_new){.id = id,
                                    .key = "key_a",
                                    .model = "toy",
                                    .endpoint = "",
                                    .window_ms = 60000,
                                    .input_file = "in",
                                    .input_id = id,
                                    .input_bytes = bytes,
                                    .n_lines = 6,
                                    .callback_url = "",
                                    .callback_secret = "",
                                    .stored_max = 5000};
}

static void key_make(struct world *w, const struct sched_rights *rights)
{
    const uint8_t hash[32] = {7};
    struct waited done = {0};

    CHECK_EQ(world_wait(w,
                        sched_key_create(w->store, "key_a", hash, "", "",
                                         rights, on_waited, &done),
                        &done),
             ERR_OK);
}

static void rights_are_kept_and_older_keys_have_all(void)
{
    const struct sched_rights some = {SCHED_READ, 3, 10, 20, 30};
    const struct sched_rights bad[] = {
        {8, 1, 0, 0, 0}, {1, 0, 0, 0, 0}, {1, SCHED_PRIORITY_MAX + 1, 0, 0, 0}};
    const uint8_t hash[32] = {1};
    struct waited done = {0};
    struct world w;
    struct sched_key k;

    world_init(&w, NULL);
    for (size_t i = 0; i < 3; i++)
        CHECK_EQ(sched_key_create(w.store, "key_b", hash, "", "", &bad[i],
                                  on_waited, &done),
                 ERR_RANGE);
    key_make(&w, &some);
    k = see(&w, "key_a");
    CHECK(k.rights.scopes == SCHED_READ && k.rights.priority == 3);
    CHECK(k.rights.requests == 10 && k.rights.bytes == 20 &&
          k.rights.tokens == 30);
    CHECK(k.day_ms > 0 && k.day_ms <= 86400000);
    world_redis(&w, "HDEL " CELL "k:key_a sc prio q_req q_bytes q_tok");
    k = see(&w, "key_a");
    CHECK(k.rights.scopes == SCHED_SCOPES && k.rights.priority == 10);
    CHECK(!k.rights.requests && !k.rights.bytes && !k.rights.tokens);
    world_release(&w);
}

static void stored_bytes_have_a_quota_before_the_cap(void)
{
    struct sched_rights rights = all;
    struct waited done = {0};
    struct sched_batch_new batch = batch_new("batch_1", 300);
    struct sched_file_new file = {"file-1", "key_a", "p", "n",    "batch",
                                  201,      1,       0,   1 << 20};
    struct world w;

    rights.bytes = 500;
    world_init(&w, NULL);
    key_make(&w, &rights);
    WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
    WAIT_ERR(sched_file_create(w.store, &file, on_waited, &done), ERR_FULL);
    CHECK(see(&w, "key_a").bytes_ms > 0);
    file.bytes = 200;
    WAIT(sched_file_create(w.store, &file, on_waited, &done));
    CHECK_EQ(see(&w, "key_a").bytes, 500);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

static enum err ask(struct world *w, const char *id)
{
    uint32_t prompt[MODEL_CONTEXT];
    struct sched_line line = {
        .prompt = prompt, .max_tokens = 3, .sampling = {.top_p_q16 = 65536}};
    struct waited done = {0};

    line.n_prompt = world_prompt(1, prompt);
    memcpy(line.model, w->model.id, sizeof line.model);
    return world_wait(w,
                      sched_ask_create(w->store, id, "key_a", &line, 1, 60000,
                                       on_waited, &done),
                      &done);
}

// Write the output of the one batch that is due.
static void output_write(struct world *w)
{
    struct sched_batch_files files = {.results = "out", .results_bytes = 9};
    struct waited done = {0};
    struct took t = world_take(w, SCHED_JOB_OUTPUT);

    CHECK_EQ(t.err, ERR_OK);
    CHECK_EQ(world_wait(w,
                        sched_batch_output(w->store, &t.job, &files, "evt_1",
                                           on_waited, &done),
                        &done),
             ERR_OK);
}

static void open_requests_have_a_quota(void)
{
    struct sched_rights rights = all;
    struct waited done = {0};
    struct sched_batch_new batch;
    struct fake f[2];
    struct world w;

    rights.requests = 11;
    world_init(&w, NULL);
    key_make(&w, &rights);
    world_batch(&w, "batch_1", 6, false);
    CHECK_EQ(see(&w, "key_a").requests, 6);
    batch = batch_new("batch_2", 10);
    WAIT_ERR(sched_batch_create(w.store, &batch, on_waited, &done), ERR_FULL);
    batch.n_lines = 4;
    for (int i = 0; i < 2; i++) // a repeat counts once
        WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
    CHECK_EQ(ask(&w, "ask_1"), ERR_OK);
    CHECK_EQ(ask(&w, "ask_2"), ERR_FULL);
    CHECK_EQ(see(&w, "key_a").requests, 11);
    WAIT(sched_ask_end(w.store, "ask_1", on_waited, &done));
    CHECK_EQ(see(&w, "key_a").requests, 10);
    WAIT(sched_batch_cancel(w.store, "batch_2", "key_a", on_waited, &done));
    for (int i = 0; i < 2; i++) {
        fake_join(&f[i], &w, i, (uint8_t)i, false);
        fake_go(&f[i]);
    }
    fakes_until_final(&w, "batch_1", 5000);
    CHECK_EQ(see(&w, "key_a").requests, 4); // of batch_2
    world_run(&w, 1200); // a sweep drops the lines of the cancelled one
    for (int i = 0; i < 2; i++)
        output_write(&w);
    CHECK_EQ(see(&w, "key_a").requests, 0);
    for (int i = 0; i < 2; i++)
        fake_release(&f[i]);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

static void tokens_of_a_day_have_a_quota(void)
{
    struct sched_rights rights = all;
    struct waited done = {0};
    struct sched_batch_new batch = batch_new("batch_2", 10);
    struct fake f[2];
    struct world w;
    uint64_t used;

    rights.tokens = 10;
    world_init(&w, NULL);
    key_make(&w, &rights);
    world_batch(&w, "batch_1", 20, false);
    for (int i = 0; i < 2; i++) {
        fake_join(&f[i], &w, i, (uint8_t)i, false);
        fake_go(&f[i]);
    }
    fakes_until_final(&w, "batch_1", 5000);
    used = see(&w, "key_a").tokens;
    CHECK_EQ(used, world_redis(&w, "HGET " CELL "b:batch_1 tok") + 20 / 9 * 45 +
                       1 + 2); // and the prompts
    WAIT_ERR(sched_batch_create(w.store, &batch, on_waited, &done), ERR_FULL);
    CHECK_EQ(ask(&w, "ask_1"), ERR_FULL);
    world_redis(&w, "HINCRBY " CELL "k:key_a:u day -1"); // the next day
    CHECK_EQ(see(&w, "key_a").tokens, 0);
    WAIT(sched_batch_create(w.store, &batch, on_waited, &done));
    for (int i = 0; i < 2; i++)
        fake_release(&f[i]);
    world_redis(&w, "FLUSHALL");
    world_release(&w);
}

int main(void)
{
    keys_are_found_until_revoked();
    rights_are_kept_and_older_keys_have_all();
    stored_bytes_have_a_quota_before_the_cap();
    open_requests_have_a_quota();
    tokens_of_a_day_have_a_quota();
    return 0;
}
