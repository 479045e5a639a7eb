#include "engine/matmul.h"

#include <string.h>

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

void matmul_lay_ref(void *panels, uint32_t t, const int8_t *q, const uint8_t *e,
                    uint8_t e_max, uint32_t G)
{
    const uint32_t r = t % MATMUL_PANEL_ROWS;
    struct matmul_panel *panel = panels;

    panel += (size_t)(t / MATMUL_PANEL_ROWS) * G;

    for (uint32_t g = 0; g < G; g++, panel++) {
        panel->wide[r] = 0;
        panel->shift[r] = e_max - e[g] + (int32_t)matmul_spare(G);
        for (int part = 0; part < 4; part++, q += 16) {
            int32_t sum[2] = {0}, abs[2] = {0};

            for (int k = 0; k < 16; k++) {
                sum[k / 2 % 2] += q[k];
                abs[k / 2 % 2] += q[k] < 0 ? -q[k] : q[k];
            }
            memcpy(panel->part[part].q[r], q, 16);
            for (int h = 0; h < 2; h++) {
                panel->part[part].fix[r][h] =
                    (int16_t)(uint16_t)(-FORMAT_WEIGHT_BIAS * sum[h]);
                if (abs[h] > MATMUL_TAME_MAX)
                    panel->wide[r] = 1;
            }
        }
        if (panel->wide[r])
            matmul_panel_clear(panel, r);
    }
}

void matmul_lay_quads(void *panels, uint32_t t, const int8_t *q,
                      const uint8_t *e, uint8_t e_max, uint32_t G)
{
    const uint32_t r = t % MATMUL_PANEL_ROWS;
    struct matmul_quads *quads = panels;

    quads += (size_t)(t / MATMUL_PANEL_ROWS) * G;
    for (uint32_t g = 0; g < G; g++, quads++, q += FORMAT_GROUP) {
        int32_t sum = 0;

        for (int k = 0; k < FORMAT_GROUP; k++)
            sum += q[k];
        for (int i = 0; i < FORMAT_GROUP / 4; i++)
            memcpy(&quads->q[i][r], q + 4 * i, 4);
        quads->corr[r] = FORMAT_WEIGHT_BIAS * sum;
        quads->shift[r] = e_max - e[g] + (int32_t)matmul_spare(G);
    }
}
