#include "trial.h"

#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "check.h"
#include "redundancy/project.h"
#include "redundancy/verdict.h"

// What is asked of an engine.
struct ask {
    uint16_t flags;
    enum engine_class kernel_class;
    uint64_t seed;
    struct syn1_unit_seq in;
};

static struct answers run(struct cheat *cheat, struct engine *e,
                          const struct ask *ask)
{
    struct syn1_header h = {
        .kind = SYN1_UNIT,
        .flags = ask->flags,
        .span_first = (uint16_t)engine_span_first(e),
        .span_end = (uint16_t)engine_span_end(e),
        .dim = ask->flags & SYN1_ROWS ? engine_config(e)->d_model : 0,
        .kernel_class = (uint8_t)ask->kernel_class,
        .print_seed = ask->seed};
    struct bytes_out frame = {.cap = SYN1_HEADER_LEN + SYN1_CRC_LEN +
                                     syn1_unit_seq_len(&h, &ask->in)};
    struct answers answers;
    const uint8_t *out;
    size_t len;

    memcpy(h.model, engine_model(e), SYN1_ID_LEN);
    frame.ptr = malloc(frame.cap);
    CHECK(frame.ptr);
    syn1_begin(&frame, &h);
    syn1_put_unit_seq(&frame, &h, &ask->in);
    CHECK_EQ(syn1_end(&frame), ERR_OK);
    CHECK_EQ(cheat ? cheat_run(cheat, e, frame.ptr, frame.len, NULL, NULL, &out,
                               &len)
                   : engine_run(e, frame.ptr, frame.len, &out, &len),
             ERR_OK);
    free(frame.ptr);
    CHECK_EQ(answers_read(out, len, &answers), ERR_OK);
    CHECK_EQ(answers.n, 1);
    CHECK_EQ(answers.a[0].seq.status, SYN1_OK);
    return answers;
}

static struct redun_answer answer_of(const struct answers *a)
{
    CHECK_EQ(a->a[0].seq.n_tokens, a->a[0].seq.n_prints);
    return (struct redun_answer){a->a[0].seq.n_tokens, a->a[0].tokens,
                                 a->a[0].prints};
}

// Whether b says all that a says; it may go on.
static bool agrees(const struct answers *a, const struct answers *b)
{
    struct redun_answer x = answer_of(a), y = answer_of(b);

    return redun_verdict_same(&x, &y) == x.n;
}

// The teacher-forced pass over what the cheat said.
static struct answers check(const struct trial_grid *g,
                            const struct trial_tokens *t,
                            const struct answers *said)
{
    uint32_t n = said->a[0].seq.n_tokens;
    uint8_t *tokens = malloc(((size_t)t->n_prompt + n) * 4);
    struct ask ask = {.flags = SYN1_TOKENS, .seed = t->seed};
    struct answers checked;

    CHECK(tokens && n > 0);
    memcpy(tokens, t->prompt, (size_t)t->n_prompt * 4);
    memcpy(tokens + (size_t)t->n_prompt * 4, said->a[0].tokens, (size_t)n * 4);
    ask.in = (struct syn1_unit_seq){.id = t->id,
                                    .n_rows = t->n_prompt + n - 1,
                                    .n_predict = n,
                                    .n_prompt = t->n_prompt,
                                    .tokens = tokens,
                                    .sampling.top_p_q16 = 1 << 16};
    checked = run(NULL, g->checker, &ask);
    free(tokens);
    return checked;
}

struct trial_verdict trial_whole(const struct trial_grid *g,
                                 const struct trial_tokens *t)
{
    struct ask ask = {.flags = SYN1_TOKENS,
                      .seed = t->seed,
                      .in = {.id = t->id,
                             .n_rows = t->n_prompt,
                             .max_new = t->n_new,
                             .n_prompt = t->n_prompt,
                             .tokens = t->prompt,
                             .sampling.top_p_q16 = 1 << 16,
                             .sampling.flags = SYN1_IGNORE_END}};
    struct answers said = run(g->cheat, g->engine, &ask);
    struct answers truth = run(NULL, g->checker, &ask);
    struct answers checked = check(g, t, &said);
    struct trial_verdict v = {.wrong = !agrees(&said, &truth),
                              .found = !agrees(&said, &checked)};

    answers_release(&said);
    answers_release(&truth);
    answers_release(&checked);
    engine_drop(g->engine, t->id);
    engine_drop(g->checker, t->id);
    return v;
}

uint8_t *trial_compute(struct cheat *cheat, struct engine *e,
                       const struct trial_rows *t)
{
    size_t row_len = syn1_row_len(engine_config(e)->d_model);
    uint8_t *rows = malloc((t->n_rows - t->step0) * row_len);
    uint32_t n;

    CHECK(rows);
    for (uint32_t at = 0; at < t->n_rows; at += n) {
        struct ask ask = {.flags = t->rows ? SYN1_ROWS : SYN1_TOKENS,
                          .kernel_class = t->kernel_class,
                          .in = {.id = t->id,
                                 .first = at,
                                 .kv_valid = at,
                                 .sampling.top_p_q16 = 1 << 16}};
        struct answers a;

        n = at == 0 && t->step0 ? t->step0 : t->step;
        if (n > t->n_rows - at)
            n = t->n_rows - at;
        ask.in.n_rows = n;
        ask.in.tokens = t->tokens ? t->tokens + (size_t)at * 4 : NULL;
        ask.in.rows = t->rows ? t->rows + at * row_len : NULL;
        a = run(cheat, e, &ask);
        CHECK_EQ(a.a[0].seq.n_rows, n);
        if (at >= t->step0)
            memcpy(rows + (at - t->step0) * row_len, a.a[0].rows, n * row_len);
        answers_release(&a);
    }
    engine_drop(e, t->id);
    return rows;
}

struct trial_verdict trial_span(const struct trial_grid *g,
                                const struct trial_rows *t)
{
    uint32_t dim = engine_config(g->checker)->d_model;
    uint32_t n = t->n_rows - t->step0;
    size_t row_len = syn1_row_len(dim);
    bool tolerant = t->kernel_class == ENGINE_CLASS_F32;
    uint8_t *said = trial_compute(g->cheat, g->engine, t);
    uint8_t *truth = trial_compute(NULL, g->checker, t);
    uint8_t *prints = malloc((size_t)n * REDUN_PRINT_LEN);
    struct ask ask = {.flags = SYN1_PRINTS_ONLY |
                               (t->rows ? SYN1_ROWS : SYN1_TOKENS),
                      .kernel_class = t->kernel_class,
                      .in = {.id = t->id,
                             .n_rows = t->n_rows,
                             .tokens = t->tokens,
                             .rows = t->rows,
                             .sampling.top_p_q16 = 1 << 16}};
    struct trial_verdict v = {.wrong = memcmp(said, truth, n * row_len) != 0};
    struct redun_stretch stretch = {n, dim, engine_layers(g->checker),
                                    engine_span_first(g->checker) == 0};
    struct answers checked;
    const uint8_t *own;

    CHECK(prints);
    ask.seed = t->seed;
    checked = run(NULL, g->checker, &ask);
    CHECK_EQ(checked.a[0].seq.n_prints, t->n_rows);
    own = checked.a[0].prints + (size_t)t->step0 * REDUN_PRINT_LEN;
    for (uint32_t r = 0; r < n; r++) {
        uint8_t *out = prints + (size_t)r * REDUN_PRINT_LEN;

        if (tolerant)
            redun_project(out, ask.seed, t->step0 + r, said + r * row_len, dim);
        else
            redun_print(out, ask.seed, said + r * row_len, row_len);
    }
    if (tolerant) {
        v.distance = redun_distance(prints, own, n, dim).mean;
        v.found = !redun_agrees(prints, own, &stretch);
    } else {
        v.found = memcmp(prints, own, (size_t)n * REDUN_PRINT_LEN) != 0;
    }
    answers_release(&checked);
    free(prints);
    free(said);
    free(truth);
    engine_drop(g->checker, t->id);
    return v;
}
