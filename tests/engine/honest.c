#include "honest.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "redundancy/project.h"

enum { SLICE_MIN = 8, SLICE_MAX = 64, GROUP = 64 };

const uint32_t honest_lengths[HONEST_LENGTHS] = {1, 4, 16, 32, 64};

static uint32_t below(struct honest_text *text, uint32_t n)
{
    text->state = text->state * UINT64_C(6364136223846793005) +
                  UINT64_C(1442695040888963407);
    return (uint32_t)((text->state >> 32) * n >> 32);
}

static void tokens_choose(struct honest_text *text, uint8_t *tokens)
{
    struct bytes_out out = {.ptr = tokens, .cap = HONEST_SEQ * 4};
    uint32_t n = 0;

    while (n < HONEST_SEQ) {
        const struct golden *g = text->golden;
        const struct golden_window *w =
            &g->windows[below(text, (uint32_t)g->n_windows)];
        uint32_t from = below(text, w->n);
        uint32_t len = SLICE_MIN + below(text, SLICE_MAX - SLICE_MIN);

        for (uint32_t i = from; i < from + len && i < w->n && n < HONEST_SEQ;
             i++, n++)
            bytes_put_u32(&out, w->ids[i]);
    }
}

// Run the sequence of tokens or rows as one unit. A copy of the result, the
// caller's.
static uint8_t *run(struct engine *e, const struct syn1_header *like,
                    const uint8_t *tokens, const uint8_t *rows,
                    struct syn1_result_seq *seq)
{
    struct syn1_header header = *like;
    struct syn1_unit_seq in = {.id = 1,
                               .n_rows = HONEST_SEQ,
                               .tokens = tokens,
                               .rows = rows,
                               .sampling.top_p_q16 = 1 << 16};
    struct bytes_out frame = {0};
    struct syn1_frame parsed;
    const uint8_t *out;
    uint8_t *copy;
    size_t len;

    header.kind = SYN1_UNIT;
    header.flags |= rows ? SYN1_ROWS : SYN1_TOKENS;
    header.dim = rows ? engine_config(e)->d_model : 0;
    header.span_first = (uint16_t)engine_span_first(e);
    header.span_end = (uint16_t)engine_span_end(e);
    frame.cap =
        SYN1_HEADER_LEN + SYN1_CRC_LEN + syn1_unit_seq_len(&header, &in);
    frame.ptr = malloc(frame.cap);
    CHECK(frame.ptr);
    syn1_begin(&frame, &header);
    syn1_put_unit_seq(&frame, &header, &in);
    CHECK_EQ(syn1_end(&frame), ERR_OK);
    CHECK_EQ(engine_run(e, frame.ptr, frame.len, &out, &len), ERR_OK);
    free(frame.ptr);
    copy = malloc(len);
    CHECK(copy);
    memcpy(copy, out, len);
    CHECK_EQ(syn1_parse(copy, len, &parsed), ERR_OK);
    CHECK(syn1_result_next(&parsed.header, &parsed.body, seq));
    CHECK_EQ(seq->status, SYN1_OK);
    engine_drop(e, 1);
    return copy;
}

// How far values of two rows are apart, in units of the coarser one.
static void values_compare(const uint8_t *a, const uint8_t *b, uint32_t dim,
                           struct honest_tally *tally)
{
    for (uint32_t i = 0; i < dim; i++) {
        int ea = a[dim + i / SYN1_GROUP], eb = b[dim + i / SYN1_GROUP];
        int64_t d = ((int64_t)(int8_t)a[i] * (INT64_C(1) << ea)) -
                    ((int64_t)(int8_t)b[i] * (INT64_C(1) << eb));
        int64_t unit = INT64_C(1) << (ea > eb ? ea : eb);

        d = d < 0 ? -d : d;
        tally->off_by_1 += d > 0 && d <= unit;
        tally->off_by_2 += d > unit;
    }
    tally->values += dim;
}

// GROUP rows from position `at` on as the server and a checker of class f32 see
// them.
static void group_tolerant(const uint8_t *rows, const uint8_t *prints,
                           const struct redun_stretch *stretch, uint64_t seed,
                           uint32_t at, struct honest_tally *tally)
{
    uint8_t own[GROUP * REDUN_PRINT_LEN];

    for (uint32_t r = 0; r < GROUP; r++)
        redun_project(own + (size_t)r * REDUN_PRINT_LEN, seed, at + r,
                      rows + r * syn1_row_len((uint32_t)stretch->dim),
                      stretch->dim);
    for (int l = 0; l < HONEST_LENGTHS; l++) {
        struct redun_stretch s = *stretch;

        s.n = honest_lengths[l];
        for (size_t r = 0; r + s.n <= GROUP; r += s.n) {
            const uint8_t *a = own + r * REDUN_PRINT_LEN;
            const uint8_t *b = prints + r * REDUN_PRINT_LEN;
            uint64_t far = redun_distance(a, b, s.n, s.dim).mean;

            if (far > tally->largest[l])
                tally->largest[l] = far;
            tally->rejected[l] += !redun_agrees(a, b, &s);
        }
    }
}

static void group_exact(const uint8_t *rows, const uint8_t *prints,
                        uint32_t dim, uint64_t seed, struct honest_tally *tally)
{
    for (uint32_t r = 0; r < GROUP; r++) {
        uint8_t own[REDUN_PRINT_LEN];

        redun_print(own, seed, rows + r * syn1_row_len(dim), syn1_row_len(dim));
        tally->rejected[0] +=
            memcmp(own, prints + (size_t)r * REDUN_PRINT_LEN, sizeof own) != 0;
    }
}

void honest_run(const struct honest_engines *e, struct honest_text *text,
                uint64_t n_rows, struct honest_tally *tally)
{
    uint32_t dim = engine_config(e->a)->d_model;
    size_t row_len = syn1_row_len(dim);

    for (uint64_t end = tally->rows + n_rows; tally->rows < end;) {
        uint8_t tokens[HONEST_SEQ * 4];
        struct syn1_header header = {0};
        struct syn1_result_seq front = {0}, a, b;
        struct redun_stretch stretch = {
            .dim = dim, .n_layers = engine_layers(e->a), .embeds = !e->before};
        uint8_t *held = NULL, *by_a, *by_b;

        tokens_choose(text, tokens);
        if (e->before)
            held = run(e->before, &header, tokens, NULL, &front);
        header.kernel_class = (uint8_t)e->kernel_class;
        by_a = run(e->a, &header, front.rows ? NULL : tokens, front.rows, &a);
        header.print_seed = (uint64_t)below(text, UINT32_MAX) << 32;
        by_b = run(e->b, &header, front.rows ? NULL : tokens, front.rows, &b);
        for (uint32_t at = 0; at < HONEST_SEQ; at += GROUP) {
            const uint8_t *rows = a.rows + at * row_len;
            const uint8_t *prints = b.prints + (size_t)at * REDUN_PRINT_LEN;

            if (e->kernel_class == ENGINE_CLASS_F32)
                group_tolerant(rows, prints, &stretch, header.print_seed, at,
                               tally);
            else
                group_exact(rows, prints, dim, header.print_seed, tally);
        }
        for (uint32_t r = 0; r < HONEST_SEQ; r++)
            values_compare(a.rows + r * row_len, b.rows + r * row_len, dim,
                           tally);
        tally->rows += HONEST_SEQ;
        free(held);
        free(by_a);
        free(by_b);
    }
}
