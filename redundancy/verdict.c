#include "redundancy/verdict.h"

#include <string.h>

#include "redundancy/fingerprint.h"

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

struct redun_verdict redun_verdict_rows(const struct redun_rows *primary,
                                        const uint8_t *word,
                                        const uint8_t *challenger)
{
    struct redun_verdict v = {.primary_right = true};
    uint8_t print[PRINT_LEN];

    for (; v.keep < primary->n; v.keep++) {
        redun_print(print, primary->seed,
                    primary->rows + v.keep * primary->row_len,
                    primary->row_len);
        if (memcmp(print, word + (size_t)v.keep * PRINT_LEN, PRINT_LEN) != 0) {
            v.primary_right = false;
            break;
        }
    }
    v.challenger_right =
        challenger &&
        memcmp(word, challenger, (size_t)primary->n * PRINT_LEN) == 0;
    return v;
}
