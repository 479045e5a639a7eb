// The matrix product with plain WASM SIMD, which has no product of bytes: both
// sides are widened to 16 bits and i32x4.dot_i16x8_s does the rest. Its pairs
// leave columns 0-1 and 2-3 of two weight rows in the lanes of one vector; they
// are added at the end of the group.
#include "engine/matmul_wasm.h"

FULLY_INLINED void dots(v128_t *dot, const uint8_t *w, const int8_t *q,
                        size_t step, const int32_t *corr, size_t groups,
                        const int R, const int V)
{
    v128_t half[2 * TILE_SUMS];

#pragma clang loop unroll(full)
    for (int i = 0; i < 2 * R * V; i++)
        half[i] = wasm_i32x4_splat(0);
#pragma clang loop unroll(disable)
    for (int k = 0; k < FORMAT_GROUP; k += 4) {
        v128_t a[TILE_ROWS];

        // Four bytes repeated twice, widened
#pragma clang loop unroll(full)
        for (int r = 0; r < R; r++)
            a[r] = wasm_i16x8_extend_low_i8x16(
                wasm_v128_load32_splat(q + (size_t)r * step + k));
#pragma clang loop unroll(full)
        for (int v = 0; v < V; v++) {
            v128_t bytes = wasm_v128_load(w + 16 * k + 16 * v);
            v128_t low = wasm_u16x8_extend_low_u8x16(bytes);
            v128_t high = wasm_u16x8_extend_high_u8x16(bytes);

#pragma clang loop unroll(full)
            for (int r = 0; r < R; r++) {
                v128_t *sum = half + 2 * (r * V + v);

                sum[0] =
                    wasm_i32x4_add(sum[0], wasm_i32x4_dot_i16x8(low, a[r]));
                sum[1] =
                    wasm_i32x4_add(sum[1], wasm_i32x4_dot_i16x8(high, a[r]));
            }
        }
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < R * V; i++) {
        v128_t even =
            wasm_i32x4_shuffle(half[2 * i], half[2 * i + 1], 0, 2, 4, 6);
        v128_t odd =
            wasm_i32x4_shuffle(half[2 * i], half[2 * i + 1], 1, 3, 5, 7);

        dot[i] =
            wasm_i32x4_sub(wasm_i32x4_add(even, odd),
                           wasm_i32x4_splat(corr[(size_t)(i / V) * groups]));
    }
}

void matmul_simd(int32_t *out, size_t ld, const struct matmul_input *in,
                 const struct matmul_weight *weight, uint32_t block,
                 uint32_t block_end)
{
    walk(out, ld, in, weight, block, block_end, 2, 2, 2, dots);
}
