// trust - what checked work costs and lets through, in a table, one row a bar:
//   name  ours  limit  ratio  bar  ok|short
// Exits 1 if one is short.
#include <stdio.h>

#include "bench/trust_sim.h"

static int row(const char *name, double ours, double limit)
{
    printf("%-46s %8.4f %8.4f %7.3f  <= 1 %s\n", name, ours, limit,
           ours / limit, ours <= limit ? "ok" : "short");
    return ours > limit;
}

// extra_max 0: no bar.
static int rows(uint32_t colluders, uint32_t lie, double extra_max,
                double wrong_max)
{
    struct trust_sim sim = {1, 300, 250000, 10, colluders, 17, 100, 100, lie};
    struct trust_sim_result r;
    char name[64];
    int bad = 0;

    if (trust_sim_run(&sim, &r)) {
        fprintf(stderr, "trust: the simulation failed\n");
        return 1;
    }
    if (extra_max > 0) {
        snprintf(name, sizeof name, "extra, %u %% colluders lie %u %%",
                 colluders / 10, lie / 10);
        bad |= row(name, trust_sim_extra(&r), extra_max);
    }
    snprintf(name, sizeof name, "wrong, %u %% colluders lie %u %%",
             colluders / 10, lie / 10);
    bad |= row(name, trust_sim_wrong(&r), wrong_max);
    snprintf(name, sizeof name, "honest banned, %u %% colluders lie %u %%",
             colluders / 10, lie / 10);
    printf("%-46s %8u %8u %7s  <= 0 %s\n", name, r.banned_honest, 0, "-",
           r.banned_honest ? "short" : "ok");
    return bad | (r.banned_honest > 0);
}

int main(void)
{
    static const uint32_t lies[] = {20, 100, 500, 1000}; // thousandths
    int bad = 0;

    printf("%-46s %8s %8s %7s  %s\n", "name", "ours", "limit", "ratio", "bar");
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        bad |= rows(80, lies[i], 0.12, 0.001);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        bad |= rows(320, lies[i], 0, 0.002);
    return bad;
}
