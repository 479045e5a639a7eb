// volunteer.h - joining, signs of life and leaving of volunteers.
//
// A volunteer is gone when it leaves, when its presence was lost for the
// policy's grace_ms, or when it gave no sign of life (work, progress) for
// seen_ms. Then all that it held is queued again and its token means nothing.
//
// ERR_DENIED from any of these: no such volunteer, or not its token (the two
// are not told apart): it has to join again.
#ifndef SCHED_VOLUNTEER_H
#define SCHED_VOLUNTEER_H

#include "base/syn1.h"
#include "scheduler/store.h"

// Who calls. The token itself is never stored or sent to Redis.
struct sched_who {
    const char *id;                     // 1 .. SCHED_ID_MAX of [A-Za-z0-9_-]
    uint8_t token_hash[SCHED_HASH_LEN]; // SHA-256 of the token
};

struct sched_joiner {
    struct sched_who who;            // id and token are drawn by the caller
    uint8_t account[SCHED_HASH_LEN]; // SHA-256 of the account key
    const char *name;                // 0 .. SCHED_NAME_MAX bytes
    const char *backend;             // 1 .. 32 bytes
    uint8_t kernel_class;            // 0 exact
    uint64_t memory;                 // bytes
    uint32_t threads;
    const char *block; // its address block, 0 .. SCHED_ID_MAX bytes, "": shared
                       // by many, which tells nothing
    bool referee;      // the caller has checked the operator's key
    // The proof of work that it brings (base/toll.h), checked by the caller.
    uint32_t paid_bits; // 0: none
    int64_t paid_until_ms;
};

// What became of it. It joins, or its account is new (not proven, for the
// last), its block is not "", and ...
enum sched_entry_kind {
    SCHED_ENTERED,
    SCHED_ENTRY_TOLL,   // it has to pay bits first, see redundancy/entry.h
    SCHED_ENTRY_CLOSED, // its block has opened all that it may
    SCHED_ENTRY_CROWDED // it has new_volunteers already
};

struct sched_entry {
    enum sched_entry_kind kind;
    uint32_t bits;    // with TOLL
    int64_t now_ms;   // with TOLL
    int64_t retry_ms; // with CLOSED and CROWDED: try again so much later
};

typedef void sched_entry_fn(enum err err, const struct sched_entry *entry,
                            void *ctx);

// Errors: ERR_EXISTS (that id is taken by another token).
MUST_USE enum err sched_volunteer_join(struct sched_store *store,
                                       const struct sched_joiner *joiner,
                                       sched_entry_fn *fn, void *ctx);

// It computes: extend the deadlines of those of these units (n of
// SYN1_ID_LEN bytes, n <= SYN1_HELD_MAX) that it holds. Others are ignored.
// tokens: generated since its last progress, for the live statistics.
MUST_USE enum err sched_volunteer_progress(struct sched_store *store,
                                           const struct sched_who *who,
                                           const uint8_t *units, size_t n,
                                           uint32_t tokens, sched_done_fn *fn,
                                           void *ctx);

// It leaves: all it holds is queued again at once.
MUST_USE enum err sched_volunteer_leave(struct sched_store *store,
                                        const struct sched_who *who,
                                        sched_done_fn *fn, void *ctx);

// Its presence request opened. presence: fresh and unguessable (drawn by the
// caller); the newest one counts.
MUST_USE enum err sched_volunteer_present(struct sched_store *store,
                                          const struct sched_who *who,
                                          const uint8_t presence[16],
                                          sched_done_fn *fn, void *ctx);

// That presence request ended: the grace begins, unless a newer one is open.
MUST_USE enum err sched_volunteer_lost(struct sched_store *store,
                                       const struct sched_who *who,
                                       const uint8_t presence[16],
                                       sched_done_fn *fn, void *ctx);

#endif
