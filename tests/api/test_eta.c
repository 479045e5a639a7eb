// When a batch will be done.
#include <math.h>

#include "api/eta.h"
#include "check.h"

static struct api_eta eta(struct api_eta_state s)
{
    struct api_eta out = {-1, -1};

    CHECK(api_eta_of(&s, &out));
    CHECK(out.p50_s >= 0 && out.p90_s > out.p50_s);
    return out;
}

static void nothing_is_said_before_something_was_seen(void)
{
    const struct api_eta_state states[] = {
        {0, 100, 0, 0, 0, 0, 0},     {400, 100, 50, 0, 10, 0, 0},
        {5000, 100, 0, 0, 32, 0, 0}, {5000, 100, 3, 4, 32, 0, 0},
        {5000, 4, 0, 1, 3, 0, 0},    {5000, 10, 11, 0, 0, 0, 0},
        {600, 1000, 0, 40, 0, 0, 0}, {5000, 10000, 100, 0, 0, 0, 0},
    };

    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        struct api_eta out = {-1, -1};

        CHECK(!api_eta_of(&states[i], &out));
        CHECK(out.p50_s < 0 && out.p90_s < 0);
    }
}

static void a_steady_rate_goes_on(void)
{
    // 10 lines a second, none under way
    struct api_eta e =
        eta((struct api_eta_state){10000, 1000, 100, 0, 0, 0, 0});

    CHECK(fabs(e.p50_s - 90) < 0.01);
    // more seen, less doubt
    CHECK(eta((struct api_eta_state){100000, 1900, 1000, 0, 0, 0, 0}).p90_s <
          e.p90_s);
}

// What only has to be checked takes little more; a long batch says nothing
// before a tenth of it, or ten seconds, are over.
static void little_is_left_of_what_is_checked(void)
{
    struct api_eta e = eta((struct api_eta_state){500, 60, 0, 60, 0, 0, 0});
    struct api_eta out;

    CHECK(e.p50_s > 0.1 && e.p50_s < 0.25);
    CHECK(!api_eta_of(&(struct api_eta_state){9900, 100000, 100, 0, 0, 0, 0},
                      &out));
    CHECK(api_eta_of(&(struct api_eta_state){10000, 100000, 100, 0, 0, 0, 0},
                     &out));
}

static void the_recent_rate_counts(void)
{
    // 10 lines a second until half of the volunteers left
    struct api_eta e =
        eta((struct api_eta_state){60000, 1000, 500, 0, 0, 30000, 150});

    CHECK(fabs(e.p50_s - 100) < 0.01);
    // too few lines in it to tell
    e = eta((struct api_eta_state){50000, 1000, 500, 0, 0, 30000, 5});
    CHECK(fabs(e.p50_s - 50) < 0.01);
}

// Simulated grids: lines are computed `slots` at a time, take a while and are
// then checked for a while. The first word on it must be good enough.
static void the_first_word_holds(void)
{
    static const struct {
        uint64_t lines, slots;
        double compute_s, check_s;
    } grids[] = {{20, 32, 2, 1},    {60, 32, 2, 2},    {200, 32, 3, 1},
                 {1000, 64, 2, 3},  {5000, 64, 4, 2},  {40, 4, 1, 0.5},
                 {300, 300, 10, 5}, {50000, 500, 5, 5}};
    size_t good = 0, n = sizeof grids / sizeof *grids;

    for (size_t g = 0; g < n; g++) {
        double lines = (double)grids[g].lines, slots = (double)grids[g].slots;
        double step = grids[g].compute_s / slots, t = 0;
        double end =
            fmax(lines, slots) * step + grids[g].compute_s + grids[g].check_s;
        struct api_eta e;
        bool told = false;

        for (; !told && t < end; t += 0.05) {
            double taken = fmin(slots + t / step, lines);
            double computed =
                fmin(fmax(t - grids[g].compute_s, 0) / step, lines);
            double final =
                fmin(fmax(t - grids[g].compute_s - grids[g].check_s, 0) / step,
                     lines);
            struct api_eta_state s = {
                .busy_ms = (int64_t)(t * 1000),
                .total = grids[g].lines,
                .final = (uint64_t) final,
                .checking = (uint64_t)(computed - final),
                .running = (uint64_t)(taken - computed),
            };

            told = api_eta_of(&s, &e);
        }
        CHECK(told);
        CHECK(end - t >= e.p50_s / 2);
        good += end - t < e.p90_s * 2;
    }
    CHECK(good * 10 >= n * 8);
}

int main(void)
{
    nothing_is_said_before_something_was_seen();
    a_steady_rate_goes_on();
    little_is_left_of_what_is_checked();
    the_recent_rate_counts();
    the_first_word_holds();
    return 0;
}
