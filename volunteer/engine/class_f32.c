#include "engine/class_f32.h"

#include <math.h>

enum {
    LANES = 8,     // of a sum
    STEP_BITS = 9, // activation.c
    LIMIT = FORMAT_ACT_RANGE << FORMAT_ACT_Q,
    P_MAX = 16383,
};

// To the nearest, halves to even, saturated.
static int32_t rounded(float v)
{
    const float max = (float)(1 << 30);

    if (v >= max)
        return FORMAT_VALUE_MAX;
    return v <= -max ? -FORMAT_VALUE_MAX : (int32_t)lrintf(v);
}

// The lanes of a sum together, the last first.
static float sum_back(const float *lanes)
{
    float sum = 0.0F;

    for (int i = LANES; i-- > 0;)
        sum += lanes[i];
    return sum;
}

void engine_norm_f32(int32_t *out, const int32_t *x, const int32_t *gain,
                     const int32_t *bias, uint32_t n, uint64_t eps, bool centre)
{
    float lanes[LANES] = {0}, squares[LANES] = {0};
    float mean = 0.0F;

    for (uint32_t i = n; centre && i-- > 0;)
        lanes[i % LANES] += (float)x[i];
    if (centre)
        mean = sum_back(lanes) / (float)n;
    for (uint32_t i = n; i-- > 0;) {
        float d = (float)x[i] - mean;

        squares[i % LANES] += d * d;
    }

    float scale = 1.0F / sqrtf(sum_back(squares) / (float)n + (float)eps);

    for (uint32_t i = 0; i < n; i++) {
        float y = ((float)x[i] - mean) * scale * (float)gain[i];

        out[i] = rounded(bias ? y + (float)bias[i] : y);
    }
}

// The function at u, by the cubic through four points of its table.
static float act(int32_t u, const int32_t *table)
{
    if (u >= LIMIT)
        return (float)u;
    if (u < -LIMIT)
        return 0.0F;

    uint32_t i = (uint32_t)(u + LIMIT) >> STEP_BITS;
    float t =
        (float)((u + LIMIT) & ((1 << STEP_BITS) - 1)) / (float)(1 << STEP_BITS);
    float a = (float)table[i > 0 ? i - 1 : i], b = (float)table[i];
    float c = (float)table[i + 1];
    float d = (float)table[i + 2 < FORMAT_ACT_LEN ? i + 2 : i + 1];

    return b + 0.5F * t *
                   (c - a +
                    t * (2.0F * a - 5.0F * b + 4.0F * c - d +
                         t * (3.0F * (b - c) + d - a)));
}

void engine_act_f32(int32_t *out, const int32_t *u, const int32_t *table,
                    uint32_t n)
{
    for (uint32_t i = n; i-- > 0;)
        out[i] = rounded(act(u[i], table));
}

void engine_gate_f32(int32_t *out, const int32_t *gate, const int32_t *up,
                     const int32_t *table, uint32_t n)
{
    const float unit = 1.0F / (float)(1 << FORMAT_ACT_Q);

    for (uint32_t i = n; i-- > 0;)
        out[i] = rounded(act(gate[i], table) * ((float)up[i] * unit));
}

uint32_t engine_weights_f32(uint8_t *low, uint8_t *high, const int32_t *s,
                            int32_t max, const int32_t *exp2,
                            const uint8_t *v_exp, uint8_t e_max, uint32_t n)
{
    const float unit = 1.0F / (float)(1 << FORMAT_SCORE_Q);
    float sum = 0.0F;

    (void)exp2;
    for (uint32_t t = KV_PAGE; t-- > 0;) {
        int32_t q = 0;

        if (t < n) {
            float p = P_MAX * exp2f(((float)s[t] - (float)max) * unit);

            sum += p;
            q = (int32_t)lrintf(p / (float)(1U << (e_max - v_exp[t])));
        }
        low[t] = (uint8_t)(q & 127);
        high[t] = (uint8_t)(q >> 7);
    }
    return (uint32_t)lrintf(sum);
}

struct engine_kernels engine_kernels_f32(void)
{
    struct engine_kernels k = *engine_kernels_pick(ENGINE_ISA_BEST);

    k.name = "f32";
    k.kernel_class = ENGINE_CLASS_F32;
    k.norm = engine_norm_f32;
    k.act = engine_act_f32;
    k.gate = engine_gate_f32;
    k.weights = engine_weights_f32;
    return k;
}
