// sampling.h - temperature and top_p as the integers that frames carry. This
// is the one place where they are floats: whoever takes them from a person
// turns them here, and all that follows is exact.
#ifndef BASE_SAMPLING_H
#define BASE_SAMPLING_H

#include <stdint.h>

#include "base/err.h"

#define SAMPLING_TEMPERATURE_MAX 2.0

// temperature: 0 (greedy) .. 2. *inv_temp_q16 is 1 / temperature in Q16,
// rounded half up, at most INT32_MAX (temperatures under 2^-15 are all alike);
// 0 for temperature 0.
// top_p: above 0, at most 1. *top_p_q16 is it in Q16, 1 .. 65536.
// ERR_RANGE (also for NaN) leaves both alone.
MUST_USE enum err sampling_from_floats(double temperature, double top_p,
                                       uint32_t *inv_temp_q16,
                                       uint32_t *top_p_q16);

#endif
