// trust_sim.h - a grid on a virtual clock that decides with redundancy/: what
// checking costs, and how much wrong work gets through.
//
// Hosts compute stints one after another, faster ones more of them. Colluders
// are honest until they are trusted and have slept for a while; then they lie
// with a fixed chance, all give the same wrong answer, and agree with each
// other's lies when they check. Flaky hosts are wrong by chance, in work and in
// checks. The referee is always right.
#ifndef BENCH_TRUST_SIM_H
#define BENCH_TRUST_SIM_H

#include <stdint.h>

#include "base/err.h"

struct trust_sim {
    uint64_t seed;
    uint32_t n_hosts;
    uint32_t n_stints;
    uint32_t n_batches; // the stints come in so many batches, one after another
    uint32_t colluders; // in thousandths of the hosts
    uint32_t flaky;     // in thousandths
    uint32_t flaky_wrong; // how often a flaky host is wrong, in thousandths
    uint32_t sleep;       // stints before a colluder lies
    uint32_t lie;         // how often it then lies, in thousandths
};

struct trust_sim_result {
    uint64_t delivered; // stints that became final
    uint64_t wrong;     // of them
    uint64_t computed;  // stints computed, those again after a rollback too
    uint64_t checks;    // computed by other hosts
    uint64_t referee;   // stints computed by the referee
    uint32_t banned, banned_honest;
};

// ERR_NOMEM.
MUST_USE enum err trust_sim_run(const struct trust_sim *sim,
                                struct trust_sim_result *out);

// What was computed beyond one time each, and what was wrong, in ratios of
// what was delivered.
double trust_sim_extra(const struct trust_sim_result *r);
double trust_sim_wrong(const struct trust_sim_result *r);

#endif
