// wire.h - a residual row to the form in which it crosses shard boundaries
// (syn1.h, "a row"): int8 mantissas, one exponent a group of 32.
#ifndef ENGINE_WIRE_H
#define ENGINE_WIRE_H

#include <stdint.h>

// row gets syn1_row_len(n) bytes. For each group of 32 (the last may be
// shorter): e = max(0, bits(max |x|) - 7), mantissa = x / 2^e rounded half up,
// clamped to +-127.
void wire_put(uint8_t *row, const int32_t *x, uint32_t n);

// x = mantissa << exponent, saturated to +-FORMAT_VALUE_MAX.
void wire_get(int32_t *x, const uint8_t *row, uint32_t n);

#endif
