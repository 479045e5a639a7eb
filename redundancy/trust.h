// trust.h - when an account is trusted.
#ifndef REDUN_TRUST_H
#define REDUN_TRUST_H

#include <stdbool.h>
#include <stdint.h>

enum { REDUN_TRUST_RUN = 10 }; // valid checks in a row that make trust

// Has an account with a run of so many valid checks earned trust?
static inline bool redun_trusted(uint32_t run)
{
    return run >= REDUN_TRUST_RUN;
}

#endif
