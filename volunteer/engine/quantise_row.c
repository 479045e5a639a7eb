#include "engine/kernels.h"

static uint32_t largest_abs(const int32_t *v, uint32_t n)
{
    uint32_t max = 0;

    for (uint32_t i = 0; i < n; i++)
        if (engine_abs(v[i]) > max)
            max = engine_abs(v[i]);
    return max;
}

uint8_t engine_quantise_ref(int8_t *q, uint8_t *e, int32_t *corr,
                            const int32_t *v, uint32_t n)
{
    uint8_t e_max = 0;

    for (uint32_t from = 0; from < n; from += FORMAT_GROUP, e++, corr++) {
        uint32_t len = n - from < FORMAT_GROUP ? n - from : FORMAT_GROUP;
        uint32_t bits = engine_bits(largest_abs(v + from, len));
        uint32_t shift = bits > 7 ? bits - 7 : 0;
        int32_t sum = 0;

        assert(bits <= 30);
        for (uint32_t i = 0; i < FORMAT_GROUP; i++) {
            int32_t x = i < len ? engine_round_shift(v[from + i], shift) : 0;

            x = x > 127 ? 127 : x < -127 ? -127 : x;
            q[from + i] = (int8_t)x;
            sum += x;
        }
        *e = (uint8_t)shift;
        *corr = sum * FORMAT_WEIGHT_BIAS;
        if (shift > e_max)
            e_max = (uint8_t)shift;
    }
    return e_max;
}

int32_t engine_max_ref(const int32_t *v, uint32_t n)
{
    int32_t max = v[0];

    for (uint32_t i = 1; i < n; i++)
        if (v[i] > max)
            max = v[i];
    return max;
}
