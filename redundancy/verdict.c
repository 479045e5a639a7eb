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

// Where the rows of a run that is too far begin to be: behind them, up to there
// the run is least far for what its limit allows.
static size_t turn(const struct redun_stretch *run, const uint8_t *own,
                   const uint8_t *word, size_t at)
{
    int64_t limit = (int64_t)redun_limits(run).mean, sum = 0, least = 0;
    size_t row = at;

    for (size_t i = at; i < at + run->n; i++) {
        sum += (int64_t)redun_distance(own + i * PRINT_LEN,
                                       word + i * PRINT_LEN, 1, run->dim)
                   .largest -
               limit;
        if (sum < least) {
            least = sum;
            row = i + 1;
        }
    }
    return row;
}

// The first run of `len` rows, one every FEW, that is too far: from which row
// on. n if none is.
static size_t run_far(const struct redun_stretch *stretch, const uint8_t *own,
                      const uint8_t *word, size_t len)
{
    struct redun_stretch run = *stretch;
    size_t n = stretch->n, row;

    for (size_t at = 0; at < n; at += FEW) {
        run.n = n - at < len ? n - at : len;
        if (redun_agrees(own + at * PRINT_LEN, word + at * PRINT_LEN, &run))
            continue;
        row = first_far(stretch, own, word, at, run.n);
        return row < at + run.n ? row : turn(&run, own, word, at);
    }
    return n;
}

// From which row on they are too far apart, which they are as a whole.
static uint32_t near_until(const struct redun_stretch *stretch,
                           const uint8_t *own, const uint8_t *word)
{
    size_t few = run_far(stretch, own, word, FEW);
    size_t many = run_far(stretch, own, word, REDUN_RUN);
    size_t at = few < many ? few : many;

    return at == stretch->n ? 0 : (uint32_t)at;
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
