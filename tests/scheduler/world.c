#include "world.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_MS = 30000 };

int64_t world_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static redisContext *client(struct world *w)
{
    for (int i = 0; i < 500; i++) {
        redisContext *c = redisConnectUnix(w->socket);

        if (c && !c->err) {
            redisReply *r = redisCommand(c, "PING");
            bool ready = r && r->type == REDIS_REPLY_STATUS;

            if (r)
                freeReplyObject(r);
            if (ready)
                return c;
        }
        if (c)
            redisFree(c);
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    fprintf(stderr, "redis-server does not answer\n");
    exit(1);
}

void world_redis_start(struct world *w)
{
    w->redis = fork();
    CHECK(w->redis >= 0);
    if (!w->redis) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // a failed test leaves none behind
        CHECK(freopen("/dev/null", "w", stdout));
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket",
               w->socket, "--dir", w->dir, "--save", "", "--appendonly", "yes",
               "--appendfsync", "always", "--maxmemory-policy", "noeviction",
               (char *)NULL);
        _exit(127);
    }
    redisFree(client(w));
}

void world_redis_kill(struct world *w)
{
    kill(w->redis, SIGKILL);
    CHECK_EQ(waitpid(w->redis, NULL, 0), w->redis);
    w->redis = 0;
}

static void on_state(bool up, const char *why, void *ctx)
{
    struct world *w = ctx;

    if (!up && getenv("VERBOSE"))
        fprintf(stderr, "down: %s\n", why);
    w->up = up;
}

static void on_error(const char *text, void *ctx)
{
    (void)ctx;
    fprintf(stderr, "redis: %s\n", text);
    exit(1);
}

struct sched_store *world_store(struct world *w)
{
    struct sched_store *store;
    struct sched_store_options options = {.base = w->base,
                                          .address = w->address,
                                          .policy = &w->policy,
                                          .cut = world_cut,
                                          .on_state = on_state,
                                          .on_error = on_error,
                                          .ctx = w};

    w->up = false;
    CHECK_EQ(sched_store_new(&options, &store), ERR_OK);
    world_until_up(w);
    return store;
}

void world_init(struct world *w, void (*set_policy)(struct sched_policy *p))
{
    struct waited done = {0};

    signal(SIGPIPE, SIG_IGN);
    memset(w, 0, sizeof *w);
    strcpy(w->dir, "/tmp/synapse-test-XXXXXX");
    CHECK(mkdtemp(w->dir));
    snprintf(w->socket, sizeof w->socket, "%s/s", w->dir);
    snprintf(w->address, sizeof w->address, "unix:%s", w->socket);
    world_redis_start(w);
    sched_policy_init(&w->policy);
    w->memory = 1 << 20;
    w->policy.sweep_ms = 20;
    w->policy.retake_ms = 500;
    w->policy.known = 0; // what a test counts is not left to chance
    if (set_policy)
        set_policy(&w->policy);
    w->base = event_base_new();
    CHECK(w->base);
    w->store = world_store(w);
    for (int i = 0; i < MODEL_SHARDS; i++)
        w->shards[i] =
            (struct sched_shard){.n_bytes = 1000,
                                 .kv_bytes = 100,
                                 .n_params = i < 5 ? 800000 : 1000000,
                                 .n_layers = 1};
    w->model = (struct sched_model){.id = {1, 2, 3, 4},
                                    .name = "toy",
                                    .n_shards = MODEL_SHARDS,
                                    .dim = MODEL_DIM,
                                    .shards = w->shards,
                                    .n_vocab = MODEL_VOCAB,
                                    .context = MODEL_CONTEXT,
                                    .n_params = 5000000,
                                    .n_ends = 1,
                                    .ends = {MODEL_END}};
    CHECK_EQ(world_wait(w,
                        sched_model_put(w->store, &w->model, on_waited, &done),
                        &done),
             ERR_OK);
}

void world_dump(struct world *w)
{
    char command[1024];

    snprintf(command, sizeof command,
             "for k in $(redis-cli -s '%s' keys '*:[cra]:*'); do echo $k;"
             " redis-cli -s '%s' zrange $k 0 -1 withscores | paste -s -d ' ';"
             " done >&2",
             w->socket, w->socket);
    CHECK_EQ(system(command), 0);
    snprintf(command, sizeof command,
             "for k in $(redis-cli -s '%s' keys '*:[svub]:*'); do echo $k;"
             " redis-cli -s '%s' hgetall $k | paste -s -d ' ' | cut -c1-900;"
             " done >&2",
             w->socket, w->socket);
    CHECK_EQ(system(command), 0);
}

// How many keys are left that may not stay; they are named if tell.
static int keys_left(struct world *w, bool tell)
{
    static const char *const stay[] = {
        "m:", "models", "oa",        "refs", "sids", "acct:", "board", "ledger",
        "p:", "g",      "ledger:at", "k:",   "keys", "kh",    "f:",    "fexp"};
    redisContext *c = client(w);
    redisReply *r = redisCommand(c, "KEYS *");
    int n = 0;

    CHECK(r && r->type == REDIS_REPLY_ARRAY);
    for (size_t i = 0; i < r->elements; i++) {
        const char *key = r->element[i]->str;
        const char *name = strchr(key, '}');
        bool ok = world_redis(w, "PTTL %s", key) > 0;

        CHECK(name);
        for (size_t j = 0; j < sizeof stay / sizeof *stay; j++)
            ok = ok || strncmp(name + 2, stay[j], strlen(stay[j])) == 0;
        if (!ok && tell)
            fprintf(stderr, "left behind: %s\n", key);
        n += !ok;
    }
    freeReplyObject(r);
    redisFree(c);
    return n;
}

// Nothing stays that has no owner, once the sweeps have been there.
static void check_keys(struct world *w)
{
    int64_t end = world_ms() + LIMIT_MS;

    do
        world_run(w, 60);
    while (keys_left(w, false) && world_ms() < end);
    CHECK_EQ(keys_left(w, true), 0);
    CHECK_EQ(world_redis(w, "HGET syn:{0}:g log"), 0);
    CHECK_EQ(world_redis(w, "HGET syn:{0}:g n_q"), 0);
    CHECK_EQ(world_redis(w, "HGET syn:{0}:g n_r"), 0);
    CHECK_EQ(world_redis(w, "HGET syn:{0}:g n_c"), 0);
}

void world_release(struct world *w)
{
    char command[128];

    check_keys(w);
    sched_store_free(w->store);
    event_base_free(w->base);
    world_redis_kill(w);
    snprintf(command, sizeof command, "rm -rf '%s'", w->dir);
    CHECK_EQ(system(command), 0);
}

void world_run(struct world *w, int64_t ms)
{
    int64_t end = world_ms() + ms;

    while (world_ms() < end) {
        int64_t left = end - world_ms();
        struct timeval tv = {(time_t)(left / 1000),
                             (suseconds_t)(left % 1000 * 1000 + 100)};

        event_base_loopexit(w->base, &tv);
        event_base_dispatch(w->base);
    }
}

void world_run_before(struct world *w, int64_t ms, int64_t end_ms)
{
    if (world_ms() >= end_ms)
        world_dump(w);
    CHECK(world_ms() < end_ms);
    world_run(w, ms);
}

void world_until(struct world *w, const bool *flag)
{
    int64_t end = world_ms() + LIMIT_MS;

    while (!*flag) {
        struct timeval tv = {0, 20000};

        CHECK(world_ms() < end);
        event_base_loopexit(w->base, &tv);
        event_base_loop(w->base, EVLOOP_ONCE);
    }
}

void world_until_up(struct world *w)
{
    world_until(w, &w->up);
}

long long world_redis(struct world *w, const char *format, ...)
{
    redisContext *c = client(w);
    va_list ap;
    long long value;

    va_start(ap, format);
    redisReply *r = redisvCommand(c, format, ap);
    va_end(ap);
    CHECK(r);
    if (r->type == REDIS_REPLY_ERROR)
        fprintf(stderr, "redis: %s\n", r->str);
    CHECK(r->type != REDIS_REPLY_ERROR);
    value =
        r->type == REDIS_REPLY_STRING ? strtoll(r->str, NULL, 10) : r->integer;
    freeReplyObject(r);
    redisFree(c);
    return value;
}

void on_waited(enum err err, void *ctx)
{
    struct waited *waited = ctx;

    CHECK(!waited->done); // exactly once
    waited->done = true;
    waited->err = err;
}

enum err world_wait(struct world *w, enum err started, struct waited *waited)
{
    enum err err;

    if (started)
        return started;
    world_until(w, &waited->done);
    err = waited->err;
    *waited = (struct waited){0};
    return err;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 29;
}

static uint64_t history(const uint32_t *tokens, uint32_t n, uint64_t h)
{
    for (uint32_t i = 0; i < n; i++)
        h = mix(h, tokens[i] + 1);
    return mix(h, n);
}

uint32_t model_next(const uint32_t *tokens, uint32_t n, uint64_t seed)
{
    uint64_t h = history(tokens, n, seed);

    // an end token about once in 20
    return !WORLD_TOKENS && h % 20 == 0 ? MODEL_END
                                        : (uint32_t)(h >> 16) % MODEL_VOCAB;
}

void model_print(const uint32_t *tokens, uint32_t n, uint64_t print_seed,
                 uint8_t out[16])
{
    uint64_t a = history(tokens, n, print_seed), b = mix(a, 99);

    memcpy(out, &a, 8);
    memcpy(out + 8, &b, 8);
}

void model_probs(const uint32_t *tokens, uint32_t n,
                 uint8_t out[4 + 8 * MODEL_TOP])
{
    struct bytes_out b = {out, 4 + 8 * MODEL_TOP, 0, false};
    uint64_t a = history(tokens, n, 5);

    bytes_put_u32(&b, (uint32_t) - (int32_t)(a % 1000));
    for (uint32_t i = 0; i < MODEL_TOP; i++) {
        bytes_put_u32(&b, (uint32_t)((a >> 32) % MODEL_VOCAB));
        bytes_put_u32(&b, (uint32_t) - (int32_t)i);
    }
}

bool world_wants_probs(uint32_t i)
{
    return !WORLD_TOKENS && i % 4 == 1;
}

void model_row(const uint32_t *tokens, uint32_t n, uint32_t boundary,
               uint8_t row[MODEL_ROW])
{
    uint64_t h = history(tokens, n, 1000 + boundary);

    memset(row, 0, MODEL_ROW);
    for (int i = 0; i < 8; i++)
        row[i] = (uint8_t)(tokens[n - 1] >> 4 * i & 15);
    for (int i = 0; i < 16; i++)
        row[8 + i] = (uint8_t)(h >> 4 * i & 15);
}

uint32_t model_row_token(const uint8_t row[MODEL_ROW])
{
    uint32_t token = 0;

    for (int i = 0; i < 8; i++)
        token |= (uint32_t)row[i] << 4 * i;
    return token;
}

uint32_t world_prompt(uint32_t i, uint32_t *tokens)
{
    uint32_t n = WORLD_TOKENS ? WORLD_TOKENS : 1 + i % 9;

    for (uint32_t j = 0; j < n; j++)
        tokens[j] = (i * 31 + j * 17) % MODEL_VOCAB;
    return n;
}

uint32_t world_max_tokens(uint32_t i)
{
    return WORLD_TOKENS ? WORLD_TOKENS : 1 + i * 7 % 12;
}

static uint64_t line_seed(uint32_t i)
{
    return i % 3 ? 0 : 1000 + i;
}

static uint32_t line_stop(uint32_t i)
{
    uint32_t tokens[MODEL_CONTEXT];
    uint32_t n = world_prompt(i, tokens);

    // the third token that will come, so that most lines are cut
    for (int j = 0; j < 3; j++) {
        tokens[n] = model_next(tokens, n, line_seed(i));
        n++;
    }
    return tokens[n - 1];
}

struct sched_cut world_cut(const struct sched_cut_ask *ask, void *ctx)
{
    uint32_t stop;

    (void)ctx;
    CHECK_EQ(ask->stops_len, 4);
    CHECK(strcmp(ask->model, "toy") == 0);
    stop = bytes_peek_u32(ask->stops);
    for (uint32_t i = 0; i < ask->n_new; i++)
        if (ask->tokens[ask->n_tokens - ask->n_new + i] == stop)
            return (struct sched_cut){i + 1, true};
    return (struct sched_cut){ask->n_new, false};
}

static void on_took(enum err err, const struct sched_job *job, void *ctx)
{
    struct took *took = ctx;

    CHECK((err == ERR_OK) == (job != NULL));
    CHECK(!took->done); // exactly once
    took->done = true;
    took->err = err;
    if (job)
        took->job = *job;
}

struct took world_take(struct world *w, enum sched_job_kind kind)
{
    struct took took = {0};

    CHECK_EQ(sched_job_take(w->store, kind, 60000, on_took, &took), ERR_OK);
    world_until(w, &took.done);
    return took;
}

void world_batch(struct world *w, const char *id, uint32_t n, bool stops)
{
    world_batch_of(w, id, "key_a", n, stops);
}

void world_batch_of(struct world *w, const char *id, const char *key,
                    uint32_t n, bool stops)
{
    struct sched_batch_new batch = {.id = id,
                                    .key = key,
                                    .model = "toy",
                                    .input_file = "in",
                                    .window_ms = 86400000,
                                    .endpoint = "",
                                    .input_id = "file-in",
                                    .input_bytes = 1000,
                                    .n_lines = n,
                                    .callback_url = "",
                                    .callback_secret = "",
                                    .redundancy = w->redundancy};
    struct waited done = {0};
    struct took took;

    CHECK_EQ(world_wait(w,
                        sched_batch_create(w->store, &batch, on_waited, &done),
                        &done),
             ERR_OK);
    took = world_take(w, SCHED_JOB_INGEST);
    CHECK_EQ(took.err, ERR_OK);
    CHECK(strcmp(took.job.batch, id) == 0);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t prompt[MODEL_CONTEXT], stop_token = line_stop(i);
        char name[32];
        uint8_t stop[4] = {(uint8_t)stop_token, (uint8_t)(stop_token >> 8)};
        int len = snprintf(name, sizeof name, "line-%u", i);
        struct sched_line line = {
            .number = i,
            .custom_id = {(const uint8_t *)name, (size_t)len},
            .n_prompt = world_prompt(i, prompt),
            .prompt = prompt,
            .max_tokens = world_max_tokens(i),
            .sampling = {.seed = line_seed(i), .top_p_q16 = 65536},
            .seed_given = i % 3 == 0,
            .stops = {stop, stops ? 4 : 0},
            .blob = {(const uint8_t *)"blob", 4},
        };
        if (world_wants_probs(i)) {
            line.sampling.flags = SYN1_LOGPROBS;
            line.sampling.n_top = MODEL_TOP;
        }
        memcpy(line.model, w->model.id, sizeof line.model);
        enum err err;

        // as many wait as may: those that run make room
        while ((err = world_wait(w,
                                 sched_batch_add(w->store, &took.job, &line, 1,
                                                 took.job.cursor + 10, 60000,
                                                 on_waited, &done),
                                 &done)) == ERR_FULL &&
               WORLD_TOKENS)
            world_run(w, 50);
        CHECK_EQ(err, ERR_OK);
        took.job.cursor += 10;
    }
    CHECK_EQ(world_wait(
                 w,
                 sched_batch_lines_done(w->store, &took.job, on_waited, &done),
                 &done),
             ERR_OK);
}

// The reference: what line i must be.
static uint32_t line_expect(uint32_t i, bool stops, uint32_t *out,
                            enum sched_finish *finish)
{
    uint32_t tokens[MODEL_CONTEXT + 16];
    uint32_t n = world_prompt(i, tokens), made = 0, stop = line_stop(i);

    *finish = SCHED_FINISH_LENGTH;
    while (made < world_max_tokens(i) && n < MODEL_CONTEXT) {
        uint32_t t = model_next(tokens, n, line_seed(i));

        tokens[n++] = out[made++] = t;
        if (t == MODEL_END || (stops && t == stop)) {
            *finish = SCHED_FINISH_STOP;
            break;
        }
    }
    return made;
}

// Does the result tell the log-probabilities of the tokens that are right?
static bool probs_right(const struct sched_result *r, uint32_t line)
{
    uint32_t tokens[MODEL_CONTEXT + 16], n = world_prompt(line, tokens);
    uint8_t want[4 + 8 * MODEL_TOP];

    if (!world_wants_probs(line))
        return r->logprobs.len == 0;
    if (r->logprobs.len != r->n_tokens * sizeof want)
        return false;
    for (uint32_t i = 0; i < r->n_tokens; i++) {
        model_probs(tokens, n, want);
        if (memcmp(r->logprobs.ptr + i * sizeof want, want, sizeof want) != 0)
            return false;
        tokens[n++] = r->tokens[i];
    }
    return true;
}

struct checking {
    bool done, more;
    bool *seen;
    uint32_t n, found;
    uint64_t next;
    bool stops;
};

static void on_results(enum err err, const struct sched_result *r, size_t n,
                       uint64_t next, bool more, void *ctx)
{
    struct checking *c = ctx;

    CHECK_EQ(err, ERR_OK);
    for (size_t i = 0; i < n; i++) {
        uint32_t want[MODEL_CONTEXT + 16];
        enum sched_finish finish;
        uint32_t line = (uint32_t)r[i].number;
        uint32_t n_want = line_expect(line, c->stops, want, &finish);

        CHECK(line < c->n && !c->seen[line]);
        c->seen[line] = true;
        c->found++;
        CHECK_EQ(r[i].n_tokens, n_want);
        CHECK(memcmp(r[i].tokens, want, n_want * sizeof *want) == 0);
        CHECK_EQ(r[i].finish, finish);
        CHECK(probs_right(&r[i], line));
        CHECK_EQ(r[i].seed, line_seed(line));
        CHECK(r[i].n_makers >= 1);
        CHECK(r[i].blob.len == 4 && memcmp(r[i].blob.ptr, "blob", 4) == 0);
    }
    c->next = next;
    c->more = more;
    c->done = true;
}

uint32_t world_check(struct world *w, const char *id, uint32_t n, bool stops,
                     bool all)
{
    struct checking c = {.n = n, .more = true, .stops = stops};

    c.seen = calloc(n, sizeof *c.seen);
    CHECK(c.seen);
    while (c.more) {
        c.done = false;
        CHECK_EQ(sched_batch_results(w->store, id, "key_a", c.next, 7,
                                     on_results, &c),
                 ERR_OK);
        world_until(w, &c.done);
    }
    free(c.seen);
    if (all)
        CHECK_EQ(c.found, n);
    return c.found;
}
