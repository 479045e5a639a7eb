// eta.h - when a batch will be done, by the rate at which its lines came so
// far.
#ifndef API_ETA_H
#define API_ETA_H

#include <stdbool.h>
#include <stdint.h>

struct api_eta_state {
    int64_t busy_ms;            // since its first line was taken; 0: none was
    uint64_t total;             // lines
    uint64_t final;             // of them done
    uint64_t checking, running; // of the rest
    int64_t recent_ms;          // a stretch of time up to now; 0: none yet
    uint64_t recent_final;      // lines that became final in it
};

// Seconds from now: with even chances, and nine times of ten, it is done by
// then.
struct api_eta {
    double p50_s, p90_s;
};

// False while too little was seen to say, or nothing moves.
bool api_eta_of(const struct api_eta_state *state, struct api_eta *out);

#endif
