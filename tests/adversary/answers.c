#include "answers.h"

#include <stdlib.h>
#include <string.h>

static uint8_t *copy(const uint8_t *from, size_t n)
{
    uint8_t *p = malloc(n + 1);

    if (p && n)
        memcpy(p, from, n);
    return p;
}

static void answer_free(struct answer *a)
{
    free(a->rows);
    free(a->tokens);
    free(a->logprobs);
    free(a->prints);
    *a = (struct answer){0};
}

// Point the views at the bytes.
static void answer_view(struct answer *a)
{
    a->seq.rows = a->rows;
    a->seq.tokens = a->tokens;
    a->seq.logprobs = a->logprobs;
    a->seq.prints = a->prints;
}

static enum err answer_read(struct answer *a, uint32_t dim)
{
    const struct syn1_result_seq *s = &a->seq;
    bool logprobs = s->logprobs != NULL;

    a->rows = copy(s->rows, s->n_rows * syn1_row_len(dim));
    a->tokens = copy(s->tokens, (size_t)s->n_tokens * 4);
    if (logprobs)
        a->logprobs =
            copy(s->logprobs, s->n_tokens * (4 + 8 * (size_t)s->n_top));
    a->prints = copy(s->prints, (size_t)s->n_prints * SYN1_PRINT_LEN);
    if (!a->rows || !a->tokens || !a->prints || (logprobs && !a->logprobs))
        return ERR_NOMEM;
    answer_view(a);
    return ERR_OK;
}

enum err answers_read(const uint8_t *frame, size_t len, struct answers *out)
{
    struct answers answers = {0};
    struct syn1_frame parsed;
    enum err err = syn1_parse(frame, len, &parsed);

    if (err)
        return err;
    answers.header = parsed.header;
    answers.dim = parsed.header.dim;
    answers.a = calloc(parsed.header.n_seqs, sizeof *answers.a);
    if (!answers.a)
        return ERR_NOMEM;
    while (!err && syn1_result_next(&parsed.header, &parsed.body,
                                    &answers.a[answers.n].seq)) {
        err = answer_read(&answers.a[answers.n], answers.dim);
        answers.n++;
    }
    if (err) {
        answers_release(&answers);
        return err;
    }
    *out = answers;
    return ERR_OK;
}

void answers_release(struct answers *answers)
{
    for (uint32_t i = 0; i < answers->n; i++)
        answer_free(&answers->a[i]);
    free(answers->a);
    *answers = (struct answers){0};
}

// n items of len bytes in front of *items, copies of the first of n_now.
static enum err pad(uint8_t **items, uint32_t n_now, uint32_t n, size_t len)
{
    uint8_t *p;

    if (n_now == 0)
        return ERR_OK;
    p = malloc((size_t)(n_now + n) * len);
    if (!p)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++)
        memcpy(p + i * len, *items, len);
    memcpy(p + n * len, *items, n_now * len);
    free(*items);
    *items = p;
    return ERR_OK;
}

enum err answers_pad(struct answers *answers, uint32_t i, uint32_t n)
{
    struct answer *a = &answers->a[i];
    enum err err;

    if (a->seq.n_tokens) // fingerprints are of those
        return ERR_OK;
    err = pad(&a->rows, a->seq.n_rows, n, syn1_row_len(answers->dim));
    if (!err)
        err = pad(&a->prints, a->seq.n_prints, n, SYN1_PRINT_LEN);
    if (err)
        return err;
    a->seq.n_rows += a->seq.n_rows ? n : 0;
    a->seq.n_prints += a->seq.n_prints ? n : 0;
    answer_view(a);
    return ERR_OK;
}

enum err answers_write(const struct answers *answers, uint8_t **out,
                       size_t *out_len)
{
    struct bytes_out frame = {.cap = SYN1_HEADER_LEN + SYN1_CRC_LEN};
    enum err err;

    for (uint32_t i = 0; i < answers->n; i++)
        frame.cap += syn1_result_seq_len(&answers->header, &answers->a[i].seq);
    frame.ptr = malloc(frame.cap);
    if (!frame.ptr)
        return ERR_NOMEM;
    syn1_begin(&frame, &answers->header);
    for (uint32_t i = 0; i < answers->n; i++)
        syn1_put_result_seq(&frame, &answers->header, &answers->a[i].seq);
    err = syn1_end(&frame);
    if (err) {
        free(frame.ptr);
        return err;
    }
    *out = frame.ptr;
    *out_len = frame.len;
    return ERR_OK;
}
