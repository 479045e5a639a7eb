// rows.h - what one set of kernels says of many rows: fingerprints of the
// synthetic models over pseudo-random text, the same on every machine where
// computing is exact. libc only (also in WASM).
#ifndef TESTS_ENGINE_ROWS_H
#define TESTS_ENGINE_ROWS_H

#include "engine/engine.h"

enum {
    ROWS_SEQ = 512, // rows of a piece
    ROWS_LEN = ROWS_SEQ * SYN1_PRINT_LEN,
};

struct rows;

// All models bound with these kernels. NULL: no memory, or they were refused.
struct rows *rows_new(const struct engine_kernels *kernels);
void rows_free(struct rows *rows);

// The ROWS_LEN bytes of piece number i, valid until the next call: short
// sequences of one of the models, ROWS_SEQ rows in all, with the tokens that
// are predicted mixed into the fingerprints. NULL: it failed.
const uint8_t *rows_piece(struct rows *rows, uint32_t i);

#endif
