#include "splitter/floats.h"

#include <string.h>

#include "base/bytes.h"

static float from_bits(uint32_t bits)
{
    float out;

    memcpy(&out, &bits, sizeof out);
    return out;
}

static float from_f16(uint32_t h)
{
    uint32_t sign = (h & 0x8000) << 16, exp = h >> 10 & 0x1f, frac = h & 0x3ff;
    float out;

    if (exp == 0) { // zero or subnormal: frac * 2^-24, exact
        out = (float)frac * 0x1p-24f;
        return sign ? -out : out;
    }
    exp = exp == 31 ? 255 : exp - 15 + 127;
    return from_bits(sign | exp << 23 | frac << 13);
}

void floats_read(enum safetensors_dtype dtype, const uint8_t *p, size_t n,
                 float *out)
{
    if (dtype == SAFETENSORS_F32)
        for (size_t i = 0; i < n; i++)
            out[i] = from_bits(bytes_peek_u32(p + 4 * i));
    else if (dtype == SAFETENSORS_BF16)
        for (size_t i = 0; i < n; i++)
            out[i] = from_bits((uint32_t)p[2 * i] << 16 | (uint32_t)p[2 * i + 1]
                                                              << 24);
    else
        for (size_t i = 0; i < n; i++)
            out[i] = from_f16((uint32_t)p[2 * i] | (uint32_t)p[2 * i + 1] << 8);
}
