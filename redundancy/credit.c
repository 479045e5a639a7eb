#include "redundancy/credit.h"

uint64_t redun_credit_1000(uint64_t n_params)
{
    uint64_t credit = (n_params + 500) / 1000;

    return credit ? credit : 1;
}
