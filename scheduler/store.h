// store.h - the connection to Redis, where all state of the grid lives.
//
// A store is one pipelined connection for calls and one that listens for wake
// messages, both on one libevent base, both reconnecting by themselves with
// back-off. At connect it loads the function library of this build where Redis
// does not have it yet; libraries of other builds stay, so processes of two
// versions may run beside each other.
//
// What holds for every function in scheduler/ that takes a callback:
//   - If it returns ERR_OK, the callback runs exactly once, later, from the
//     event loop (or from sched_store_free). On any other return it never runs.
//   - Arguments are copied. What a callback is given is valid only during it.
//   - It returns ERR_STORE when the connection is down at the moment,
//   ERR_NOMEM,
//     or ERR_RANGE for an argument past its stated limit.
//   - The callback's err may always be ERR_STORE: the connection was lost, the
//     outcome is unknown, and it is safe to call again with the same arguments;
//     ERR_BUSY: Redis refuses writes (memory, disk, read-only), nothing
//     changed; ERR_FORMAT: a reply of unexpected shape (a bug; on_error tells
//     more).
//   - On an err other than ERR_OK the other arguments are NULL or 0.
//   - Not thread-safe: event-loop thread only.
// Times are unix milliseconds by the Redis clock. The process must ignore
// SIGPIPE: hiredis writes to connections that Redis may have closed.
#ifndef SCHED_STORE_H
#define SCHED_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct event_base;
struct sched_store;

enum {
    SCHED_ID_MAX = 63,    // bytes of an id of a volunteer, batch, event or key
    SCHED_NAME_MAX = 160, // bytes of a volunteer's or key's name, UTF-8
    SCHED_HASH_LEN = 32,  // SHA-256
    SCHED_STOPS_MAX = 4,  // stop strings of a request
};

// For functions whose only outcome is err.
typedef void sched_done_fn(enum err err, void *ctx);

// The numbers of the policy, in one place. Milliseconds, unless said.
struct sched_policy {
    int64_t unit_ms;          // how long a unit should take (1200)
    uint32_t unit_seqs;       // sequences in a unit, at most (16)
    uint32_t units_held;      // units a volunteer may hold (2)
    uint32_t first_new;       // max_new while its speed is not known (4)
    uint32_t max_new;         // max_new, at most (128)
    int64_t first_lease_ms;   // deadline while its speed is not known (20000)
    int64_t lease_ms;         // deadline: this much ... (4000)
    uint32_t lease_factor;    // ... and this many times the estimate (3)
    int64_t progress_ms;      // a sign of progress extends to this (8000)
    int64_t referee_after_ms; // a check waits this long for a volunteer (5000)
    int64_t sticky_ms;  // ready rows wait this long for their owner (15000)
    int64_t seen_ms;    // no sign of life for so long: gone (60000)
    int64_t grace_ms;   // presence lost for so long: gone (3000)
    int64_t retake_ms;  // a held call looks again at least so often (3000)
    int64_t sweep_ms;   // the store sweeps so often (500; 0: never)
    int64_t keep_ms;    // finished batches and events stay (30 days)
    int64_t seed_ms;    // fingerprint seeds are changed so often (600000)
    int64_t stage_ms;   // deadline of a unit for a partial span, at most (1400)
    uint64_t log_bytes; // budget of the activation log (1 GiB)
    uint32_t known;     // millionths of units with a known answer (5000)

    // Newcomers of an address block, until they have shown something.
    uint32_t new_free;       // accounts it opens in an hour for nothing (16)
    uint32_t new_accounts;   // accounts it opens in an hour at all (200)
    uint32_t new_bits;       // proof of work of the first that pays (18)
    uint32_t new_volunteers; // volunteers of one such account (4)
    uint32_t new_units;      // units that they hold, in the block (64)
};

// The defaults named above.
void sched_policy_init(struct sched_policy *policy);

// Asked before new tokens of a sequence with stop strings are committed.
struct sched_cut_ask {
    const char *model;      // the model's name
    uint32_t n_tokens;      // generated so far, the new ones last
    uint32_t n_new;         // 1 .. n_tokens
    const uint32_t *tokens; // n_tokens
    const uint8_t *stops;   // as given with the line (sched_line.stops)
    size_t stops_len;
};

// The answer: how many of the new tokens to keep (1 .. n_new; the one that
// completes a stop string is kept), and whether the sequence ends with the last
// of them. Keeping fewer than n_new without an end is not allowed.
struct sched_cut {
    uint32_t keep;
    bool stopped;
};

struct sched_store_options {
    struct event_base *base;           // borrowed, outlives the store
    const char *address;               // "unix:/path" or "HOST:PORT"
    const char *cell;                  // 1 .. 16 of [a-z0-9]; NULL: "0"
    const struct sched_policy *policy; // copied; NULL: the defaults

    // May be NULL: then stop strings never end a sequence.
    struct sched_cut (*cut)(const struct sched_cut_ask *ask, void *ctx);
    // May be NULL. up: connected and loaded, calls are taken. Down: they
    // return ERR_STORE; why is one line for the log, NULL when up.
    void (*on_state)(bool up, const char *why, void *ctx);
    // May be NULL. Redis answered a call with an unexpected error: for the log.
    void (*on_error)(const char *text, void *ctx);
    void *ctx; // for all three
};

// Make a store and start connecting. Errors: ERR_NOMEM, ERR_FORMAT (address or
// cell), ERR_IO (no events from the base). A Redis that is not there is no
// error: on_state tells.
MUST_USE enum err sched_store_new(const struct sched_store_options *options,
                                  struct sched_store **out);

// End it: every outstanding callback runs with ERR_STORE first. NULL is fine.
void sched_store_free(struct sched_store *store);

bool sched_store_up(const struct sched_store *store);

// A round trip that changes nothing, for health checks.
MUST_USE enum err sched_store_ping(struct sched_store *store, sched_done_fn *fn,
                                   void *ctx);

// From now on held and new work calls are answered without work
// (SYN1_DRAINING); results are still committed.
void sched_store_drain(struct sched_store *store);

#endif
