// The matrix product with WASM relaxed SIMD: biased weights, 1..127, are the
// i7 operand, so every engine gives the same sums, and corr takes the bias out.
//
// Where the machine has a dot instruction of its own (VNNI, NEON dotprod), the
// 32-bit product is one instruction; elsewhere it is five, and matmul_pairs.c
// is faster.
#include "engine/matmul_wasm.h"

FULLY_INLINED void dots(v128_t *dot, const uint8_t *w, const int8_t *q,
                        size_t step, const int32_t *corr, size_t groups,
                        const int R, const int V)
{
#pragma clang loop unroll(full)
    for (int i = 0; i < R * V; i++)
        dot[i] = wasm_i32x4_splat(-corr[(size_t)(i / V) * groups]);
#pragma clang loop unroll(disable)
    for (int k = 0; k < FORMAT_GROUP; k += 4) {
        v128_t wide[4];

#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++)
            wide[v] = wasm_v128_load(w + 16 * k + 16 * v);
#pragma clang loop unroll(full)
        for (int r = 0; r < R; r++) {
            v128_t a = wasm_v128_load32_splat(q + (size_t)r * step + k);

#pragma clang loop unroll(full)
            for (int v = 0; v < V; v++)
                dot[r * V + v] = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(
                    a, wide[v], dot[r * V + v]);
        }
    }
}

void matmul_relaxed(int32_t *out, size_t ld, const struct matmul_input *in,
                    const struct matmul_weight *weight, uint32_t block,
                    uint32_t block_end)
{
    walk(out, ld, in, weight, block, block_end, 4, 2, 4, dots);
}
