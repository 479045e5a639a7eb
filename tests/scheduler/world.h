// world.h - a real redis-server on a Unix socket in a temporary folder, a store
// on it, and the small synthetic model that the fake volunteers compute.
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include <stdbool.h>
#include <sys/types.h>

#include "check.h"
#include "scheduler/batch.h"
#include "scheduler/callback.h"
#include "scheduler/key.h"
#include "scheduler/model.h"
#include "scheduler/stats.h"
#include "scheduler/work.h"

struct event_base;

// WORLD_WIDE: rows, context and lines as those of tales-llama are, for
// measuring what Redis takes; all lines are 64 tokens long and make 64.
#ifdef WORLD_WIDE
enum { MODEL_CONTEXT = 512, MODEL_DIM = 256, WORLD_TOKENS = 64 };
#else
enum { MODEL_CONTEXT = 64, MODEL_DIM = 32, WORLD_TOKENS = 0 };
#endif
enum {
    MODEL_VOCAB = 500,
    MODEL_END = 7,
    MODEL_TOP = 2,
    MODEL_SHARDS = 6,
    MODEL_ROW = MODEL_DIM + MODEL_DIM / 32, // bytes of a row
};

struct world {
    char dir[64], address[96], socket[80];
    pid_t redis;
    struct event_base *base;
    struct sched_store *store;
    struct sched_policy policy;
    struct sched_model model;
    struct sched_shard shards[MODEL_SHARDS];
    bool up;
    uint64_t memory;     // of the fakes that join
    uint32_t redundancy; // of the batches to come
};

// Start Redis and a store (with the policy in w->policy if set_policy is not
// NULL: it may change the defaults), put the model.
void world_init(struct world *w, void (*set_policy)(struct sched_policy *p));

// End all, check that Redis has no key without an owner: only those of models,
// accounts, counters and what has a time to live (unless keys_stay).
void world_release(struct world *w);

void world_redis_start(struct world *w);
void world_redis_kill(struct world *w); // SIGKILL

// A second store on the same Redis.
struct sched_store *world_store(struct world *w);

// Run the loop until *flag, or fail after half a minute.
void world_until(struct world *w, const bool *flag);
void world_until_up(struct world *w);
// Run the loop for so long.
void world_run(struct world *w, int64_t ms);
// The same; but from end_ms on fail, and tell what is in Redis.
void world_run_before(struct world *w, int64_t ms, int64_t end_ms);
int64_t world_ms(void);

// A command on a connection of its own; the integer of the reply (0 for nil).
long long world_redis(struct world *w, const char *format, ...);

// What is in Redis, to stderr: for a test that fails.
void world_dump(struct world *w);

// Wait for a done callback; its err.
struct waited {
    bool done;
    enum err err;
};
void on_waited(enum err err, void *ctx);
enum err world_wait(struct world *w, enum err started, struct waited *waited);

// The job of that kind that is due next, taken for a minute; or why there is
// none (ERR_NOT_FOUND).
struct took {
    bool done;
    enum err err;
    struct sched_job job;
};
struct took world_take(struct world *w, enum sched_job_kind kind);

// A batch of n lines, each "line-<i>", prompt lengths 1 .. 9, max_tokens
// 1 .. 12; every third one sampled; ingested at once by sched_batch_add.
void world_batch(struct world *w, const char *id, uint32_t n, bool stops);
// The same of another key than key_a.
void world_batch_of(struct world *w, const char *id, const char *key,
                    uint32_t n, bool stops);
// The prompt of line i. Returns its length.
uint32_t world_prompt(uint32_t i, uint32_t *tokens);
uint32_t world_max_tokens(uint32_t i);
// The cut hook of the tests: a stop is one token id (u32).
struct sched_cut world_cut(const struct sched_cut_ask *ask, void *ctx);

// Check that all lines of the batch are there once and right. Returns how many
// are final; if all must be, n.
uint32_t world_check(struct world *w, const char *id, uint32_t n, bool stops,
                     bool all);

// The model: the token after these, and the fingerprint of its position.
uint32_t model_next(const uint32_t *tokens, uint32_t n, uint64_t seed);
// The row that crosses a boundary at position n - 1: it tells the token, and
// vouches for all before it.
void model_row(const uint32_t *tokens, uint32_t n, uint32_t boundary,
               uint8_t row[MODEL_ROW]);
uint32_t model_row_token(const uint8_t row[MODEL_ROW]);
void model_print(const uint32_t *tokens, uint32_t n, uint64_t print_seed,
                 uint8_t out[16]);
// ... and its log-probabilities with MODEL_TOP alternatives, as in SYN1.
void model_probs(const uint32_t *tokens, uint32_t n,
                 uint8_t out[4 + 8 * MODEL_TOP]);
// Lines of world_batch that want them.
bool world_wants_probs(uint32_t i);

#endif
