#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "synthetic.h"
#include "units.h"

enum { LINE = 32 }; // rows of a sequence

struct rows {
    struct synthetic models[SYNTHETIC_KINDS];
    struct engine *engines[SYNTHETIC_KINDS];
    struct units_seq seq;
    uint8_t prints[ROWS_LEN];
};

_Static_assert((int)ROWS_SEQ <= (int)UNITS_TOKENS_MAX, "one unit each");

void rows_free(struct rows *rows)
{
    for (int k = 0; rows && k < SYNTHETIC_KINDS; k++) {
        engine_free(rows->engines[k]);
        synthetic_release(&rows->models[k]);
    }
    free(rows);
}

struct rows *rows_new(const struct engine_kernels *kernels)
{
    struct engine_options options = {.n_slots = 1, .kernels = kernels};
    struct rows *rows = calloc(1, sizeof *rows);

    for (int k = 0; rows && k < SYNTHETIC_KINDS; k++) {
        struct synthetic *m = &rows->models[k];

        if (synthetic_new((enum synthetic_kind)k, 1, m) &&
            !engine_new(m->shards, 1, &options, &rows->engines[k], NULL, 0))
            continue;
        rows_free(rows);
        return NULL;
    }
    return rows;
}

const uint8_t *rows_piece(struct rows *rows, uint32_t i)
{
    uint32_t kind = i % SYNTHETIC_KINDS;
    struct engine *engine = rows->engines[kind];
    struct syn1_result_seq r;
    uint32_t at = 0;

    while (at < ROWS_SEQ) {
        const uint32_t n = LINE;
        struct units_seq *seq = &rows->seq;

        memset(seq, 0, sizeof *seq);
        seq->in.id = 1;
        seq->in.n_rows = seq->in.n_predict = n;
        seq->in.n_prompt = 1;
        seq->in.sampling.flags = SYN1_IGNORE_END;
        units_tokens(seq->tokens, n, engine_config(engine)->n_vocab,
                     i * ROWS_SEQ + at);
        if (units_run(engine, SYN1_TOKENS, seq, 1, &r) || r.status != SYN1_OK ||
            r.n_tokens != n || r.n_prints != n)
            return NULL;
        memcpy(rows->prints + (size_t)at * SYN1_PRINT_LEN, r.prints,
               (size_t)n * SYN1_PRINT_LEN);
        for (uint32_t t = 0; t < n; t++)
            rows->prints[(size_t)(at + t) * SYN1_PRINT_LEN] ^=
                (uint8_t)units_token(&r, t);
        engine_drop(engine, 1);
        at += n;
    }
    return rows->prints;
}
