// activation.c - GELU or SiLU from the shard's table, with linear
// interpolation between its 4096 intervals (format.h, "act").
#include "engine/kernels.h"

enum {
    STEP_BITS = 9, // Q16 over 4096 intervals from -16 to 16: 2^21 / 2^12
    LIMIT = FORMAT_ACT_RANGE << FORMAT_ACT_Q
};

static int32_t act(int32_t u, const int32_t *table)
{
    if (u >= LIMIT)
        return u;
    if (u < -LIMIT)
        return 0;

    uint32_t i = (uint32_t)(u + LIMIT) >> STEP_BITS;
    int32_t f = (u + LIMIT) & ((1 << STEP_BITS) - 1);

    // |difference| < 2^11 where the function is one of ours: 2^20 at most.
    return table[i] +
           engine_round_shift((table[i + 1] - table[i]) * f, STEP_BITS);
}

void engine_act_ref(int32_t *out, const int32_t *u, const int32_t *table,
                    uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = act(u[i], table);
}

void engine_gate_ref(int32_t *out, const int32_t *gate, const int32_t *up,
                     const int32_t *table, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = engine_mul_shift(act(gate[i], table), up[i], FORMAT_ACT_Q);
}
