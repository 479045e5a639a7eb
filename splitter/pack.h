// pack.h - 16 float rows to the tiles, mantissas and exponents of format.h.
#ifndef SPLITTER_PACK_H
#define SPLITTER_PACK_H

#include "splitter/format.h"

// Pack n (1..16) rows of n_cols floats as one block. tiles has n_groups * 1024
// bytes, mantissas n_groups * 16; exps (16) gets each row's power of two: the
// weight is w * m * 2^exp, and |exp| <= FORMAT_ROW_EXP_MAX / 2. Rows past n are
// padding. A row whose weights are all below 63 * 2^-24 becomes zeros.
// ERR_RANGE: a weight above 63 * 255 * 2^32.
MUST_USE enum err pack_block(const float *rows, uint32_t n, uint32_t n_cols,
                             uint8_t *tiles, uint8_t *mantissas, int32_t *exps);

#endif
