#include "engine/wire.h"

#include "base/syn1.h"
#include "engine/fixed.h"

void wire_put(uint8_t *row, const int32_t *x, uint32_t n)
{
    uint8_t *exps = row + n;

    for (uint32_t from = 0; from < n; from += SYN1_GROUP) {
        uint32_t end = from + SYN1_GROUP < n ? from + SYN1_GROUP : n;
        uint32_t max = 0;

        for (uint32_t i = from; i < end; i++)
            if (engine_abs(x[i]) > max)
                max = engine_abs(x[i]);

        uint32_t bits = engine_bits(max);
        uint32_t e = bits > 7 ? bits - 7 : 0;

        assert(bits <= 30);
        for (uint32_t i = from; i < end; i++) {
            int32_t m = engine_round_shift(x[i], e);

            row[i] = (uint8_t)(m > 127 ? 127 : m < -127 ? -127 : m);
        }
        *exps++ = (uint8_t)e;
    }
}

void wire_get(int32_t *x, const uint8_t *row, uint32_t n)
{
    const uint8_t *exps = row + n;

    for (uint32_t i = 0; i < n; i++) {
        int32_t m = row[i] < 128 ? row[i] : row[i] - 256;

        x[i] = engine_left_shift(m, exps[i / SYN1_GROUP]);
    }
}
