#include "redundancy/verdict.h"

#include <string.h>

enum { TOKEN_LEN = 4, PRINT_LEN = 16 };

uint32_t redun_verdict_same(const struct redun_answer *a,
                            const struct redun_answer *b)
{
    uint32_t n = a->n < b->n ? a->n : b->n;

    for (uint32_t i = 0; i < n; i++) {
        if (memcmp(a->tokens + (size_t)i * TOKEN_LEN,
                   b->tokens + (size_t)i * TOKEN_LEN, TOKEN_LEN) != 0 ||
            memcmp(a->prints + (size_t)i * PRINT_LEN,
                   b->prints + (size_t)i * PRINT_LEN, PRINT_LEN) != 0)
            return i;
    }
    return n;
}

struct redun_verdict redun_verdict_by(const struct redun_answer *word,
                                      const struct redun_answer *primary,
                                      const struct redun_answer *challenger)
{
    struct redun_verdict v = {0};

    v.keep = redun_verdict_same(word, primary);
    v.primary_right = word->n == primary->n && v.keep == word->n;
    v.challenger_right = challenger && challenger->n == word->n &&
                         redun_verdict_same(word, challenger) == word->n;
    return v;
}
