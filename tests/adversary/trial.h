// trial.h - one stint of a cheat, and whether its check finds out.
#ifndef TESTS_TRIAL_H
#define TESTS_TRIAL_H

#include "cheat.h"

// Who takes part, on one span: the cheat and the engine that it was given, and
// the engine of an honest checker.
struct trial_grid {
    struct cheat *cheat;
    struct engine *engine, *checker;
};

struct trial_verdict {
    bool wrong;        // it is not what honest work gives
    bool found;        // the check disagrees
    uint64_t distance; // class f32: mean redun_distance
};

// A whole model: n_prompt token ids (u32, little-endian), n_new more. Checked
// by a teacher-forced pass under the same seed.
struct trial_tokens {
    uint64_t id, seed;
    const uint8_t *prompt;
    uint32_t n_prompt, n_new;
};
struct trial_verdict trial_whole(const struct trial_grid *grid,
                                 const struct trial_tokens *stint);

// A span without the head: n_rows of tokens (the first span) or rows, in units
// of `step` rows after the first `step0`. The last n_rows - step0 are what is
// checked, in class kernel_class, under a seed that the cheat does not know.
struct trial_rows {
    uint64_t id, seed;
    const uint8_t *tokens, *rows; // one of them NULL
    uint32_t n_rows, step0, step;
    enum engine_class kernel_class;
};
struct trial_verdict trial_span(const struct trial_grid *grid,
                                const struct trial_rows *stint);

// Rows step0 .. n_rows as an engine answers, or a cheat in its place (NULL:
// none). malloced, the caller's.
uint8_t *trial_compute(struct cheat *cheat, struct engine *engine,
                       const struct trial_rows *stint);

// All end the program if an engine fails.

#endif
