// lies - how far wrong work is from the truth, and how much of it the limits
// of redundancy/tolerance.h find.
//
//   lies HF_DIR ROWS STINTS SEED [BEHIND]
//
// Stints of ROWS rows by a cheat that computes exactly but for its lie, checked
// in class exact and in class f32. They follow BEHIND (default 32) rows of
// others, which are not compared: of a line that the cheat took over; with 0 it
// had the line from its first row on. A line a span and mode on stderr:
//
//   model mode class first end stints wrong found least 0.1% 1%
//
// the last three being distances as `tolerance` prints them; then the table,
// a line a mode and class with what was found of what was wrong on all spans:
//
//   name ours limit ratio bar ok|short
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "packed.h"
#include "trial.h"

enum { LAYERS = 6, BEHIND = 32, BEHIND_MAX = 128, ROWS_MAX = 256 };

struct lies {
    const char *model;
    struct packed packed;
    struct golden golden;
    uint32_t n_rows, n_behind, n_stints;
    uint64_t random;
    uint64_t *distances; // n_stints
    struct {
        uint64_t wrong, found;
    } sums[CHEAT_END][2]; // by class
};

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static bool number(const char *text, uint32_t *out)
{
    uint32_t v = 0;

    if (!*text || strlen(text) > 8)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        v = v * 10 + (uint32_t)(*text - '0');
    }
    *out = v;
    return true;
}

static uint32_t below(struct lies *l, uint32_t n)
{
    l->random = l->random * UINT64_C(6364136223846793005) +
                UINT64_C(1442695040888963407);
    return (uint32_t)((l->random >> 32) * n >> 32);
}

// A piece of the model's text.
static void tokens_choose(struct lies *l, uint8_t *tokens, uint32_t n)
{
    const struct golden_window *w =
        &l->golden.windows[below(l, (uint32_t)l->golden.n_windows)];
    uint32_t from = below(l, w->n);
    struct bytes_out out = {.ptr = tokens, .cap = (size_t)n * 4};

    for (uint32_t i = 0; i < n; i++)
        bytes_put_u32(&out, w->ids[(from + i) % w->n]);
}

static struct trial_verdict stint(struct lies *l, struct engine *before,
                                  const struct trial_grid *g, uint64_t id,
                                  enum engine_class kernel_class)
{
    uint8_t tokens[(BEHIND_MAX + ROWS_MAX) * 4];
    uint32_t n = l->n_behind + l->n_rows;
    struct trial_rows t = {
        .id = id, .tokens = tokens, .n_rows = n, .step0 = 0, .step = n};
    struct trial_verdict v;
    uint8_t *rows = NULL;

    tokens_choose(l, tokens, n);
    if (before) {
        rows = trial_compute(NULL, before, &t);
        t.rows = rows;
        t.tokens = NULL;
    }
    t.seed = (uint64_t)below(l, UINT32_MAX) << 32;
    t.kernel_class = kernel_class;
    t.step0 = l->n_behind;
    v = trial_span(g, &t);
    free(rows);
    return v;
}

static struct engine *engine_over(const struct lies *l, uint32_t first,
                                  uint32_t end)
{
    struct engine_options options = {.n_slots = 1};

    return packed_engine(&l->packed, first, end, &options);
}

static void span(struct lies *l, enum cheat_mode mode, enum engine_class class,
                 uint32_t first, uint32_t end)
{
    struct cheat_plan plan = {
        .mode = mode, .chance = 1000, .flip = 1000, .seed = l->random};
    struct engine_options options = {.n_slots = 1};
    struct engine *before = first ? engine_over(l, 0, first) : NULL;
    struct trial_grid g = {.engine = engine_over(l, first, end),
                           .checker = engine_over(l, first, end)};
    uint32_t wrong = 0, found = 0, n = l->n_stints;
    double width = 256.0;

    if (cheat_new(&plan, l->packed.shards + first, end - first, &options,
                  &g.cheat)) {
        fprintf(stderr, "lies: no cheat\n");
        exit(1);
    }
    for (uint32_t s = 0; s < n; s++) {
        struct trial_verdict v = stint(l, before, &g, s + 1, class);

        wrong += v.wrong;
        found += v.found;
        l->distances[s] = v.distance;
    }
    qsort(l->distances, n, sizeof *l->distances, by_size);
    l->sums[mode][class].wrong += wrong;
    l->sums[mode][class].found += found;
    fprintf(stderr, "%s %s %s %u %u %u %u %u %.3f %.3f %.3f\n", l->model,
            cheat_name(mode), class ? "f32" : "exact", first, end, n, wrong,
            found, (double)l->distances[0] / width,
            (double)l->distances[n / 1000] / width,
            (double)l->distances[n / 100] / width);
    cheat_free(g.cheat);
    engine_free(before);
    engine_free(g.engine);
    engine_free(g.checker);
}

// What was found of a mode. Whether its bar is met; without one it is told.
static bool row(const struct lies *l, enum cheat_mode mode,
                enum engine_class class)
{
    bool barred = class == ENGINE_CLASS_EXACT ||
                  (mode != CHEAT_MATRIX4 && mode != CHEAT_ECHO &&
                   mode != CHEAT_EXPONENTS);
    double bar = class == ENGINE_CLASS_EXACT ? 1.0 : 0.999;
    double wrong = (double)l->sums[mode][class].wrong;
    double ours = wrong > 0 ? (double)l->sums[mode][class].found / wrong : 0;
    bool ok = !barred || ours >= bar;

    printf("%s %s, %s, %u rows%s\t%.4f\t%.4f\t%.4f\t%s\t%s\n", l->model,
           cheat_name(mode), class ? "f32" : "exact", l->n_rows,
           l->n_behind ? " of a line taken over" : "", ours, bar, ours / bar,
           barred ? ">= 1" : "none", ok ? "ok" : "short");
    return ok;
}

int main(int argc, char **argv)
{
    static const enum cheat_mode modes[] = {
        CHEAT_WEIGHTS4, CHEAT_MATRIX4, CHEAT_LAYER,
        CHEAT_CONTEXT,  CHEAT_REPLAY,  CHEAT_RANDOM,
        CHEAT_KV,       CHEAT_ECHO,    CHEAT_EXPONENTS};
    static const uint32_t spans[][2] = {{0, 1}, {2, 3}, {0, 4}, {1, 5}};
    struct lies l = {.n_behind = BEHIND};
    uint32_t seed;
    bool good = true;
    char path[512];

    if ((argc != 5 && argc != 6) || !number(argv[2], &l.n_rows) ||
        l.n_rows < 1 || l.n_rows > ROWS_MAX || !number(argv[3], &l.n_stints) ||
        l.n_stints < 1 || !number(argv[4], &seed) ||
        (argc == 6 &&
         (!number(argv[5], &l.n_behind) || l.n_behind > BEHIND_MAX))) {
        fprintf(stderr, "usage: lies HF_DIR ROWS STINTS SEED [BEHIND]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/golden.json", argv[1]);
    l.model = argv[1];
    l.random = seed;
    l.golden = golden_load(path);
    l.packed = packed_from(argv[1], LAYERS, true);
    l.distances = calloc(l.n_stints, sizeof *l.distances);
    if (!l.distances)
        return 1;
    for (size_t s = 0; s < sizeof spans / sizeof *spans; s++)
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
            for (int c = 0; c < 2; c++)
                span(&l, modes[m], (enum engine_class)c, spans[s][0],
                     spans[s][1]);
    for (int c = 0; c < 2; c++)
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
            good &= row(&l, modes[m], (enum engine_class)c);
    free(l.distances);
    packed_release(&l.packed);
    golden_release(&l.golden);
    return !good;
}
