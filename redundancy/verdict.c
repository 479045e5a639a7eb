#include "redundancy/verdict.h"

#include <stdlib.h>
#include <string.h>

#include "redundancy/fingerprint.h"

enum { TOKEN_LEN = 4, PRINT_LEN = 16, FEW = 16 };

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

// The first of n rows from `from` on that is too far by itself; their end if
// none is.
static size_t first_far(const struct redun_stretch *stretch, const uint8_t *own,
                        const uint8_t *word, size_t from, size_t n)
{
    struct redun_stretch one = *stretch;
    size_t i = from;

    one.n = 1;
    while (i < from + n &&
           redun_agrees(own + i * PRINT_LEN, word + i * PRINT_LEN, &one))
        i++;
    return i;
}

// From which row on they are too far apart, which they are as a whole.
static uint32_t near_until(const struct redun_stretch *stretch,
                           const uint8_t *own, const uint8_t *word)
{
    struct redun_stretch part = *stretch;

    for (size_t from = 0; from < stretch->n; from += FEW) {
        size_t n = stretch->n - from < FEW ? stretch->n - from : FEW;
        size_t at = first_far(stretch, own, word, from, n);

        if (at < from + n)
            return (uint32_t)at;
        part.n = n;
        if (!redun_agrees(own + from * PRINT_LEN, word + from * PRINT_LEN,
                          &part))
            return (uint32_t)from;
    }
    return 0;
}

enum err redun_verdict_near(const struct redun_rows *primary,
                            const struct redun_stretch *stretch,
                            const uint8_t *word, const uint8_t *challenger,
                            struct redun_verdict *out)
{
    size_t len = (size_t)primary->n * PRINT_LEN;
    uint8_t *own = malloc(len ? len : 1);
    struct redun_verdict v = {.keep = primary->n};

    if (!own)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < primary->n; i++)
        redun_project(own + (size_t)i * PRINT_LEN, primary->seed, i,
                      primary->rows + i * primary->row_len, stretch->dim);
    v.primary_right = redun_agrees(own, word, stretch);
    if (!v.primary_right)
        v.keep = near_until(stretch, own, word);
    v.challenger_right = challenger && memcmp(word, challenger, len) == 0;
    free(own);
    *out = v;
    return ERR_OK;
}
