#include "api/eta.h"

#include <math.h>

enum {
    BUSY_MIN_MS = 500,
    BUSY_ENOUGH_MS = 10000, // below it, a tenth of the whole must be over
    SEEN_MIN = 8,           // lines computed, or a quarter of a small batch
    RECENT_MIN_MS = 20000,
    RECENT_MIN = 20, // lines
};

// A line under way counts as a part of one.
static const double part_checking = 0.8, part_running = 0.3;

// How far the truth may be off, beside what the number of lines seen says.
static const double doubt = 0.35, z90 = 1.28, least_s = 1;

bool api_eta_of(const struct api_eta_state *s, struct api_eta *out)
{
    uint64_t seen = s->final + s->checking;
    uint64_t enough = s->total / 4 + 1;
    double done, left, rate, p50;

    if (enough > SEEN_MIN)
        enough = SEEN_MIN;
    if (s->busy_ms < BUSY_MIN_MS || seen < enough || s->final > s->total)
        return false;
    done = (double)s->final + part_checking * (double)s->checking +
           part_running * (double)s->running;
    left = fmax((double)s->total - done, 0);
    rate = done / (double)s->busy_ms;
    if (s->recent_ms >= RECENT_MIN_MS && s->recent_final >= RECENT_MIN)
        rate = (double)s->recent_final / (double)s->recent_ms;
    p50 = left / rate / 1000;
    // The last lines have to be checked when they are computed: half as long
    // as what is left of those takes that are under way now.
    p50 +=
        0.5 *
        fmin(((double)s->running + (1 - part_checking) * (double)s->checking) /
                 rate,
             (double)s->busy_ms) /
        1000;
    // While the first lines are under way the rate is too low: who has seen
    // little of a long batch would say too much.
    if (s->busy_ms < BUSY_ENOUGH_MS && (double)s->busy_ms < 1000 * p50 / 9)
        return false;
    out->p50_s = p50;
    out->p90_s = p50 * (1 + z90 * (doubt + 1 / sqrt((double)seen))) + least_s;
    return true;
}
