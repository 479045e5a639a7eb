#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "synthetic.h"
#include "units.h"

enum {
    LINE = 32,  // rows of a sequence
    WHOLE = 16, // one piece in so many is of a whole model, the others are of
                // its first layer, which is all that naive kernels can do of
                // many rows
    SHARDS = 3,
};

struct rows {
    struct synthetic models[SYNTHETIC_KINDS];
    struct engine *engines[2][SYNTHETIC_KINDS]; // first layers, and whole ones
    struct units_seq seq;
    uint8_t prints[ROWS_LEN];
};

_Static_assert((int)LINE <= (int)UNITS_TOKENS_MAX && ROWS_SEQ % LINE == 0,
               "whole units");

void rows_free(struct rows *rows)
{
    for (int k = 0; rows && k < SYNTHETIC_KINDS; k++) {
        engine_free(rows->engines[0][k]);
        engine_free(rows->engines[1][k]);
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

        if (synthetic_new((enum synthetic_kind)k, SHARDS, m) &&
            !engine_new(m->shards, 1, &options, &rows->engines[0][k], NULL,
                        0) &&
            !engine_new(m->shards, SHARDS, &options, &rows->engines[1][k], NULL,
                        0))
            continue;
        rows_free(rows);
        return NULL;
    }
    return rows;
}

const uint8_t *rows_piece(struct rows *rows, uint32_t i)
{
    bool whole = i % WHOLE == 0;
    struct engine *engine = rows->engines[whole][i % SYNTHETIC_KINDS];
    struct units_seq *seq = &rows->seq;
    struct syn1_result_seq r;

    for (uint32_t at = 0; at < ROWS_SEQ; at += LINE) {
        uint8_t *prints = rows->prints + (size_t)at * SYN1_PRINT_LEN;

        memset(seq, 0, sizeof *seq);
        seq->in.id = 1;
        seq->in.n_rows = LINE;
        seq->in.n_predict = whole ? LINE : 0;
        seq->in.n_prompt = 1;
        seq->in.sampling.flags = SYN1_IGNORE_END;
        units_tokens(seq->tokens, LINE, engine_config(engine)->n_vocab,
                     i * ROWS_SEQ + at);
        if (units_run(engine, SYN1_TOKENS, seq, 1, &r) || r.status != SYN1_OK ||
            r.n_prints != LINE || r.n_tokens != seq->in.n_predict)
            return NULL;
        memcpy(prints, r.prints, LINE * SYN1_PRINT_LEN);
        for (uint32_t t = 0; t < r.n_tokens; t++)
            prints[(size_t)t * SYN1_PRINT_LEN] ^= (uint8_t)units_token(&r, t);
        engine_drop(engine, 1);
    }
    return rows->prints;
}
