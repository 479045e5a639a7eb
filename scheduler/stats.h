// stats.h - what the grid does now, and who has done how much.
#ifndef SCHED_STATS_H
#define SCHED_STATS_H

#include "scheduler/store.h"

enum sched_doing { SCHED_IDLE, SCHED_WAITING, SCHED_COMPUTING, SCHED_CHECKING };

struct sched_volunteer_stats {
    const char *name, *backend;
    const char *account;    // first 8 hex digits
    enum sched_doing doing; // waiting: in a held call; idle: neither
    bool referee;
    double tokens_per_s; // measured
    uint64_t units;      // done
    uint32_t sequences;  // that it has open
};

struct sched_stats {
    uint64_t online; // volunteers, referees not counted
    uint64_t referees;
    uint64_t queued, running, checking; // lines, all batches
    uint64_t confirmed, failed;         // lines, ever
    uint64_t tokens;                    // generated in confirmed lines, ever
    double tokens_per_s;                // generated, over the last ten seconds
    uint64_t units, faults, disagreements, rollbacks; // ever
    uint64_t units_out;                               // leased now
    uint64_t jobs, callbacks;                         // waiting or due
    uint64_t bans, checks;  // ever; checks that were given out
    uint64_t check_wait_ms; // the longest that one had waited for that
    // Rows of generated tokens, counted at each span of a split model:
    // computed, and lost with a volunteer, so that they were computed again;
    // and rows computed to have their KV where another volunteer went on. Ever.
    uint64_t span_rows, span_rows_lost, span_rows_rebuilt;
    size_t n_volunteers; // listed, at most 100
    const struct sched_volunteer_stats *volunteers;
};

typedef void sched_stats_fn(enum err err, const struct sched_stats *stats,
                            void *ctx);

MUST_USE enum err sched_stats_get(struct sched_store *store, sched_stats_fn *fn,
                                  void *ctx);

struct sched_rank {
    uint64_t rank;       // 1 is the first
    const char *account; // first 8 hex digits
    const char *name;
    const char *backends; // comma-separated
    uint64_t credit;      // millions of (rows times parameters), see credit.h
    uint64_t units, tokens, checks, disagreements;
    uint64_t agreed; // checks of its work that agreed
    bool banned;
    bool online;
};

typedef void sched_ranks_fn(enum err err, const struct sched_rank *ranks,
                            size_t n, uint64_t total, void *ctx);

// The leaderboard by credit, from offset, at most limit (1 .. 100).
MUST_USE enum err sched_stats_ranks(struct sched_store *store, uint64_t offset,
                                    uint32_t limit, sched_ranks_fn *fn,
                                    void *ctx);

#endif
