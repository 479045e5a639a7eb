// account.h - what one account has done, and which of its credit is pending.
#ifndef SCHED_ACCOUNT_H
#define SCHED_ACCOUNT_H

#include "scheduler/store.h"

// Lines that an account computed and that are not final yet.
struct sched_pending {
    uint64_t lines;
    uint64_t credit; // that they will bring, of the first 300 of them
};

struct sched_account {
    const char *name;
    const char *backends; // comma-separated
    uint64_t credit;      // see redundancy/credit.h
    uint64_t units, tokens, checks, disagreements, faults;
    uint64_t agreed; // checks of its work that agreed
    uint64_t run;    // of these, in a row until now
    bool banned;
    uint64_t online;               // its volunteers
    uint64_t rank;                 // 1 is the first, 0: none yet
    struct sched_pending checking; // drawn: a check of their own
    struct sched_pending later;    // not drawn: checks of later work
};

typedef void sched_account_fn(enum err err, const struct sched_account *account,
                              void *ctx);

// account: 64 hex digits. ERR_NOT_FOUND: it never joined, or long ago and did
// nothing.
MUST_USE enum err sched_account_get(struct sched_store *store,
                                    const char *account, sched_account_fn *fn,
                                    void *ctx);

#endif
