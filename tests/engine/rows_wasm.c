// rows_wasm.c - rows.h as exports of a WebAssembly module.
#include "rows.h"

// NULL: this module has no such kernels.
struct rows *wasm_rows_new(enum engine_isa isa);
const uint8_t *wasm_rows_piece(struct rows *rows, uint32_t i);

__attribute__((export_name("rows_new"))) struct rows *
wasm_rows_new(enum engine_isa isa)
{
    const struct engine_kernels *k = engine_kernels_pick(isa);

    return k ? rows_new(k) : NULL;
}

__attribute__((export_name("rows_piece"))) const uint8_t *
wasm_rows_piece(struct rows *rows, uint32_t i)
{
    return rows_piece(rows, i);
}
