// ask.h - requests that a client waits for: through the same queue as the lines
// of batches, ahead of them, and gone when nobody waits any more.
//
// Whoever waits looks again and again, and renews the lease by it. When it
// ends, or passes because a process died, the lines are dropped.
#ifndef SCHED_ASK_H
#define SCHED_ASK_H

#include "scheduler/batch.h"

enum { SCHED_ASK_LINES_MAX = SCHED_CHOICES_MAX };

// Queue n lines (1 .. SCHED_ASK_LINES_MAX, none of them an error or with
// several choices), numbered from 0. id: drawn by the caller. Repeating it with
// the same id changes nothing. Lines that break a limit, or name an unknown
// model: ERR_RANGE. A quota of the key would be passed: ERR_FULL.
MUST_USE enum err sched_ask_create(struct sched_store *store, const char *id,
                                   const char *key,
                                   const struct sched_line *lines, size_t n,
                                   int64_t ttl_ms, sched_done_fn *fn,
                                   void *ctx);

// A line as it is now, not final: tokens may still be taken back.
struct sched_ask_line {
    uint64_t number;
    uint32_t epoch; // rises when tokens are taken back
    uint32_t n_tokens;
    const uint32_t *tokens;
    struct bytes logprobs; // of each as in SYN1, or empty
};

struct sched_ask {
    uint64_t n_lines; // in all; when as many are final it is over
    const struct sched_ask_line *lines;
    size_t n_open;
    const struct sched_result *results; // of those that are final
    size_t n_final;
};

typedef void sched_ask_fn(enum err err, const struct sched_ask *ask, void *ctx);

// How far is it? ttl_ms > 0 renews the lease, 0 leaves it. ERR_NOT_FOUND: its
// lease has passed.
MUST_USE enum err sched_ask_look(struct sched_store *store, const char *id,
                                 int64_t ttl_ms, sched_ask_fn *fn, void *ctx);

// Nobody waits for it. Fine for one that is not there.
MUST_USE enum err sched_ask_end(struct sched_store *store, const char *id,
                                sched_done_fn *fn, void *ctx);

#endif
