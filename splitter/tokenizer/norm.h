// norm.h - the normaliser: what is done to text before it is split.
#ifndef TOKENIZER_NORM_H
#define TOKENIZER_NORM_H

#include "tokenizer/pattern.h"
#include "tokenizer/text.h"

enum norm_kind {
    NORM_NFC,
    NORM_NFD,
    NORM_NFKC,
    NORM_NFKD,
    NORM_PREPEND, // content in front, unless the text is empty
    NORM_REPLACE, // content for each match of pattern
};

enum { NORM_STEPS_MAX = 16 };

struct norm_step {
    enum norm_kind kind;
    struct pattern *pattern; // owned
    struct text content;     // owned
};

struct norm {
    struct norm_step steps[NORM_STEPS_MAX];
    size_t n_steps;
};

void norm_release(struct norm *norm);

// Set out to the normal form of text, which is valid UTF-8 and may not be out's
// memory. tmp is memory of the same use. Errors: ERR_NOMEM, ERR_FULL (see
// pattern_walk_next).
MUST_USE enum err norm_apply(const struct norm *norm, const char *ptr,
                             size_t len, struct text *out, struct text *tmp);

#endif
