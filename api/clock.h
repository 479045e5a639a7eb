// clock.h - the two clocks of this process.
#ifndef API_CLOCK_H
#define API_CLOCK_H

#include <stdint.h>
#include <time.h>

// Milliseconds that only go forward, for time limits.
static inline int64_t api_clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

// Unix time in milliseconds, for people. State changes use Redis's time.
static inline int64_t api_clock_unix_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#endif
