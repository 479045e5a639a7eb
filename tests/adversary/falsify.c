#include "falsify.h"

#include <stdlib.h>
#include <string.h>

// SplitMix64 (Steele, Lea and Flood 2014).
uint32_t falsify_random(struct falsify *f)
{
    uint64_t z = f->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static uint32_t below(struct falsify *f, uint32_t n)
{
    return (uint32_t)((uint64_t)falsify_random(f) * n >> 32);
}

static void token_put(uint8_t *at, uint32_t token)
{
    struct bytes_out out = {.ptr = at, .cap = 4};

    bytes_put_u32(&out, token);
}

static void noise(struct falsify *f, uint8_t *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)falsify_random(f);
}

// Mantissas at random, at the true exponents.
static void random_answer(struct falsify *f, uint32_t dim, struct answer *a)
{
    for (uint32_t r = 0; r < a->seq.n_rows; r++)
        for (uint32_t i = 0; i < dim; i++)
            a->rows[r * syn1_row_len(dim) + i] =
                (uint8_t)(int8_t)((int)below(f, 255) - 127);
    for (uint32_t i = 0; i < a->seq.n_tokens; i++)
        token_put(a->tokens + (size_t)i * 4, below(f, f->n_vocab));
    noise(f, a->prints, (size_t)a->seq.n_prints * SYN1_PRINT_LEN);
}

// Fill n items with those of another answer, over and over.
static void repeat(uint8_t *to, uint32_t n, const uint8_t *from,
                   uint32_t n_from, size_t len)
{
    for (uint32_t i = 0; n_from && i < n; i++)
        memcpy(to + i * len, from + i % n_from * len, len);
}

static uint8_t *copy(const uint8_t *from, size_t n)
{
    uint8_t *p = malloc(n + 1);

    if (p && n)
        memcpy(p, from, n);
    return p;
}

void falsify_release(struct falsify *f)
{
    free(f->last.rows);
    free(f->last.tokens);
    free(f->last.prints);
    f->last = (struct answer){0};
}

static enum err replay(struct falsify *f, uint32_t dim, struct answer *a)
{
    struct answer now = {
        .seq = a->seq,
        .rows = copy(a->rows, a->seq.n_rows * syn1_row_len(dim)),
        .tokens = copy(a->tokens, (size_t)a->seq.n_tokens * 4),
        .prints = copy(a->prints, (size_t)a->seq.n_prints * SYN1_PRINT_LEN)};
    struct answer *old = &f->last;

    if (!now.rows || !now.tokens || !now.prints) {
        free(now.rows);
        free(now.tokens);
        free(now.prints);
        return ERR_NOMEM;
    }
    if (old->seq.id == a->seq.id || !old->tokens || f->last_dim != dim) {
        random_answer(f, dim, a);
    } else {
        repeat(a->rows, a->seq.n_rows, old->rows, old->seq.n_rows,
               syn1_row_len(dim));
        repeat(a->tokens, a->seq.n_tokens, old->tokens, old->seq.n_tokens, 4);
        repeat(a->prints, a->seq.n_prints, old->prints, old->seq.n_prints,
               SYN1_PRINT_LEN);
    }
    if (old->seq.id != a->seq.id || !old->tokens) {
        falsify_release(f);
        f->last = now;
        f->last_dim = dim;
        return ERR_OK;
    }
    free(now.rows);
    free(now.tokens);
    free(now.prints);
    return ERR_OK;
}

static void echo(struct falsify *f, const struct syn1_unit_seq *in,
                 uint32_t dim, struct answer *a)
{
    if (in->rows)
        repeat(a->rows, a->seq.n_rows, in->rows, in->n_rows, syn1_row_len(dim));
    else if (a->seq.n_rows)
        random_answer(f, dim, a);
    if (in->tokens)
        repeat(a->tokens, a->seq.n_tokens, in->tokens, in->n_rows, 4);
}

static void flip(struct falsify *f, uint32_t dim, struct answer *a)
{
    for (uint32_t r = 0; r < a->seq.n_rows; r++)
        if (below(f, 1000) < f->flip)
            a->rows[r * syn1_row_len(dim) + below(f, dim)] ^= 2;
    for (uint32_t i = 0; i < a->seq.n_prints && !a->seq.n_rows; i++)
        if (below(f, 1000) < f->flip)
            a->prints[(size_t)i * SYN1_PRINT_LEN + below(f, SYN1_PRINT_LEN)] ^=
                (uint8_t)(1U << below(f, 8));
}

static void one_token(struct falsify *f, uint32_t dim, struct answer *a)
{
    uint8_t *at = a->tokens + (size_t)(a->seq.n_tokens / 2) * 4;

    if (a->seq.n_tokens)
        token_put(at, (bytes_peek_u32(at) + 1) % f->n_vocab);
    else if (a->seq.n_rows)
        a->rows[a->seq.n_rows / 2 * syn1_row_len(dim)] ^= 2;
}

enum err falsify_answer(struct falsify *f, const struct syn1_unit_seq *in,
                        uint32_t dim, struct answer *a)
{
    if (a->seq.status != SYN1_OK)
        return ERR_OK;
    switch (f->mode) {
    case CHEAT_RANDOM:
        random_answer(f, dim, a);
        break;
    case CHEAT_REPLAY:
        return replay(f, dim, a);
    case CHEAT_ECHO:
        echo(f, in, dim, a);
        break;
    case CHEAT_FLIP:
        flip(f, dim, a);
        break;
    case CHEAT_TOKEN:
        one_token(f, dim, a);
        break;
    case CHEAT_PRINT:
        if (a->seq.n_prints)
            a->prints[(size_t)(a->seq.n_prints - 1) * SYN1_PRINT_LEN] ^= 1;
        break;
    case CHEAT_SHORT:
        if (a->seq.n_tokens > 1) {
            a->seq.n_tokens--;
            a->seq.n_prints -= a->seq.n_prints > a->seq.n_tokens;
        }
        break;
    default:
        break;
    }
    return ERR_OK;
}
