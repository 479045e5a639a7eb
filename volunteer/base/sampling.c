#include "base/sampling.h"

#define Q16_ONE 65536.0

enum err sampling_from_floats(double temperature, double top_p,
                              uint32_t *inv_temp_q16, uint32_t *top_p_q16)
{
    double inv;

    if (!(temperature >= 0 && temperature <= SAMPLING_TEMPERATURE_MAX) ||
        !(top_p > 0 && top_p <= 1))
        return ERR_RANGE;
    if (temperature * INT32_MAX <= Q16_ONE) // also what is not to divide by
        inv = temperature > 0 ? INT32_MAX : 0;
    else
        inv = Q16_ONE / temperature;
    *inv_temp_q16 = (uint32_t)(inv + 0.5);
    *top_p_q16 = (uint32_t)(top_p * Q16_ONE + 0.5);
    if (*top_p_q16 == 0)
        *top_p_q16 = 1;
    return ERR_OK;
}
