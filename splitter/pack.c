#include "splitter/pack.h"

#include <math.h>
#include <string.h>

enum { EXP_MAX = FORMAT_ROW_EXP_MAX / 2 };

static double group_largest(const float *row, uint32_t from, uint32_t n_cols)
{
    uint32_t end = from + FORMAT_GROUP < n_cols ? from + FORMAT_GROUP : n_cols;
    double max = 0;

    for (uint32_t k = from; k < end; k++)
        max = fmax(max, fabs((double)row[k]));
    return max;
}

// The row's power of two: with it the largest group's mantissa, rounded up, is
// 128..255.
static int32_t row_exponent(const float *row, uint32_t n_cols)
{
    double max = 0;
    int32_t e;

    for (uint32_t k = 0; k < n_cols; k += FORMAT_GROUP)
        max = fmax(max, group_largest(row, k, n_cols));
    if (max == 0)
        return -EXP_MAX;
    e = (int32_t)floor(log2(max / FORMAT_WEIGHT_MAX)) - 7;
    while (ceil(ldexp(max / FORMAT_WEIGHT_MAX, -e)) > 255)
        e++;
    return e;
}

static void pack_group(const float *row, uint32_t from, uint32_t n_cols,
                       int32_t e, uint8_t *tile, uint8_t *mantissa, uint32_t r)
{
    double scale = group_largest(row, from, n_cols) / FORMAT_WEIGHT_MAX;
    double m = fmin(fmax(ceil(ldexp(scale, -e)), 1), 255);
    double step = ldexp(m, e);

    *mantissa = (uint8_t)m;
    for (uint32_t k = 0; k < FORMAT_GROUP && from + k < n_cols; k++) {
        double w = rint((double)row[from + k] / step);

        w = fmin(fmax(w, -FORMAT_WEIGHT_MAX), FORMAT_WEIGHT_MAX);
        tile[k / 4 * 64 + r * 4 + k % 4] =
            (uint8_t)((int)w + FORMAT_WEIGHT_BIAS);
    }
}

enum err pack_block(const float *rows, uint32_t n, uint32_t n_cols,
                    uint8_t *tiles, uint8_t *mantissas, int32_t *exps)
{
    uint32_t n_groups = format_n_groups(n_cols);

    memset(tiles, FORMAT_WEIGHT_BIAS, (size_t)n_groups * FORMAT_TILE);
    memset(mantissas, 1, (size_t)n_groups * FORMAT_BLOCK);
    for (uint32_t r = 0; r < FORMAT_BLOCK; r++)
        exps[r] = 0;

    for (uint32_t r = 0; r < n; r++) {
        const float *row = rows + (size_t)r * n_cols;
        int32_t e = row_exponent(row, n_cols);

        if (e > EXP_MAX)
            return ERR_RANGE;
        if (e <= -EXP_MAX)
            continue;
        exps[r] = e;
        for (uint32_t g = 0; g < n_groups; g++)
            pack_group(row, g * FORMAT_GROUP, n_cols, e,
                       tiles + (size_t)g * FORMAT_TILE,
                       mantissas + (size_t)g * FORMAT_BLOCK + r, r);
    }
    return ERR_OK;
}
