#include "engine/unit.h"

#include <stdlib.h>
#include <string.h>

#include "redundancy/project.h"

_Static_assert((int)REDUN_PRINT_LEN == (int)SYN1_PRINT_LEN,
               "fingerprints do not fit the frame");

// What a result frame is longer than the answers in it.
enum { FRAME_MORE = SYN1_HEADER_LEN + SYN1_CRC_LEN + SYN1_SEQS_MAX * 32 };

enum err unit_init(struct unit *unit, size_t answers_max)
{
    *unit = (struct unit){.answers_max = answers_max};
    unit->seqs = calloc(SYN1_SEQS_MAX, sizeof *unit->seqs);
    if (!unit->seqs)
        return ERR_NOMEM;
    if (answers_max == SYN1_FRAME_MAX)
        return ERR_OK;
    // What is bounded is taken at once: growing would leave holes.
    unit->arena_len = answers_max + 1;
    unit->arena = malloc(unit->arena_len);
    unit->frame_len = answers_max + FRAME_MORE;
    unit->frame = malloc(unit->frame_len);
    return unit->arena && unit->frame ? ERR_OK : ERR_NOMEM;
}

void unit_release(struct unit *unit)
{
    free(unit->seqs);
    free(unit->arena);
    free(unit->frame);
    *unit = (struct unit){0};
}

size_t unit_bytes(const struct unit *unit)
{
    return unit->arena_len + unit->frame_len +
           SYN1_SEQS_MAX * sizeof *unit->seqs;
}

size_t unit_need(size_t answers_max)
{
    return 2 * answers_max + 1 + FRAME_MORE +
           SYN1_SEQS_MAX * sizeof(struct unit_seq);
}

uint32_t unit_token(const struct unit_seq *seq, uint32_t i)
{
    return bytes_peek_u32(seq->in.tokens + (size_t)i * 4);
}

bool unit_predicts(const struct unit_seq *seq, uint32_t i)
{
    return i >= seq->in.n_rows - seq->in.n_predict;
}

static bool ids_valid(const uint8_t *ids, uint32_t n, size_t step,
                      uint32_t n_vocab)
{
    for (uint32_t i = 0; ids && i < n; i++)
        if (bytes_peek_u32(ids + i * step) >= n_vocab)
            return false;
    return true;
}

static bool repeated(const struct unit *unit, uint64_t id)
{
    for (uint32_t i = 0; i < unit->n_seqs; i++)
        if (unit->seqs[i].in.id == id)
            return true;
    return false;
}

// What this span can do with one sequence.
static enum err seq_check(const struct unit *unit,
                          const struct bind_model *model,
                          const struct syn1_unit_seq *in)
{
    const struct format_config *c = &model->config;
    bool penalties = in->sampling.presence_q16 || in->sampling.frequency_q16;

    if (repeated(unit, in->id))
        return ERR_FORMAT;
    if (model->has_embed ? !in->tokens : !in->rows)
        return ERR_FORMAT;
    if (!model->has_head && (in->n_predict || in->max_new))
        return ERR_FORMAT;
    // Penalties read the tokens; going on by more than one feeds them back.
    if (penalties && !in->tokens)
        return ERR_FORMAT;
    if (!model->has_embed && in->max_new > 1)
        return ERR_FORMAT;
    if (in->first > c->n_ctx || in->n_rows > c->n_ctx - in->first)
        return ERR_RANGE;
    if (!ids_valid(in->tokens, in->n_rows, 4, c->n_vocab) ||
        !ids_valid(in->bias, in->n_bias, 8, c->n_vocab))
        return ERR_RANGE;
    return ERR_OK;
}

// New tokens that fit the context behind the given rows.
static uint32_t new_max(const struct bind_model *model,
                        const struct syn1_unit_seq *in)
{
    uint32_t room = model->config.n_ctx - in->first - in->n_rows;

    return in->max_new < room ? in->max_new : room;
}

// Bytes of a sequence's answer at most, for tokens as asked.
static uint64_t answer_len(const struct unit *unit,
                           const struct bind_model *model,
                           const struct syn1_unit_seq *in)
{
    uint64_t n_tokens = (uint64_t)in->n_predict + new_max(model, in);
    uint64_t n_prints = model->has_head ? n_tokens : in->n_rows;
    uint64_t len = n_tokens * 4 + n_prints * SYN1_PRINT_LEN;

    if (unit->returns_rows)
        len += (uint64_t)in->n_rows * syn1_row_len(model->config.d_model);
    if (in->sampling.flags & SYN1_LOGPROBS)
        len += n_tokens * (4 + 8 * (uint64_t)in->sampling.n_top);
    return len;
}

static enum err grow(uint8_t **buf, size_t *len, uint64_t want)
{
    uint8_t *p;

    if (want <= *len)
        return ERR_OK;
    if (want > SYN1_FRAME_MAX)
        return ERR_FULL;
    free(*buf); // what was in it is not needed: never hold both
    *buf = NULL;
    *len = 0;
    p = malloc((size_t)want);
    if (!p)
        return ERR_NOMEM;
    *buf = p;
    *len = (size_t)want;
    return ERR_OK;
}

// Give each sequence its part of the arena.
static void answers_place(struct unit *unit, const struct bind_model *model)
{
    uint8_t *at = unit->arena;

    for (uint32_t i = 0; i < unit->n_seqs; i++) {
        struct unit_seq *seq = &unit->seqs[i];
        const struct syn1_unit_seq *in = &seq->in;
        size_t n_tokens = in->n_predict + new_max(model, in);

        if (seq->status != SYN1_OK)
            continue;
        seq->rows = at;
        if (unit->returns_rows)
            at += in->n_rows * syn1_row_len(model->config.d_model);
        seq->tokens = at;
        at += n_tokens * 4;
        seq->logprobs = NULL;
        if (in->sampling.flags & SYN1_LOGPROBS) {
            seq->logprobs = at;
            at += n_tokens * (4 + 8 * (size_t)in->sampling.n_top);
        }
        seq->prints = at;
        at += (model->has_head ? n_tokens : in->n_rows) * SYN1_PRINT_LEN;
    }
}

// May it be computed in that class here? Exact work is within class f32.
static bool class_fits(const struct unit_reader *reader, uint8_t kernel_class)
{
    if (kernel_class == ENGINE_CLASS_EXACT)
        return reader->kernel_class == ENGINE_CLASS_EXACT;
    return kernel_class == ENGINE_CLASS_F32 && !reader->model->has_head;
}

static enum err header_check(const struct syn1_header *h,
                             const struct unit_reader *reader)
{
    const struct bind_model *model = reader->model;

    if (h->kind != SYN1_UNIT)
        return ERR_FORMAT;
    if (memcmp(h->model, reader->id, SYN1_ID_LEN) != 0 ||
        !class_fits(reader, h->kernel_class) ||
        h->span_first != model->span_first || h->span_end != model->span_end)
        return ERR_NOT_FOUND;
    if ((h->flags & SYN1_ROWS) && h->dim != model->config.d_model)
        return ERR_RANGE;
    return ERR_OK;
}

enum err unit_read(struct unit *unit, const struct unit_reader *reader,
                   const uint8_t *frame, size_t len)
{
    const struct bind_model *model = reader->model;
    struct syn1_frame parsed;
    struct syn1_unit_seq in;
    uint64_t answers = 0;
    enum err err = syn1_parse(frame, len, &parsed);

    if (!err)
        err = header_check(&parsed.header, reader);
    if (err)
        return err;
    unit->header = parsed.header;
    unit->has_head = model->has_head;
    unit->dim = model->config.d_model;
    unit->returns_rows =
        !model->has_head && !(parsed.header.flags & SYN1_PRINTS_ONLY);
    unit->n_seqs = 0;
    unit->n_all = 0;
    while (syn1_unit_next(&parsed.header, &parsed.body, &in)) {
        err = seq_check(unit, model, &in);
        if (err)
            return err;
        struct unit_seq *seq = &unit->seqs[unit->n_seqs++];
        uint64_t answer = answer_len(unit, model, &in);

        *seq = (struct unit_seq){.in = in};
        if (answer > unit->answers_max - answers) {
            seq->status = SYN1_NO_ROOM;
            continue;
        }
        unit->n_all += in.n_rows + in.max_new;
        answers += answer;
    }
    err = grow(&unit->arena, &unit->arena_len, answers + 1);
    if (!err)
        answers_place(unit, model);
    return err;
}

void unit_put_token(struct unit_seq *seq, uint32_t token)
{
    struct bytes_out out = {seq->tokens + (size_t)seq->n_tokens * 4, 4, 0,
                            false};

    bytes_put_u32(&out, token);
    seq->n_tokens++;
}

void unit_put_logprob(struct unit_seq *seq, const struct sampler_top *own,
                      const struct sampler_top *tops)
{
    uint32_t n_top = seq->in.sampling.n_top;
    size_t len = 4 + 8 * (size_t)n_top;
    struct bytes_out out = {seq->logprobs + seq->n_tokens * len, len, 0, false};

    bytes_put_u32(&out, (uint32_t)own->logprob);
    for (uint32_t i = 0; i < n_top; i++) {
        bytes_put_u32(&out, tops[i].token);
        bytes_put_u32(&out, (uint32_t)tops[i].logprob);
    }
}

void unit_put_print(const struct unit *unit, struct unit_seq *seq,
                    const uint8_t *row)
{
    uint8_t *out = seq->prints + (size_t)seq->n_prints * SYN1_PRINT_LEN;
    uint64_t seed = unit->header.print_seed;

    if (unit->header.kernel_class == ENGINE_CLASS_F32)
        redun_project(out, seed, seq->in.first + seq->n_prints, row, unit->dim);
    else
        redun_print(out, seed, row, syn1_row_len(unit->dim));
    seq->n_prints++;
}

static struct syn1_result_seq result_seq(const struct unit_seq *seq)
{
    struct syn1_result_seq r = {.id = seq->in.id,
                                .epoch = seq->in.epoch,
                                .first = seq->in.first,
                                .status = seq->status};

    if (seq->status != SYN1_OK)
        return r;
    r.n_rows = seq->n_rows;
    r.n_tokens = seq->n_tokens;
    r.n_prints = seq->n_prints;
    r.finish = seq->finish;
    r.rows = seq->rows;
    r.tokens = seq->tokens;
    r.prints = seq->prints;
    if (seq->logprobs) {
        r.flags = SYN1_LOGPROBS;
        r.n_top = seq->in.sampling.n_top;
        r.logprobs = seq->logprobs;
    }
    return r;
}

enum err unit_write(struct unit *unit, uint64_t compute_us, const uint8_t **out,
                    size_t *out_len)
{
    struct syn1_header h = unit->header;
    uint64_t len = SYN1_HEADER_LEN + SYN1_CRC_LEN;
    struct bytes_out frame = {0};
    enum err err;

    h.kind = SYN1_RESULT;
    h.flags = unit->returns_rows ? SYN1_ROWS
              : unit->has_head   ? SYN1_TOKENS
                                 : SYN1_PRINTS_ONLY;
    h.dim = unit->returns_rows ? unit->dim : 0;
    h.number = compute_us;
    for (uint32_t i = 0; i < unit->n_seqs; i++) {
        struct syn1_result_seq r = result_seq(&unit->seqs[i]);

        len += syn1_result_seq_len(&h, &r);
    }
    err = grow(&unit->frame, &unit->frame_len, len);
    if (err)
        return err;
    frame.ptr = unit->frame;
    frame.cap = unit->frame_len;
    syn1_begin(&frame, &h);
    for (uint32_t i = 0; i < unit->n_seqs; i++) {
        struct syn1_result_seq r = result_seq(&unit->seqs[i]);

        syn1_put_result_seq(&frame, &h, &r);
    }
    err = syn1_end(&frame);
    if (err)
        return err;
    *out = frame.ptr;
    *out_len = frame.len;
    return ERR_OK;
}
