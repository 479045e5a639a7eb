#include "scheduler/plan_make.h"

#include <stdlib.h>
#include <string.h>

#include "redundancy/project.h"

enum {
    COPIES = 2, // that each span should have
    SLOW = 10,  // so many times slower than the median is no help
};

uint64_t plan_need(const struct sched_shard *shards, size_t first, size_t end)
{
    uint64_t need = 0, scratch = 0;

    for (size_t i = first; i < end; i++) {
        need += shards[i].n_bytes + shards[i].kv_bytes;
        if (shards[i].scratch_bytes > scratch)
            scratch = shards[i].scratch_bytes;
    }
    return need + scratch;
}

// What plan_make works on.
struct making {
    const struct sched_shard *shards;
    size_t n_shards;
    const struct plan_volunteer *volunteers;
    size_t n;
    int *stages;
    uint32_t least_speed; // that counts
    size_t n_near;        // of class f32
};

static int by_memory(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x > y ? -1 : x < y;
}

static bool is_slow(const struct making *m, size_t v)
{
    uint32_t speed = m->volunteers[v].speed;

    return speed && speed < m->least_speed;
}

static bool fits(const struct making *m, size_t v, const uint16_t span[2])
{
    uint32_t n_layers = 0;

    for (size_t i = span[0]; i < span[1]; i++)
        n_layers += m->shards[i].n_layers;
    if (m->volunteers[v].near &&
        (span[1] == m->n_shards || n_layers > REDUN_LAYERS_MAX))
        return false;
    return m->volunteers[v].memory >= plan_need(m->shards, span[0], span[1]);
}

// Fill spans from the first shard on, the i-th with what caps[i] holds but no
// more than limit. Returns the number of boundaries; 0 if caps do not suffice.
static size_t fill(const struct making *m, const uint64_t *caps, size_t n_caps,
                   uint64_t limit, uint16_t *path)
{
    size_t at = 0, n = 0;

    path[n++] = 0;
    for (size_t i = 0; i < n_caps && at < m->n_shards; i++) {
        uint64_t cap = caps[i] < limit ? caps[i] : limit;
        size_t end = at;

        while (end < m->n_shards && plan_need(m->shards, at, end + 1) <= cap)
            end++;
        if (end == at)
            return 0;
        at = end;
        path[n++] = (uint16_t)at;
    }
    return at == m->n_shards ? n : 0;
}

// The fewest spans of which copies volunteers can each hold one, and of these
// the most even. sorted: their memory, largest first.
static size_t split(const struct making *m, const uint64_t *sorted,
                    size_t n_sorted, size_t copies, uint16_t *path)
{
    uint64_t *caps = calloc(n_sorted + 1, sizeof *caps);
    uint64_t low = 0, high = plan_need(m->shards, 0, m->n_shards);
    size_t n_caps = n_sorted / copies, n, least;

    if (!caps)
        return 0;
    for (size_t i = 0; i < n_caps; i++)
        caps[i] = sorted[i * copies + copies - 1];
    least = fill(m, caps, n_caps, high, path);
    while (least && low + 1 < high) {
        uint64_t limit = low + (high - low) / 2;

        n = fill(m, caps, n_caps, limit, path);
        if (n && n <= least)
            high = limit;
        else
            low = limit;
    }
    n = least ? fill(m, caps, n_caps, high, path) : 0;
    free(caps);
    return n;
}

// Those of class exact (sorted, n_sorted of them) do not suffice: one copy,
// with those of class f32.
static size_t split_near(const struct making *m, const uint64_t *sorted,
                         size_t n_sorted, uint16_t *path)
{
    uint64_t *all = calloc(m->n + 1, sizeof *all);
    size_t n_all = n_sorted, n;

    if (!all)
        return 0;
    memcpy(all, sorted, n_sorted * sizeof *all);
    // no span is larger than the largest exact one, who takes the head, can
    // hold
    for (size_t v = 0; v < m->n; v++)
        if (n_sorted && m->volunteers[v].near && !is_slow(m, v))
            all[n_all++] =
                m->volunteers[v].memory && m->volunteers[v].memory < sorted[0]
                    ? m->volunteers[v].memory
                    : sorted[0];
    qsort(all, n_all, sizeof *all, by_memory);
    n = n_sorted ? split(m, all, n_all, 1, path) : 0;
    free(all);
    return n;
}

// Nothing suffices: spans as the largest would hold them.
static size_t split_short(const struct making *m, uint64_t largest,
                          uint16_t *path)
{
    size_t n = 0, at = 0;

    path[n++] = 0;
    while (at < m->n_shards) {
        size_t end = at + 1;

        while (end < m->n_shards &&
               plan_need(m->shards, at, end + 1) <= largest)
            end++;
        at = end;
        path[n++] = (uint16_t)at;
    }
    return n;
}

// Give volunteer v the span, or PLAN_NONE.
static void put(const struct making *m, struct plan *plan, size_t v, int stage)
{
    uint16_t *n = m->volunteers[v].near ? plan->n_near : plan->n_holders;
    int was = m->stages[v];

    if (was >= 0 && !is_slow(m, v))
        n[was]--;
    m->stages[v] = stage;
    if (stage >= 0 && !is_slow(m, v))
        n[stage]++;
}

// Pins first, then what they hold already.
static void stay(const struct making *m, struct plan *plan)
{
    for (size_t v = 0; v < m->n; v++) {
        const struct plan_volunteer *who = &m->volunteers[v];

        if (m->stages[v] == PLAN_WHOLE)
            continue;
        for (size_t i = 0; i + 1 < plan->n_path; i++) {
            const uint16_t *span = &plan->path[i];

            if (who->near && !fits(m, v, span))
                continue;
            if (who->pinned && memcmp(who->pin, span, sizeof who->pin) == 0)
                put(m, plan, v, (int)i);
            for (size_t h = 0; h < who->n_held; h++)
                if (!who->pinned && fits(m, v, span) &&
                    memcmp(who->held[h], span, sizeof who->held[h]) == 0)
                    put(m, plan, v, (int)i);
        }
    }
}

// One of class exact for span i: without a span, or from one that keeps COPIES
// (one, if span i has none at all). Of those the one with the least memory.
static bool find(const struct making *m, const struct plan *plan, size_t i,
                 size_t *out)
{
    bool found = false, found_free = false;

    for (size_t v = 0; v < m->n; v++) {
        int stage = m->stages[v];
        bool is_free = stage == PLAN_NONE;
        unsigned spare = plan->n_holders[i] ? COPIES : 1;

        if (stage == PLAN_WHOLE || stage == (int)i || m->volunteers[v].pinned ||
            m->volunteers[v].near || is_slow(m, v) ||
            !fits(m, v, &plan->path[i]))
            continue;
        if (!is_free && plan->n_holders[stage] <= spare)
            continue;
        if (found && (found_free > is_free ||
                      (found_free == is_free &&
                       m->volunteers[*out].memory <= m->volunteers[v].memory)))
            continue;
        found = true;
        found_free = is_free;
        *out = v;
    }
    return found;
}

static unsigned holders(const struct plan *plan, size_t i)
{
    return (unsigned)plan->n_holders[i] + plan->n_near[i];
}

// Nobody holds span i: one of class f32 moves there from one that keeps another
// holder.
static void move_near(const struct making *m, struct plan *plan, size_t i)
{
    for (size_t v = 0; v < m->n && !holders(plan, i); v++) {
        const struct plan_volunteer *who = &m->volunteers[v];

        if (who->near && !who->pinned && !is_slow(m, v) && m->stages[v] >= 0 &&
            holders(plan, (size_t)m->stages[v]) > 1 &&
            fits(m, v, &plan->path[i]))
            put(m, plan, v, (int)i);
    }
}

// The span that volunteer v helps most: the one with the fewest holders.
static int neediest(const struct making *m, const struct plan *plan, size_t v)
{
    int best = PLAN_NONE;

    for (size_t i = 0; i + 1 < plan->n_path; i++)
        if (fits(m, v, &plan->path[i]) &&
            (best < 0 || holders(plan, i) < holders(plan, (size_t)best)))
            best = (int)i;
    return best;
}

// Who holds what of plan->path. Returns the fewest holders that a span has. The
// head comes first where others can be left to class f32.
static unsigned assign(const struct making *m, struct plan *plan)
{
    unsigned least = UINT16_MAX;
    size_t v;

    memset(plan->n_holders, 0, sizeof plan->n_holders);
    memset(plan->n_near, 0, sizeof plan->n_near);
    for (v = 0; v < m->n; v++)
        if (m->stages[v] != PLAN_WHOLE)
            m->stages[v] = PLAN_NONE;
    stay(m, plan);
    for (unsigned copies = 1; copies <= COPIES; copies++)
        for (size_t k = 0; k + 1 < plan->n_path; k++) {
            size_t i = m->n_near ? plan->n_path - 2 - k : k;

            if (plan->n_holders[i] < copies && find(m, plan, i, &v))
                put(m, plan, v, (int)i);
        }
    for (v = 0; v < m->n; v++)
        if (m->stages[v] == PLAN_NONE && !m->volunteers[v].pinned)
            put(m, plan, v, neediest(m, plan, v));
    for (size_t i = 0; i + 1 < plan->n_path; i++)
        move_near(m, plan, i);
    plan->missing = 0;
    for (size_t i = plan->n_path - 1; i-- > 0;) {
        if (holders(plan, i) < least)
            least = holders(plan, i);
        if (!holders(plan, i))
            plan->missing = plan->path[i] + 1u;
    }
    return least;
}

static int by_speed(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static uint32_t least_speed(const struct plan_volunteer *volunteers, size_t n)
{
    uint32_t *speeds = calloc(n + 1, sizeof *speeds), least = 0;
    size_t n_known = 0;

    for (size_t i = 0; speeds && i < n; i++)
        if (volunteers[i].speed)
            speeds[n_known++] = volunteers[i].speed;
    if (n_known >= 3) {
        qsort(speeds, n_known, sizeof *speeds, by_speed);
        least = speeds[n_known / 2] / SLOW;
    }
    free(speeds);
    return least;
}

// Can somebody with so much memory hold any span of this path?
static bool all_fit(const struct making *m, const uint16_t *path, size_t n,
                    uint64_t memory)
{
    for (size_t i = 0; i + 1 < n; i++)
        if (plan_need(m->shards, path[i], path[i + 1]) > memory)
            return false;
    return true;
}

static void keep(struct plan *plan, const uint16_t *now, size_t n_now)
{
    memcpy(plan->path, now, n_now * sizeof *now);
    plan->n_path = n_now;
}

void plan_make(const struct sched_shard *shards, size_t n_shards,
               const struct plan_volunteer *volunteers, size_t n,
               const uint16_t *now, size_t n_now, bool fixed, int *stages,
               struct plan *out)
{
    struct making m = {
        shards, n_shards, volunteers, n, stages, least_speed(volunteers, n), 0};
    uint64_t all = plan_need(shards, 0, n_shards);
    uint64_t *sorted = calloc(n + 1, sizeof *sorted);
    size_t n_small = 0;

    *out = (struct plan){0};
    for (size_t v = 0; v < n; v++) {
        bool whole = !volunteers[v].memory || volunteers[v].memory >= all;

        if (volunteers[v].pinned || volunteers[v].near)
            whole = false;
        m.n_near += volunteers[v].near;
        stages[v] = whole ? PLAN_WHOLE : PLAN_NONE;
        out->whole |= whole;
        if (!whole && sorted && !is_slow(&m, v) && !volunteers[v].near)
            sorted[n_small++] = volunteers[v].memory;
    }
    if ((n_small || fixed) && sorted) {
        qsort(sorted, n_small, sizeof *sorted, by_memory);
        unsigned copies = COPIES, least = 0;
        size_t n_new = 0;

        if (!fixed) {
            n_new = split(&m, sorted, n_small, copies, out->path);
            if (!n_new)
                n_new = split(&m, sorted, n_small, copies = 1, out->path);
            if (!n_new && m.n_near)
                n_new = split_near(&m, sorted, n_small, out->path);
            if (!n_new) {
                n_new = split_short(&m, sorted[0], out->path);
                copies = 0;
            }
        }
        out->n_path = n_new;
        if (n_now &&
            (fixed || (n_now <= n_new && all_fit(&m, now, n_now, sorted[0])))) {
            uint16_t made[PLAN_SHARDS_MAX + 1];

            memcpy(made, out->path, sizeof made);
            keep(out, now, n_now);
            least = assign(&m, out);
            if (!fixed && least < copies)
                keep(out, made, n_new);
            else
                n_new = 0;
        }
        if (n_new)
            (void)assign(&m, out);
    }
    if (out->whole)
        out->missing = 0;
    else if (!out->n_path)
        out->missing = 1;
    free(sorted);
}
