// answers.h - a result frame taken apart, so that sequences can be changed, and
// put together again.
#ifndef TESTS_ANSWERS_H
#define TESTS_ANSWERS_H

#include "base/syn1.h"

// The views of seq, writable and malloced.
struct answer {
    struct syn1_result_seq seq;
    uint8_t *rows, *tokens, *logprobs, *prints;
};

struct answers {
    struct syn1_header header;
    uint32_t dim; // of rows; 0: none
    uint32_t n;
    struct answer *a; // n
};

// ERR_NOMEM, and those of syn1_parse. The frame is not needed any more.
MUST_USE enum err answers_read(const uint8_t *frame, size_t len,
                               struct answers *out);
void answers_release(struct answers *answers);

// Give answer i of a span without the head n rows and fingerprints in front:
// copies of its first one. ERR_NOMEM.
MUST_USE enum err answers_pad(struct answers *answers, uint32_t i, uint32_t n);

// The frame, malloced, the caller's. ERR_NOMEM.
MUST_USE enum err answers_write(const struct answers *answers, uint8_t **out,
                                size_t *out_len);

#endif
