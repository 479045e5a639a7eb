#include "engine/rope.h"

#include "engine/fixed.h"

void rope_compose(int32_t *out, const int16_t *low, const int16_t *high,
                  uint32_t position, uint32_t head_dim)
{
    uint32_t half = head_dim / 2;
    const int16_t *a = low + (size_t)(position % FORMAT_ROPE_LOW) * head_dim;
    const int16_t *b = high + (size_t)(position / FORMAT_ROPE_LOW) * head_dim;

    for (uint32_t i = 0; i < half; i++) {
        int32_t c = a[i] * b[i] - a[half + i] * b[half + i];
        int32_t s = a[half + i] * b[i] + a[i] * b[half + i];

        out[i] = engine_round_shift(c, FORMAT_ROPE_Q);
        out[half + i] = engine_round_shift(s, FORMAT_ROPE_Q);
    }
}

void rope_rotate(int32_t *head, const int32_t *rotation, uint32_t head_dim)
{
    uint32_t half = head_dim / 2;

    for (uint32_t i = 0; i < half; i++) {
        int32_t c = rotation[i], s = rotation[half + i];
        int32_t x = head[i], y = head[half + i];

        head[i] = engine_sat(engine_mul_shift(x, c, FORMAT_ROPE_Q) -
                             engine_mul_shift(y, s, FORMAT_ROPE_Q));
        head[half + i] = engine_sat(engine_mul_shift(y, c, FORMAT_ROPE_Q) +
                                    engine_mul_shift(x, s, FORMAT_ROPE_Q));
    }
}
