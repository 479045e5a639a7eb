#include "web/trial.h"

#include <stdlib.h>

#include "engine/memory.h"

static const double LIMIT_MS = 60;

enum {
    T = 16, // rows, blocks and groups of the product that is timed
    NB = 4,
    G = 8,
    ROUNDS_MIN = 10,
    ROUNDS_MAX = 80,
};

// The matrices of the product, in one piece of memory.
struct trial {
    _Alignas(64) uint8_t w[NB * G * FORMAT_TILE];
    _Alignas(64) uint8_t m[NB * G * FORMAT_BLOCK];
    _Alignas(64) int32_t e[NB * FORMAT_BLOCK];
    _Alignas(64) int32_t b[NB * FORMAT_BLOCK];
    _Alignas(64) int8_t q[T * G * FORMAT_GROUP];
    _Alignas(64) uint8_t exp[T * G];
    _Alignas(64) int32_t corr[T * G];
    _Alignas(64) uint8_t exp_max[T];
    struct matmul_panel panels[T / MATMUL_PANEL_ROWS * G];
    _Alignas(64) int32_t out[T * NB * FORMAT_BLOCK];
};

static void fill(struct trial *t)
{
    memset(t->w, FORMAT_WEIGHT_BIAS + 1, sizeof t->w);
    memset(t->m, 1, sizeof t->m);
    memset(t->q, 1, sizeof t->q);
    for (int i = 0; i < T * G; i++)
        t->corr[i] = FORMAT_WEIGHT_BIAS * FORMAT_GROUP;
    for (uint32_t r = 0; r < T; r++)
        matmul_lay_ref(t->panels, r, t->q + r * G * FORMAT_GROUP,
                       t->exp + r * G, 0, G);
}

// Milliseconds of some products.
static double time_ms(struct trial *t, matmul_fn *matmul,
                      double (*now_ms)(void))
{
    const struct matmul_weight weight = {
        t->w, t->m, t->e, t->b, NB * FORMAT_BLOCK, G * FORMAT_GROUP, NB, G};
    const struct matmul_input in = {t->q,       t->exp, t->corr,
                                    t->exp_max, T,      t->panels};
    double before = now_ms();

    for (int i = 0; i < 10; i++)
        matmul(t->out, NB * FORMAT_BLOCK, &in, &weight, 0, NB);
    return now_ms() - before;
}

// Whether b is faster than a, by each one's shortest round: the first ones wait
// for the compiler, and any may be held up. They take turns, so that neither
// has the better moment.
static bool second_wins(struct trial *t, matmul_fn *a, matmul_fn *b,
                        double (*now_ms)(void))
{
    double begun = now_ms();
    double shortest_a = LIMIT_MS, shortest_b = LIMIT_MS;

    for (int round = 0; round < ROUNDS_MIN ||
                        (round < ROUNDS_MAX && now_ms() - begun < LIMIT_MS);
         round++) {
        double ms_a = time_ms(t, a, now_ms), ms_b = time_ms(t, b, now_ms);

        shortest_a = ms_a < shortest_a ? ms_a : shortest_a;
        shortest_b = ms_b < shortest_b ? ms_b : shortest_b;
    }
    return shortest_b < shortest_a;
}

const struct engine_kernels *trial_fastest(double (*now_ms)(void))
{
    const struct engine_kernels *best = engine_kernels_pick(ENGINE_ISA_BEST);
    const struct engine_kernels *other =
        engine_kernels_pick(ENGINE_ISA_RELAXED_PAIRS);
    struct trial *t;

    if (!other)
        return best;
    t = memory_new(1, sizeof *t);
    if (!t)
        return best;
    fill(t);
    if (second_wins(t, best->matmul, other->matmul, now_ms))
        best = other;
    free(t);
    return best;
}
