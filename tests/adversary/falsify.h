// falsify.h - the lies that are told about work that was done: one sequence's
// answer changed, well-formed all the same.
#ifndef TESTS_FALSIFY_H
#define TESTS_FALSIFY_H

#include "answers.h"
#include "cheat.h"

struct falsify {
    enum cheat_mode mode;
    uint32_t flip; // thousandths, of a row or token
    uint32_t n_vocab;
    uint64_t random;    // state
    struct answer last; // of another sequence, for CHEAT_REPLAY
    uint32_t last_dim;
};

// 32 random bits.
uint32_t falsify_random(struct falsify *f);

// Change an answer to in, of rows of dim values. ERR_NOMEM.
MUST_USE enum err falsify_answer(struct falsify *f,
                                 const struct syn1_unit_seq *in, uint32_t dim,
                                 struct answer *a);

void falsify_release(struct falsify *f);

#endif
