#include "engine/logarithm.h"

#include "engine/fixed.h"

static const int32_t LN_2_Q30 = 744261118;

int32_t logarithm_2(uint64_t v, const int32_t *log2)
{
    uint32_t bits = engine_bits64(v);
    uint32_t m = (uint32_t)(v << (64 - bits) >> 32); // top bit set
    uint32_t i = m >> 21 & (FORMAT_LOG2_LEN - 2);
    int32_t f = (int32_t)(m & ((1u << 21) - 1));

    assert(v > 0);
    return (int32_t)((bits - 1) << FORMAT_LOG_Q) + log2[i] +
           engine_mul_shift(log2[i + 1] - log2[i], f, 21);
}

int32_t logarithm_natural(int32_t x)
{
    return engine_mul_shift(x, LN_2_Q30, 30);
}

// ln(-ln U) in Q24, where 1 - U = d / 2^33 is at most a half: ln d plus
// ln(-ln(1 - d) / d), which is smooth.
static int32_t log_small(uint64_t d, const int32_t *log2, const int32_t *logh)
{
    uint32_t i = (uint32_t)(d >> 24); // 0 .. 255
    int32_t f = (int32_t)(d & ((1u << 24) - 1));
    int32_t h = logh[i] + engine_mul_shift(logh[i + 1] - logh[i], f, 24);

    return logarithm_natural(logarithm_2(d, log2) - (33 << FORMAT_LOG_Q)) + h;
}

int32_t logarithm_gumbel(uint32_t u, const int32_t *log2, const int32_t *logh)
{
    uint64_t v = 2 * (uint64_t)u + 1, one = UINT64_C(1) << 33;
    int32_t log;

    if (v > one / 2) {
        log = log_small(one - v, log2, logh);
    } else {
        int32_t minus_log =
            logarithm_natural((33 << FORMAT_LOG_Q) - logarithm_2(v, log2));

        log = logarithm_natural(logarithm_2((uint64_t)minus_log, log2) -
                                (FORMAT_LOG_Q << FORMAT_LOG_Q));
    }
    return -engine_round_shift(log, FORMAT_LOG_Q - 16);
}
