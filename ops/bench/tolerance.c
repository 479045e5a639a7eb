// tolerance - how far apart honest results are: class f32 beside exact, by
// boundary, and kernel sets of class exact beside each other.
//
//   tolerance HF_DIR A-B ROWS SEED [FIRST END]
//
// A and B: f32, best, ref, avx2. Shards have one layer each; without FIRST and
// END every span of up to four layers without the head gets an equal part of
// ROWS. A line a span:
//
//   model A-B first end rows rejected off1% off2% far1 far4 far16 far32 far64
//
// far: the largest distance of so many rows together, in units of the row's
// width and the mean square unit; tolerance.h has 256 times that. Exits 1 if a
// group of 16 rows or more (class exact: a row) was rejected.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/class_f32.h"
#include "honest.h"
#include "packed.h"

enum { LAYERS = 6 }; // of the models here

struct side {
    const char *name;
    struct engine_kernels kernels;
};

static bool side_parse(const char *name, size_t len, struct side *out)
{
    static const struct {
        const char *name;
        enum engine_isa isa;
    } sets[] = {{"best", ENGINE_ISA_BEST},
                {"ref", ENGINE_ISA_REF},
                {"avx2", ENGINE_ISA_AVX2}};

    if (len == 3 && strncmp(name, "f32", len) == 0) {
        *out = (struct side){"f32", engine_kernels_f32()};
        return true;
    }
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        const struct engine_kernels *k = engine_kernels_pick(sets[i].isa);

        if (k && strlen(sets[i].name) == len &&
            strncmp(name, sets[i].name, len) == 0) {
            *out = (struct side){sets[i].name, *k};
            return true;
        }
    }
    return false;
}

static bool number(const char *text, uint64_t *out)
{
    uint64_t v = 0;

    if (!*text || strlen(text) > 18)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        v = v * 10 + (uint64_t)(*text - '0');
    }
    *out = v;
    return true;
}

static struct engine *engine_over(const struct packed *p, uint32_t first,
                                  uint32_t end,
                                  const struct engine_kernels *kernels)
{
    struct engine_options options = {.n_slots = 1, .kernels = kernels};

    return packed_engine(p, first, end, &options);
}

static void print(const char *model, const struct side sides[2], uint32_t first,
                  uint32_t end, const struct honest_tally *t)
{
    double values = (double)t->values;

    printf("%s %s-%s %u %u %" PRIu64 " %" PRIu64 " %.3f %.5f", model,
           sides[0].name, sides[1].name, first, end, t->rows,
           t->rejected[0] + t->rejected[1] + t->rejected[2] + t->rejected[3] +
               t->rejected[4],
           100.0 * (double)t->off_by_1 / values,
           100.0 * (double)t->off_by_2 / values);
    for (int l = 0; l < HONEST_LENGTHS; l++)
        printf(" %.4f", (double)t->largest[l] / 256.0);
    printf("\n");
    fflush(stdout);
}

// Compare over one span. Whether nothing was rejected.
static bool span(const char *model, const struct packed *p,
                 const struct side sides[2], uint32_t first, uint32_t end,
                 uint64_t n_rows, struct honest_text *text)
{
    struct honest_engines e = {
        .before = first ? engine_over(p, 0, first, NULL) : NULL,
        .a = engine_over(p, first, end, &sides[0].kernels),
        .b = engine_over(p, first, end, &sides[1].kernels)};
    struct honest_tally tally = {0};
    uint64_t bad = 0;

    if (sides[0].kernels.kernel_class || sides[1].kernels.kernel_class)
        e.kernel_class = ENGINE_CLASS_F32;
    honest_run(&e, text, n_rows, &tally);
    print(model, sides, first, end, &tally);
    for (int l = 0; l < HONEST_LENGTHS; l++)
        bad += tally.rejected[l];
    engine_free(e.before);
    engine_free(e.a);
    engine_free(e.b);
    return bad == 0;
}

int main(int argc, char **argv)
{
    const char *dash = argc >= 5 ? strchr(argv[2], '-') : NULL;
    uint64_t n_rows, seed, first = 0, end = 0;
    char path[512];
    struct side sides[2];
    bool good = true;

    if (!dash || !side_parse(argv[2], (size_t)(dash - argv[2]), &sides[0]) ||
        !side_parse(dash + 1, strlen(dash + 1), &sides[1]) ||
        !number(argv[3], &n_rows) || !number(argv[4], &seed) ||
        (argc == 7 && (!number(argv[5], &first) || !number(argv[6], &end))) ||
        (argc != 5 && argc != 7) || end >= LAYERS ||
        (argc == 7 && first >= end)) {
        fprintf(stderr, "usage: tolerance HF_DIR A-B ROWS SEED [FIRST END]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/golden.json", argv[1]);
    struct golden golden = golden_load(path);
    struct packed p = packed_from(argv[1], LAYERS, true);
    struct honest_text text = {&golden, seed};

    if (argc == 7) {
        good = span(argv[1], &p, sides, (uint32_t)first, (uint32_t)end, n_rows,
                    &text);
    } else {
        for (uint32_t a = 0; a < LAYERS - 1; a++)
            for (uint32_t b = a + 1;
                 b < LAYERS && b - a <= ENGINE_F32_LAYERS_MAX; b++)
                good &= span(argv[1], &p, sides, a, b, n_rows / 14, &text);
    }
    packed_release(&p);
    golden_release(&golden);
    return !good;
}
