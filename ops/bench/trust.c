// trust - what checked work costs and lets through by the simulation of
// trust_sim.h, the worst of several seeds; a tab-separated line a bar:
//   name  ours  limit  ratio  bar  ok|short
//
//   trust_table [SEEDS]   (4)
//
// A check counts as much as the stint that it checks, though one pass costs
// less. Exits 1 if one is short.
#include <stdio.h>
#include <stdlib.h>

#include "bench/trust_sim.h"

enum { SEEDS = 4, SEEDS_MAX = 100 };

static int row(const char *name, double ours, double limit)
{
    printf("%s\t%.5f\t%.4f\t%.3f\t<= %g\t%s\n", name, ours, limit, ours / limit,
           limit, ours <= limit ? "ok" : "short");
    return ours > limit;
}

// extra_max 0: no bar.
static int rows(uint32_t colluders, uint32_t lie, double extra_max,
                double wrong_max, uint64_t seeds)
{
    double extra = 0, wrong = 0;
    uint32_t banned_honest = 0;
    char name[80];
    int bad = 0;

    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct trust_sim sim = {seed, 300, 250000, 10, colluders,
                                17,   100, 100,    lie};
        struct trust_sim_result r;

        if (trust_sim_run(&sim, &r)) {
            fprintf(stderr, "trust: the simulation failed\n");
            return 1;
        }
        if (trust_sim_extra(&r) > extra)
            extra = trust_sim_extra(&r);
        if (trust_sim_wrong(&r) > wrong)
            wrong = trust_sim_wrong(&r);
        banned_honest += r.banned_honest;
    }
    if (extra_max > 0) {
        snprintf(name, sizeof name,
                 "simulated: extra stints, %u %% colluders lie %u %%",
                 colluders / 10, lie / 10);
        bad |= row(name, extra, extra_max);
    }
    snprintf(name, sizeof name,
             "simulated: wrong delivered, %u %% colluders lie %u %%",
             colluders / 10, lie / 10);
    bad |= row(name, wrong, wrong_max);
    printf("simulated: honest banned, %u %% colluders lie %u %%\t%u\t0\t-\t= "
           "0\t%s\n",
           colluders / 10, lie / 10, banned_honest,
           banned_honest ? "short" : "ok");
    return bad | (banned_honest > 0);
}

int main(int argc, char **argv)
{
    static const uint32_t lies[] = {10, 20, 50, 100, 500, 1000}; // thousandths
    long seeds = argc > 1 ? strtol(argv[1], NULL, 10) : SEEDS;
    int bad = 0;

    if (argc > 2 || seeds < 1 || seeds > SEEDS_MAX) {
        fprintf(stderr, "usage: trust_table [SEEDS]\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        bad |= rows(80, lies[i], 0.12, 0.001, (uint64_t)seeds);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        bad |= rows(320, lies[i], 0, 0.002, (uint64_t)seeds);
    return bad;
}
