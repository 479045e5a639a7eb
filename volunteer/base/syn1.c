#include "base/syn1.h"

#include "base/crc32c.h"

enum {
    MAGIC = 0x314E5953, // "SYN1"
    VERSION = 1,
    N_SEQS_AT = 28,
    BODY_LEN_AT = 72,
    UNIT_SEQ_LEN = 72,
    RESULT_SEQ_LEN = 32,
    CALL_LEN = 32,
    ANSWER_LEN = 12,
    BIAS_LEN = 8,
    SPAN_LEN = SYN1_ID_LEN + 4,
    TOP_P_ONE = 65536,
    PENALTY_MAX = 2 * 65536,
    BIAS_MAX = 100 * 65536,
};

// A row or a list can be longer than a 32-bit size_t before it is checked
// against what is left, so lengths are multiplied in 64 bits.
static bool take(struct bytes *in, uint64_t n, const uint8_t **out)
{
    return n <= in->len && bytes_take(in, (size_t)n, out);
}

static bool is_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

static bool within(int32_t v, int32_t limit)
{
    return v >= -limit && v <= limit;
}

// Header: the fields one by one, then what each kind allows.

static enum err header_read(struct bytes *in, struct syn1_header *h,
                            uint32_t *body_len)
{
    const uint8_t *model, *unit;
    uint32_t magic;
    uint8_t version, kind, zero;

    if (!bytes_u32(in, &magic) || !bytes_u8(in, &version) ||
        !bytes_u8(in, &kind) || !bytes_u16(in, &h->flags) ||
        !bytes_take(in, SYN1_ID_LEN, &model) ||
        !bytes_u16(in, &h->span_first) || !bytes_u16(in, &h->span_end) ||
        !bytes_u16(in, &h->n_seqs) || !bytes_u8(in, &h->kernel_class) ||
        !bytes_u8(in, &zero) || !bytes_take(in, SYN1_ID_LEN, &unit) ||
        !bytes_u32(in, &h->attempt) || !bytes_u32(in, &h->dim) ||
        !bytes_u64(in, &h->print_seed) || !bytes_u64(in, &h->number) ||
        !bytes_u32(in, body_len))
        return ERR_TRUNCATED;
    if (magic != MAGIC)
        return ERR_FORMAT;
    if (version != VERSION)
        return ERR_VERSION;
    if (kind < SYN1_UNIT || kind > SYN1_ANSWER || h->kernel_class > 1 || zero)
        return ERR_FORMAT;
    if (*body_len > SYN1_FRAME_MAX - SYN1_HEADER_LEN - SYN1_CRC_LEN)
        return ERR_RANGE;
    h->kind = (enum syn1_kind)kind;
    memcpy(h->model, model, SYN1_ID_LEN);
    memcpy(h->unit, unit, SYN1_ID_LEN);
    return ERR_OK;
}

static bool flags_fit(const struct syn1_header *h)
{
    switch (h->kind) {
    case SYN1_UNIT:
        return h->flags <= 7 && (h->flags & (SYN1_TOKENS | SYN1_ROWS));
    case SYN1_RESULT: // rows that were not asked for are not sent
        return h->flags <= 7 &&
               (~h->flags & (SYN1_ROWS | SYN1_PRINTS_ONLY)) != 0;
    default:
        return h->flags == 0;
    }
}

static bool span_fits(const struct syn1_header *h)
{
    bool none = h->span_first == 0 && h->span_end == 0;

    if (h->kind == SYN1_CALL)
        return none;
    if (h->kind == SYN1_ANSWER && none)
        return is_zero(h->model, SYN1_ID_LEN);
    return h->span_first < h->span_end;
}

static enum err header_check(const struct syn1_header *h)
{
    bool work = h->kind == SYN1_UNIT || h->kind == SYN1_RESULT;

    if (!flags_fit(h) || !span_fits(h))
        return ERR_FORMAT;
    if (!work && !is_zero(h->unit, SYN1_ID_LEN))
        return ERR_FORMAT;
    if (h->kind == SYN1_UNIT && h->number)
        return ERR_FORMAT;
    if (work ? h->n_seqs < 1 || h->n_seqs > SYN1_SEQS_MAX : h->n_seqs != 0)
        return ERR_RANGE;
    if (h->flags & SYN1_ROWS ? h->dim < 1 || h->dim > SYN1_DIM_MAX
                             : h->dim != 0)
        return ERR_RANGE;
    return ERR_OK;
}

// Rows, and lists of numbers.

static enum err rows_check(const uint8_t *rows, uint32_t n, uint32_t dim)
{
    size_t row_len = syn1_row_len(dim);

    for (uint32_t r = 0; r < n; r++, rows += row_len) {
        if (memchr(rows, 0x80, dim)) // a mantissa of -128
            return ERR_RANGE;
        for (size_t i = dim; i < row_len; i++)
            if (rows[i] > SYN1_EXP_MAX)
                return ERR_RANGE;
    }
    return ERR_OK;
}

static enum err bias_check(const uint8_t *bias, uint32_t n)
{
    for (; n; n--, bias += BIAS_LEN)
        if (!within((int32_t)bytes_peek_u32(bias + 4), BIAS_MAX))
            return ERR_RANGE;
    return ERR_OK;
}

static enum err logprobs_check(const uint8_t *p, uint32_t n, uint32_t n_top)
{
    for (; n; n--) {
        if ((int32_t)bytes_peek_u32(p) > 0)
            return ERR_RANGE;
        p += 4;
        for (uint32_t i = 0; i < n_top; i++, p += 8)
            if ((int32_t)bytes_peek_u32(p + 4) > 0)
                return ERR_RANGE;
    }
    return ERR_OK;
}

// Units.

static enum err unit_seq_fits(const struct syn1_unit_seq *s)
{
    const struct syn1_sampling *c = &s->sampling;

    if (s->n_rows < 1 ||
        (uint64_t)s->first + s->n_rows + s->max_new > SYN1_POS_MAX ||
        s->kv_valid > s->first || s->n_predict > s->n_rows ||
        s->n_prompt > SYN1_POS_MAX)
        return ERR_RANGE;
    if (c->top_p_q16 < 1 || c->top_p_q16 > TOP_P_ONE ||
        !within(c->presence_q16, PENALTY_MAX) ||
        !within(c->frequency_q16, PENALTY_MAX))
        return ERR_RANGE;
    if (c->flags & ~(SYN1_LOGPROBS | SYN1_IGNORE_END))
        return ERR_FORMAT;
    if (c->n_top > (c->flags & SYN1_LOGPROBS ? SYN1_TOP_MAX : 0))
        return ERR_RANGE;
    if (s->n_bias > SYN1_BIAS_MAX || s->n_stop > SYN1_STOP_MAX)
        return ERR_RANGE;
    return ERR_OK;
}

// Take one sequence off *in, checking all but the contents of its views.
static enum err unit_seq_take(const struct syn1_header *h, struct bytes *in,
                              struct syn1_unit_seq *out)
{
    struct syn1_unit_seq s = {0};
    struct syn1_sampling *c = &s.sampling;
    uint32_t presence, frequency;
    uint16_t zero;

    if (!bytes_u64(in, &s.id) || !bytes_u32(in, &s.epoch) ||
        !bytes_u32(in, &s.first) || !bytes_u32(in, &s.n_rows) ||
        !bytes_u32(in, &s.kv_valid) || !bytes_u32(in, &s.n_predict) ||
        !bytes_u32(in, &s.max_new) || !bytes_u32(in, &s.n_prompt) ||
        !bytes_u32(in, &c->inv_temp_q16) || !bytes_u32(in, &c->top_p_q16) ||
        !bytes_u32(in, &c->top_k) || !bytes_u64(in, &c->seed) ||
        !bytes_u32(in, &presence) || !bytes_u32(in, &frequency) ||
        !bytes_u8(in, &c->flags) || !bytes_u8(in, &c->n_top) ||
        !bytes_u16(in, &s.n_bias) || !bytes_u16(in, &s.n_stop) ||
        !bytes_u16(in, &zero) || zero)
        return ERR_FORMAT;
    c->presence_q16 = (int32_t)presence;
    c->frequency_q16 = (int32_t)frequency;

    enum err err = unit_seq_fits(&s);
    if (err)
        return err;
    if (h->flags & SYN1_TOKENS && !take(in, UINT64_C(4) * s.n_rows, &s.tokens))
        return ERR_FORMAT;
    if (h->flags & SYN1_ROWS &&
        !take(in, (uint64_t)s.n_rows * syn1_row_len(h->dim), &s.rows))
        return ERR_FORMAT;
    if (!take(in, UINT64_C(8) * s.n_bias, &s.bias) ||
        !take(in, UINT64_C(4) * s.n_stop, &s.stop))
        return ERR_FORMAT;
    *out = s;
    return ERR_OK;
}

static enum err unit_check(const struct syn1_header *h, struct bytes in)
{
    for (uint32_t i = 0; i < h->n_seqs; i++) {
        struct syn1_unit_seq s;
        enum err err = unit_seq_take(h, &in, &s);

        if (!err && s.rows)
            err = rows_check(s.rows, s.n_rows, h->dim);
        if (!err)
            err = bias_check(s.bias, s.n_bias);
        if (err)
            return err;
    }
    return in.len ? ERR_FORMAT : ERR_OK;
}

// Results.

static enum err result_seq_fits(const struct syn1_header *h,
                                const struct syn1_result_seq *s)
{
    if ((uint64_t)s->first + s->n_rows > SYN1_POS_MAX ||
        s->n_tokens > SYN1_POS_MAX || s->n_prints > SYN1_POS_MAX)
        return ERR_RANGE;
    if ((s->n_rows && !(h->flags & SYN1_ROWS)) ||
        (s->n_tokens && !(h->flags & SYN1_TOKENS)) ||
        (s->flags & ~SYN1_LOGPROBS))
        return ERR_FORMAT;
    if (s->n_top > (s->flags & SYN1_LOGPROBS ? SYN1_TOP_MAX : 0))
        return ERR_RANGE;
    return ERR_OK;
}

// Take one sequence off *in, checking all but the contents of its views.
static enum err result_seq_take(const struct syn1_header *h, struct bytes *in,
                                struct syn1_result_seq *out)
{
    struct syn1_result_seq s = {0};
    uint8_t status, finish;

    if (!bytes_u64(in, &s.id) || !bytes_u32(in, &s.epoch) ||
        !bytes_u32(in, &s.first) || !bytes_u32(in, &s.n_rows) ||
        !bytes_u32(in, &s.n_tokens) || !bytes_u32(in, &s.n_prints) ||
        !bytes_u8(in, &status) || !bytes_u8(in, &finish) ||
        !bytes_u8(in, &s.flags) || !bytes_u8(in, &s.n_top) ||
        status > SYN1_NO_ROOM || finish > SYN1_CONTEXT_FULL)
        return ERR_FORMAT;
    s.status = (enum syn1_status)status;
    s.finish = (enum syn1_finish)finish;

    enum err err = result_seq_fits(h, &s);
    if (err)
        return err;
    if (!take(in, (uint64_t)s.n_rows * syn1_row_len(h->dim), &s.rows) ||
        !take(in, UINT64_C(4) * s.n_tokens, &s.tokens))
        return ERR_FORMAT;
    if (s.flags & SYN1_LOGPROBS &&
        !take(in, (uint64_t)s.n_tokens * (4 + 8U * s.n_top), &s.logprobs))
        return ERR_FORMAT;
    if (!take(in, (uint64_t)s.n_prints * SYN1_PRINT_LEN, &s.prints))
        return ERR_FORMAT;
    *out = s;
    return ERR_OK;
}

static enum err result_check(const struct syn1_header *h, struct bytes in)
{
    for (uint32_t i = 0; i < h->n_seqs; i++) {
        struct syn1_result_seq s;
        enum err err = result_seq_take(h, &in, &s);

        if (!err)
            err = rows_check(s.rows, s.n_rows, h->dim);
        if (!err && s.logprobs)
            err = logprobs_check(s.logprobs, s.n_tokens, s.n_top);
        if (err)
            return err;
    }
    return in.len ? ERR_FORMAT : ERR_OK;
}

// Calls and answers.

static enum err call_read(struct bytes in, struct syn1_call *out)
{
    struct syn1_call c = {0};

    if (!bytes_u16(&in, &c.n_held) || !bytes_u16(&in, &c.n_models) ||
        !bytes_u32(&in, &c.slots) || !bytes_u64(&in, &c.memory) ||
        !bytes_u32(&in, &c.prefill_rows_s) ||
        !bytes_u32(&in, &c.decode_tokens_s) || !bytes_u32(&in, &c.wait_ms) ||
        !bytes_u32(&in, &c.result_len))
        return ERR_FORMAT;
    if (c.n_held > SYN1_HELD_MAX || c.n_models > SYN1_MODELS_MAX ||
        c.wait_ms > SYN1_WAIT_MS_MAX)
        return ERR_RANGE;
    if (!take(&in, (uint64_t)c.n_held * SYN1_ID_LEN, &c.held) ||
        !take(&in, (uint64_t)c.n_models * SPAN_LEN, &c.models) ||
        !take(&in, c.result_len, &c.result) || in.len)
        return ERR_FORMAT;
    for (uint32_t i = 0; i < c.n_models; i++) {
        struct bytes span = {c.models + i * SPAN_LEN + SYN1_ID_LEN, 4};
        uint16_t first, end;

        if (!bytes_u16(&span, &first) || !bytes_u16(&span, &end) ||
            first >= end)
            return ERR_FORMAT;
    }
    *out = c;
    return ERR_OK;
}

static enum err answer_read(struct bytes in, struct syn1_answer *out)
{
    struct syn1_answer a = {0};
    uint16_t reason;
    uint8_t outcome, zero;

    if (!bytes_u16(&in, &reason) || !bytes_u8(&in, &outcome) ||
        !bytes_u8(&in, &zero) || !bytes_u32(&in, &a.retry_ms) ||
        !bytes_u32(&in, &a.unit_len))
        return ERR_FORMAT;
    if (reason >= SYN1_REASON_END || outcome > SYN1_GONE || zero)
        return ERR_FORMAT;
    if ((reason == SYN1_WORK) != (a.unit_len > 0))
        return ERR_FORMAT;
    if (!take(&in, a.unit_len, &a.unit) || in.len)
        return ERR_FORMAT;
    a.reason = (enum syn1_reason)reason;
    a.outcome = (enum syn1_outcome)outcome;
    *out = a;
    return ERR_OK;
}

// Whole frames.

static enum err body_check(struct syn1_frame *f)
{
    switch (f->header.kind) {
    case SYN1_UNIT:
        return unit_check(&f->header, f->body);
    case SYN1_RESULT:
        return result_check(&f->header, f->body);
    case SYN1_CALL:
        return call_read(f->body, &f->as.call);
    default:
        return answer_read(f->body, &f->as.answer);
    }
}

enum err syn1_parse(const uint8_t *buf, size_t len, struct syn1_frame *out)
{
    struct syn1_frame f = {0};
    struct bytes in = {buf, len};
    uint32_t body_len, crc;

    enum err err = header_read(&in, &f.header, &body_len);
    if (err)
        return err;
    f.body.len = body_len;
    if (!bytes_take(&in, body_len, &f.body.ptr) || !bytes_u32(&in, &crc))
        return ERR_TRUNCATED;
    if (in.len)
        return ERR_FORMAT;
    if (crc != crc32c(buf, len - SYN1_CRC_LEN))
        return ERR_CHECKSUM;
    err = header_check(&f.header);
    if (!err)
        err = body_check(&f);
    if (err)
        return err;
    *out = f;
    return ERR_OK;
}

bool syn1_unit_next(const struct syn1_header *header, struct bytes *body,
                    struct syn1_unit_seq *out)
{
    struct bytes in = *body;

    if (!in.len || unit_seq_take(header, &in, out))
        return false;
    *body = in;
    return true;
}

bool syn1_result_next(const struct syn1_header *header, struct bytes *body,
                      struct syn1_result_seq *out)
{
    struct bytes in = *body;

    if (!in.len || result_seq_take(header, &in, out))
        return false;
    *body = in;
    return true;
}

// Writing.

static void store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static void count_seq(struct bytes_out *out)
{
    if (out->full)
        return;
    uint8_t *n = out->ptr + N_SEQS_AT;
    store_u16(n, (uint16_t)((n[0] | n[1] << 8) + 1));
}

void syn1_begin(struct bytes_out *out, const struct syn1_header *header)
{
    bytes_put_u32(out, MAGIC);
    bytes_put_u8(out, VERSION);
    bytes_put_u8(out, (uint8_t)header->kind);
    bytes_put_u16(out, header->flags);
    bytes_put(out, header->model, SYN1_ID_LEN);
    bytes_put_u16(out, header->span_first);
    bytes_put_u16(out, header->span_end);
    bytes_put_u16(out, 0); // n_seqs, counted by the puts
    bytes_put_u8(out, header->kernel_class);
    bytes_put_u8(out, 0);
    bytes_put(out, header->unit, SYN1_ID_LEN);
    bytes_put_u32(out, header->attempt);
    bytes_put_u32(out, header->dim);
    bytes_put_u64(out, header->print_seed);
    bytes_put_u64(out, header->number);
    bytes_put_u32(out, 0); // body_len, known at the end
}

void syn1_put_unit_seq(struct bytes_out *out, const struct syn1_header *header,
                       const struct syn1_unit_seq *seq)
{
    const struct syn1_sampling *c = &seq->sampling;

    count_seq(out);
    bytes_put_u64(out, seq->id);
    bytes_put_u32(out, seq->epoch);
    bytes_put_u32(out, seq->first);
    bytes_put_u32(out, seq->n_rows);
    bytes_put_u32(out, seq->kv_valid);
    bytes_put_u32(out, seq->n_predict);
    bytes_put_u32(out, seq->max_new);
    bytes_put_u32(out, seq->n_prompt);
    bytes_put_u32(out, c->inv_temp_q16);
    bytes_put_u32(out, c->top_p_q16);
    bytes_put_u32(out, c->top_k);
    bytes_put_u64(out, c->seed);
    bytes_put_u32(out, (uint32_t)c->presence_q16);
    bytes_put_u32(out, (uint32_t)c->frequency_q16);
    bytes_put_u8(out, c->flags);
    bytes_put_u8(out, c->n_top);
    bytes_put_u16(out, seq->n_bias);
    bytes_put_u16(out, seq->n_stop);
    bytes_put_u16(out, 0);
    if (header->flags & SYN1_TOKENS)
        bytes_put(out, seq->tokens, (size_t)4 * seq->n_rows);
    if (header->flags & SYN1_ROWS)
        bytes_put(out, seq->rows, seq->n_rows * syn1_row_len(header->dim));
    bytes_put(out, seq->bias, (size_t)BIAS_LEN * seq->n_bias);
    bytes_put(out, seq->stop, (size_t)4 * seq->n_stop);
}

void syn1_put_result_seq(struct bytes_out *out,
                         const struct syn1_header *header,
                         const struct syn1_result_seq *seq)
{
    count_seq(out);
    bytes_put_u64(out, seq->id);
    bytes_put_u32(out, seq->epoch);
    bytes_put_u32(out, seq->first);
    bytes_put_u32(out, seq->n_rows);
    bytes_put_u32(out, seq->n_tokens);
    bytes_put_u32(out, seq->n_prints);
    bytes_put_u8(out, (uint8_t)seq->status);
    bytes_put_u8(out, (uint8_t)seq->finish);
    bytes_put_u8(out, seq->flags);
    bytes_put_u8(out, seq->n_top);
    bytes_put(out, seq->rows, seq->n_rows * syn1_row_len(header->dim));
    bytes_put(out, seq->tokens, (size_t)4 * seq->n_tokens);
    if (seq->flags & SYN1_LOGPROBS)
        bytes_put(out, seq->logprobs,
                  seq->n_tokens * ((size_t)4 + 8U * seq->n_top));
    bytes_put(out, seq->prints, (size_t)SYN1_PRINT_LEN * seq->n_prints);
}

void syn1_put_call(struct bytes_out *out, const struct syn1_call *call)
{
    bytes_put_u16(out, call->n_held);
    bytes_put_u16(out, call->n_models);
    bytes_put_u32(out, call->slots);
    bytes_put_u64(out, call->memory);
    bytes_put_u32(out, call->prefill_rows_s);
    bytes_put_u32(out, call->decode_tokens_s);
    bytes_put_u32(out, call->wait_ms);
    bytes_put_u32(out, call->result_len);
    bytes_put(out, call->held, (size_t)SYN1_ID_LEN * call->n_held);
    bytes_put(out, call->models, (size_t)SPAN_LEN * call->n_models);
    bytes_put(out, call->result, call->result_len);
}

void syn1_put_answer(struct bytes_out *out, const struct syn1_answer *answer)
{
    bytes_put_u16(out, (uint16_t)answer->reason);
    bytes_put_u8(out, (uint8_t)answer->outcome);
    bytes_put_u8(out, 0);
    bytes_put_u32(out, answer->retry_ms);
    bytes_put_u32(out, answer->unit_len);
    bytes_put(out, answer->unit, answer->unit_len);
}

enum err syn1_end(struct bytes_out *out)
{
    if (out->full || out->cap - out->len < SYN1_CRC_LEN ||
        out->len > SYN1_FRAME_MAX - SYN1_CRC_LEN)
        return ERR_FULL;

    uint32_t body_len = (uint32_t)(out->len - SYN1_HEADER_LEN);
    store_u16(out->ptr + BODY_LEN_AT, (uint16_t)body_len);
    store_u16(out->ptr + BODY_LEN_AT + 2, (uint16_t)(body_len >> 16));
    bytes_put_u32(out, crc32c(out->ptr, out->len));
    return ERR_OK;
}

size_t syn1_unit_seq_len(const struct syn1_header *header,
                         const struct syn1_unit_seq *seq)
{
    size_t len =
        UNIT_SEQ_LEN + (size_t)BIAS_LEN * seq->n_bias + (size_t)4 * seq->n_stop;

    if (header->flags & SYN1_TOKENS)
        len += (size_t)4 * seq->n_rows;
    if (header->flags & SYN1_ROWS)
        len += seq->n_rows * syn1_row_len(header->dim);
    return len;
}

size_t syn1_result_seq_len(const struct syn1_header *header,
                           const struct syn1_result_seq *seq)
{
    size_t len = RESULT_SEQ_LEN + seq->n_rows * syn1_row_len(header->dim) +
                 (size_t)4 * seq->n_tokens +
                 (size_t)SYN1_PRINT_LEN * seq->n_prints;

    if (seq->flags & SYN1_LOGPROBS)
        len += seq->n_tokens * ((size_t)4 + 8U * seq->n_top);
    return len;
}
