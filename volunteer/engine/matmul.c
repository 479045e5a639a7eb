#include "engine/matmul.h"

// The exact dot product of one group of activations with row r of a tile.
static int32_t dot_group(const int8_t *a, const uint8_t *tile, uint32_t r)
{
    int32_t dot = 0;

    for (uint32_t k = 0; k < FORMAT_GROUP; k++)
        dot += a[k] * (tile[k / 4 * 64 + r * 4 + k % 4] - FORMAT_WEIGHT_BIAS);
    return dot;
}

void matmul_ref(int32_t *out, size_t ld, const struct matmul_input *in,
                const struct matmul_weight *weight, uint32_t block,
                uint32_t block_end)
{
    const uint32_t G = weight->n_groups;
    const uint32_t spare = matmul_spare(G);

    for (uint32_t t = 0; t < in->n_rows; t++)
        for (uint32_t n = block * FORMAT_BLOCK; n < block_end * FORMAT_BLOCK;
             n++) {
            size_t row_tiles = (size_t)(n / FORMAT_BLOCK) * G;
            uint32_t r = n % FORMAT_BLOCK;
            int32_t acc = 0;

            for (uint32_t g = 0; g < G; g++) {
                size_t i = (size_t)t * G + g;
                int32_t dot =
                    dot_group(in->q + i * FORMAT_GROUP,
                              weight->w + (row_tiles + g) * FORMAT_TILE, r);
                int32_t m = weight->m[(row_tiles + g) * FORMAT_BLOCK + r];
                uint32_t s = (uint32_t)(in->e_max[t] - in->e[i]) + spare;

                assert(s <= 31);
                acc += (dot * m) >> s;
            }
            out[t * ld + n] = matmul_finish(
                acc, (int32_t)(in->e_max[t] + spare) + weight->e[n],
                weight->b[n]);
        }
}
