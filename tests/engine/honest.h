// honest.h - two honest engines over one span compute the same units, and what
// a checker would say of it: the server projects the first one's rows, the
// second one answers with fingerprints only.
#ifndef TESTS_ENGINE_HONEST_H
#define TESTS_ENGINE_HONEST_H

#include "engine/engine.h"
#include "golden.h"

enum {
    HONEST_SEQ = 256, // rows of a sequence
    HONEST_LENGTHS = 5,
};

// Rows that are compared together: 1, 4, 16, 32, 64.
extern const uint32_t honest_lengths[HONEST_LENGTHS];

struct honest_tally {
    uint64_t rows;                       // compared
    uint64_t rejected[HONEST_LENGTHS];   // of so many rows together
    uint64_t largest[HONEST_LENGTHS];    // mean redun_distance of so many rows
    uint64_t values, off_by_1, off_by_2; // int8 values, those off by one unit
                                         // of the coarser row, and by more
};

// What the rows come from: slices of real text, put together anew for each
// sequence.
struct honest_text {
    const struct golden *golden;
    uint64_t state; // of the choice; any number
};

// The spans: a's and b's rows are compared.
struct honest_engines {
    struct engine *before; // the span in front of theirs, or NULL
    struct engine *a, *b;
    // F32: by the limits of redundancy/tolerance.h. EXACT: by the keyed hash.
    enum engine_class kernel_class;
};

// Run sequences of HONEST_SEQ rows until n_rows were compared, and add to
// *tally. Ends the test if an engine fails.
void honest_run(const struct honest_engines *engines, struct honest_text *text,
                uint64_t n_rows, struct honest_tally *tally);

#endif
