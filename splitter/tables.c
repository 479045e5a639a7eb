#include "splitter/tables.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

static int32_t rounded(double v)
{
    return (int32_t)lrint(v);
}

void tables_exp2(int32_t out[FORMAT_EXP2_LEN])
{
    double one = ldexp(1, 30) - ldexp(1, 16);

    for (int i = 0; i < FORMAT_EXP2_LEN; i++)
        out[i] = rounded(one * exp2(-(double)i / FORMAT_EXP2_LEN));
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / PI) * (x + 0.044715 * x * x * x)));
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

void tables_act(enum arch_family family, int32_t out[FORMAT_ACT_LEN])
{
    double step = 2.0 * FORMAT_ACT_RANGE / (FORMAT_ACT_LEN - 1);

    for (int i = 0; i < FORMAT_ACT_LEN; i++) {
        double x = i * step - FORMAT_ACT_RANGE;
        double y = family == ARCH_GPT2 ? gelu_tanh(x) : silu(x);

        out[i] = rounded(ldexp(y, FORMAT_ACT_Q));
    }
}

void tables_log2(int32_t out[FORMAT_LOG2_LEN])
{
    for (int i = 0; i < FORMAT_LOG2_LEN; i++)
        out[i] = rounded(
            ldexp(log2(1 + (double)i / (FORMAT_LOG2_LEN - 1)), FORMAT_LOG_Q));
}

void tables_logh(int32_t out[FORMAT_LOGH_LEN])
{
    out[0] = 0;
    for (int i = 1; i < FORMAT_LOGH_LEN; i++) {
        double d = 0.5 * i / (FORMAT_LOGH_LEN - 1);

        out[i] = rounded(ldexp(log(-log1p(-d) / d), FORMAT_LOG_Q));
    }
}

// The angle per position of rotation pair i, in radians.
static double rope_frequency(const struct arch *arch, uint32_t i)
{
    double f = pow(arch->rope_theta, -2.0 * i / arch->head_dim);
    double wave = 2 * PI / f;

    if (arch->rope == ARCH_ROPE_LINEAR)
        return f / arch->rope_factor;
    if (arch->rope != ARCH_ROPE_LLAMA3)
        return f;

    // Long waves are stretched, short ones kept, those between blended.
    if (wave > arch->rope_orig_ctx / arch->rope_low_freq)
        return f / arch->rope_factor;
    if (wave < arch->rope_orig_ctx / arch->rope_high_freq)
        return f;
    double keep = (arch->rope_orig_ctx / wave - arch->rope_low_freq) /
                  (arch->rope_high_freq - arch->rope_low_freq);
    return (1 - keep) * f / arch->rope_factor + keep * f;
}

void tables_rope_row(const struct arch *arch, uint32_t position, int16_t *out)
{
    uint32_t half = arch->head_dim / 2;

    for (uint32_t i = 0; i < half; i++) {
        double angle = fmod(position * rope_frequency(arch, i), 2 * PI);

        out[i] = (int16_t)rounded(ldexp(cos(angle), FORMAT_ROPE_Q));
        out[half + i] = (int16_t)rounded(ldexp(sin(angle), FORMAT_ROPE_Q));
    }
}
