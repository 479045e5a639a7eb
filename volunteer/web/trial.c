#include "web/trial.h"

#include <stdlib.h>

#include "engine/memory.h"

static const double LIMIT_MS = 30; // for each candidate

enum {
    T = 16, // rows, blocks and groups of the product that is timed
    NB = 4,
    G = 8,
    ROUNDS = 40,
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
    _Alignas(64) int32_t out[T * NB * FORMAT_BLOCK];
};

static void fill(struct trial *t)
{
    memset(t->w, FORMAT_WEIGHT_BIAS + 1, sizeof t->w);
    memset(t->m, 1, sizeof t->m);
    memset(t->q, 1, sizeof t->q);
    for (int i = 0; i < T * G; i++)
        t->corr[i] = FORMAT_WEIGHT_BIAS * FORMAT_GROUP;
}

// The shortest of several rounds: the first ones wait for the compiler.
static double shortest_ms(struct trial *t, matmul_fn *matmul,
                          double (*now_ms)(void))
{
    const struct matmul_weight weight = {
        t->w, t->m, t->e, t->b, NB * FORMAT_BLOCK, G * FORMAT_GROUP, NB, G};
    const struct matmul_input in = {t->q, t->exp, t->corr, t->exp_max, T};
    double begun = now_ms();
    double shortest = LIMIT_MS;

    for (int round = 0; round < ROUNDS && now_ms() - begun < LIMIT_MS;
         round++) {
        double before = now_ms(), ms;

        for (int i = 0; i < 20; i++)
            matmul(t->out, NB * FORMAT_BLOCK, &in, &weight, 0, NB);
        ms = now_ms() - before;
        if (ms < shortest)
            shortest = ms;
    }
    return shortest;
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
    if (shortest_ms(t, other->matmul, now_ms) <
        shortest_ms(t, best->matmul, now_ms))
        best = other;
    free(t);
    return best;
}
