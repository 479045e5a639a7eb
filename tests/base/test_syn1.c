// syn1: round trips with every optional part, every prefix, every field wrong
// by one, every limit. With an argument it writes its good frames to that
// folder: that is how corpus_syn1 was made.
#include "base/syn1.h"

#include <string.h>

#include "base/crc32c.h"
#include "check.h"

enum { CAP = 1 << 16, DIM = 70 };

struct buf {
    uint8_t ptr[CAP];
    size_t len;
};

static const uint8_t tokens[] = {1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 0, 0};
static const uint8_t bias[] = {9, 0, 0, 0, 0, 0, 0x64, 0}; // 9 by +100.0
static const uint8_t stop[] = {7, 0, 0, 0, 8, 0, 0, 0};

static void fill_rows(uint8_t *rows, uint32_t n)
{
    for (uint32_t r = 0; r < n; r++, rows += syn1_row_len(DIM)) {
        for (uint32_t i = 0; i < DIM; i++)
            rows[i] = (uint8_t)(i % 255 == 128 ? 127 : i * 3 + r);
        for (uint32_t i = 0; i < DIM; i++)
            if (rows[i] == 0x80)
                rows[i] = 0x81;
        rows[DIM] = 0;
        rows[DIM + 1] = SYN1_EXP_MAX;
        rows[DIM + 2] = 1;
    }
}

static struct syn1_header header(enum syn1_kind kind, uint16_t flags)
{
    struct syn1_header h = {.kind = kind, .flags = flags};

    if (kind == SYN1_UNIT || kind == SYN1_RESULT) {
        memset(h.model, 0xA1, sizeof h.model);
        memset(h.unit, 0xB2, sizeof h.unit);
        h.span_first = 1;
        h.span_end = 3;
        h.attempt = 5;
        h.print_seed = UINT64_C(0x1122334455667788);
        h.dim = flags & SYN1_ROWS ? DIM : 0;
    }
    if (kind != SYN1_UNIT)
        h.number = 77;
    return h;
}

static void finish(struct buf *b, struct bytes_out *out)
{
    CHECK_EQ(syn1_end(out), ERR_OK);
    b->len = out->len;
}

// Two sequences: one with all that a sequence can carry, one with the least.
static void make_unit(struct buf *b, uint16_t flags)
{
    struct syn1_header h = header(SYN1_UNIT, flags);
    struct bytes_out out = {.ptr = b->ptr, .cap = CAP};
    uint8_t rows[3 * (DIM + 3)];
    struct syn1_unit_seq full = {
        .id = UINT64_C(0x0123456789ABCDEF),
        .epoch = 2,
        .first = 10,
        .n_rows = 3,
        .kv_valid = 10,
        .n_predict = 3,
        .max_new = 20,
        .n_prompt = 12,
        .sampling = {.inv_temp_q16 = 80000,
                     .top_p_q16 = 60000,
                     .top_k = 40,
                     .seed = UINT64_MAX,
                     .presence_q16 = -131072,
                     .frequency_q16 = 131072,
                     .flags = SYN1_LOGPROBS | SYN1_IGNORE_END,
                     .n_top = SYN1_TOP_MAX},
        .n_bias = 1,
        .n_stop = 2,
        .tokens = tokens,
        .rows = rows,
        .bias = bias,
        .stop = stop};
    struct syn1_unit_seq least = {.id = 1,
                                  .n_rows = 1,
                                  .tokens = tokens,
                                  .rows = rows,
                                  .sampling.top_p_q16 = 1};

    fill_rows(rows, 3);
    syn1_begin(&out, &h);
    syn1_put_unit_seq(&out, &h, &full);
    syn1_put_unit_seq(&out, &h, &least);
    CHECK_EQ(out.len, SYN1_HEADER_LEN + syn1_unit_seq_len(&h, &full) +
                          syn1_unit_seq_len(&h, &least));
    finish(b, &out);
}

static void make_result(struct buf *b, uint16_t flags)
{
    struct syn1_header h = header(SYN1_RESULT, flags);
    struct bytes_out out = {.ptr = b->ptr, .cap = CAP};
    uint8_t rows[3 * (DIM + 3)], prints[3 * SYN1_PRINT_LEN];
    uint8_t logprobs[3 * (4 + 8)];
    struct syn1_result_seq full = {.id = 4,
                                   .epoch = 1,
                                   .first = 6,
                                   .n_prints = 3,
                                   .finish = SYN1_STOPPED,
                                   .rows = rows,
                                   .tokens = tokens,
                                   .logprobs = logprobs,
                                   .prints = prints};
    struct syn1_result_seq missing = {.id = 5, .status = SYN1_KV_MISSING};

    full.n_rows = flags & SYN1_ROWS ? 3 : 0;
    full.n_tokens = flags & SYN1_TOKENS ? 3 : 0;
    full.flags = flags & SYN1_TOKENS ? SYN1_LOGPROBS : 0;
    full.n_top = flags & SYN1_TOKENS ? 1 : 0;
    fill_rows(rows, 3);
    memset(prints, 0xC3, sizeof prints);
    memset(logprobs, 0xFF, sizeof logprobs); // -1 in Q16: allowed
    syn1_begin(&out, &h);
    syn1_put_result_seq(&out, &h, &full);
    syn1_put_result_seq(&out, &h, &missing);
    CHECK_EQ(out.len, SYN1_HEADER_LEN + syn1_result_seq_len(&h, &full) +
                          syn1_result_seq_len(&h, &missing));
    finish(b, &out);
}

static void make_call(struct buf *b, const struct buf *result)
{
    struct syn1_header h = header(SYN1_CALL, 0);
    struct bytes_out out = {.ptr = b->ptr, .cap = CAP};
    uint8_t held[2 * SYN1_ID_LEN], models[SYN1_ID_LEN + 4];
    struct syn1_call call = {.n_held = 2,
                             .n_models = 1,
                             .slots = 16,
                             .memory = UINT64_C(1) << 40,
                             .prefill_rows_s = 400,
                             .decode_tokens_s = 60,
                             .wait_ms = SYN1_WAIT_MS_MAX,
                             .held = held,
                             .models = models};

    memset(held, 0xD4, sizeof held);
    memset(models, 0, sizeof models);
    models[SYN1_ID_LEN + 2] = 2; // span 0 .. 2
    if (result) {
        call.result = result->ptr;
        call.result_len = (uint32_t)result->len;
    }
    syn1_begin(&out, &h);
    syn1_put_call(&out, &call);
    finish(b, &out);
}

static void make_answer(struct buf *b, const struct buf *unit)
{
    struct syn1_header h = header(SYN1_ANSWER, 0);
    struct bytes_out out = {.ptr = b->ptr, .cap = CAP};
    struct syn1_answer answer = {
        .reason = SYN1_NOT_CACHED, .outcome = SYN1_ACCEPTED, .retry_ms = 1000};

    if (unit) {
        answer.reason = SYN1_WORK;
        answer.unit = unit->ptr;
        answer.unit_len = (uint32_t)unit->len;
    } else {
        memset(h.model, 0xE5, sizeof h.model);
        h.span_end = 4;
    }
    syn1_begin(&out, &h);
    syn1_put_answer(&out, &answer);
    finish(b, &out);
}

// Parse an exact-size copy, so that AddressSanitizer sees a one-byte overread;
// on error the output must be untouched.
static enum err parse(const uint8_t *ptr, size_t len)
{
    uint8_t *exact = malloc(len ? len : 1);
    struct syn1_frame f, before;

    CHECK(exact);
    memcpy(exact, ptr, len);
    memset(&f, 0x5A, sizeof f);
    memcpy(&before, &f, sizeof f);
    enum err err = syn1_parse(exact, len, &f);
    if (err)
        CHECK(memcmp(&f, &before, sizeof f) == 0);
    free(exact);
    return err;
}

static void put_le(uint8_t *p, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

// What the frame gives with n bytes at offset `at` set to v, checksum right.
static enum err parse_with(const struct buf *good, size_t at, int n, uint64_t v)
{
    struct buf *b = malloc(sizeof *b);

    CHECK(b);
    memcpy(b, good, sizeof *b);
    put_le(b->ptr + at, v, n);
    put_le(b->ptr + b->len - 4, crc32c(b->ptr, b->len - 4), 4);
    enum err err = parse(b->ptr, b->len);
    free(b);
    return err;
}

static void round_trips_a_unit(void)
{
    struct buf b;
    struct syn1_frame f;
    struct syn1_unit_seq s;

    make_unit(&b, SYN1_TOKENS | SYN1_ROWS | SYN1_PRINTS_ONLY);
    CHECK_EQ(syn1_parse(b.ptr, b.len, &f), ERR_OK);
    CHECK_EQ(f.header.kind, SYN1_UNIT);
    CHECK_EQ(f.header.n_seqs, 2);
    CHECK_EQ(f.header.span_first, 1);
    CHECK_EQ(f.header.span_end, 3);
    CHECK_EQ(f.header.attempt, 5);
    CHECK_EQ(f.header.dim, DIM);
    CHECK(f.header.print_seed == UINT64_C(0x1122334455667788));
    CHECK(f.header.model[15] == 0xA1 && f.header.unit[15] == 0xB2);

    struct bytes body = f.body;
    CHECK(syn1_unit_next(&f.header, &body, &s));
    CHECK(s.id == UINT64_C(0x0123456789ABCDEF) && s.epoch == 2);
    CHECK(s.first == 10 && s.n_rows == 3 && s.kv_valid == 10);
    CHECK(s.n_predict == 3 && s.max_new == 20 && s.n_prompt == 12);
    CHECK(s.sampling.inv_temp_q16 == 80000 && s.sampling.top_p_q16 == 60000);
    CHECK(s.sampling.top_k == 40 && s.sampling.seed == UINT64_MAX);
    CHECK_EQ(s.sampling.presence_q16, -131072);
    CHECK_EQ(s.sampling.frequency_q16, 131072);
    CHECK(s.sampling.flags == 3 && s.sampling.n_top == SYN1_TOP_MAX);
    CHECK(memcmp(s.tokens, tokens, sizeof tokens) == 0);
    CHECK_EQ(s.rows[DIM + 1], SYN1_EXP_MAX);
    CHECK(s.n_bias == 1 && memcmp(s.bias, bias, sizeof bias) == 0);
    CHECK(s.n_stop == 2 && memcmp(s.stop, stop, sizeof stop) == 0);
    CHECK(syn1_unit_next(&f.header, &body, &s));
    CHECK(s.id == 1 && s.n_rows == 1 && s.n_bias == 0 && s.n_stop == 0);
    CHECK(!syn1_unit_next(&f.header, &body, &s));
    CHECK_EQ(body.len, 0);

    make_unit(&b, SYN1_TOKENS);
    CHECK_EQ(syn1_parse(b.ptr, b.len, &f), ERR_OK);
    body = f.body;
    CHECK(syn1_unit_next(&f.header, &body, &s));
    CHECK(s.tokens && !s.rows);
}

static void round_trips_a_result(void)
{
    struct buf b;
    struct syn1_frame f;
    struct syn1_result_seq s;

    make_result(&b, SYN1_ROWS | SYN1_TOKENS);
    CHECK_EQ(syn1_parse(b.ptr, b.len, &f), ERR_OK);
    CHECK(f.header.number == 77);
    struct bytes body = f.body;
    CHECK(syn1_result_next(&f.header, &body, &s));
    CHECK(s.id == 4 && s.epoch == 1 && s.first == 6);
    CHECK(s.n_rows == 3 && s.n_tokens == 3 && s.n_prints == 3);
    CHECK(s.status == SYN1_OK && s.finish == SYN1_STOPPED);
    CHECK(s.flags == SYN1_LOGPROBS && s.n_top == 1);
    CHECK_EQ(s.rows[2 * (DIM + 3) + DIM + 1], SYN1_EXP_MAX);
    CHECK(memcmp(s.tokens, tokens, sizeof tokens) == 0);
    CHECK(s.logprobs[35] == 0xFF && s.prints[47] == 0xC3);
    CHECK(syn1_result_next(&f.header, &body, &s));
    CHECK(s.id == 5 && s.status == SYN1_KV_MISSING && !s.logprobs);
    CHECK(!syn1_result_next(&f.header, &body, &s));
}

static void round_trips_calls_and_answers(void)
{
    struct buf inner, b;
    struct syn1_frame f;

    make_result(&inner, SYN1_TOKENS);
    make_call(&b, &inner);
    CHECK_EQ(syn1_parse(b.ptr, b.len, &f), ERR_OK);
    CHECK(f.header.kind == SYN1_CALL && f.header.number == 77);
    CHECK(f.as.call.n_held == 2 && f.as.call.n_models == 1);
    CHECK(f.as.call.slots == 16 && f.as.call.memory == UINT64_C(1) << 40);
    CHECK(f.as.call.prefill_rows_s == 400 && f.as.call.decode_tokens_s == 60);
    CHECK_EQ(f.as.call.wait_ms, SYN1_WAIT_MS_MAX);
    CHECK(f.as.call.held[31] == 0xD4 && f.as.call.models[18] == 2);
    CHECK_EQ(f.as.call.result_len, inner.len);
    CHECK(memcmp(f.as.call.result, inner.ptr, inner.len) == 0);

    make_unit(&inner, SYN1_TOKENS);
    make_answer(&b, &inner);
    CHECK_EQ(syn1_parse(b.ptr, b.len, &f), ERR_OK);
    CHECK(f.as.answer.reason == SYN1_WORK &&
          f.as.answer.outcome == SYN1_ACCEPTED);
    CHECK(f.as.answer.retry_ms == 1000);
    CHECK(memcmp(f.as.answer.unit, inner.ptr, inner.len) == 0);
    make_answer(&b, NULL);
    CHECK_EQ(syn1_parse(b.ptr, b.len, &f), ERR_OK);
    CHECK(f.as.answer.reason == SYN1_NOT_CACHED && f.header.span_end == 4);
}

static void rejects_every_prefix_and_suffix(const struct buf *b)
{
    for (size_t len = 0; len < b->len; len++)
        CHECK_EQ(parse(b->ptr, len), ERR_TRUNCATED);

    uint8_t *longer = malloc(b->len + 1);
    CHECK(longer);
    memcpy(longer, b->ptr, b->len);
    longer[b->len] = 0;
    CHECK_EQ(parse(longer, b->len + 1), ERR_FORMAT);
    free(longer);
}

static void rejects_every_flipped_bit(struct buf *b)
{
    for (size_t i = 0; i < b->len; i++)
        for (int bit = 0; bit < 8; bit++) {
            b->ptr[i] ^= (uint8_t)(1 << bit);
            CHECK(parse(b->ptr, b->len) != ERR_OK);
            b->ptr[i] ^= (uint8_t)(1 << bit);
        }
}

// A body that is cut or padded, with header and checksum to match.
static void rejects_a_body_of_another_length(const struct buf *good)
{
    struct buf *b = malloc(sizeof *b);

    CHECK(b);
    for (size_t body = 0; body + 80 < good->len + 8; body++) {
        if (body + 80 == good->len)
            continue;
        memset(b->ptr, 0, body + 80);
        memcpy(b->ptr, good->ptr,
               body + 76 < good->len - 4 ? body + 76 : good->len - 4);
        put_le(b->ptr + 72, body, 4);
        put_le(b->ptr + 76 + body, crc32c(b->ptr, 76 + body), 4);
        CHECK_EQ(parse(b->ptr, body + 80), ERR_FORMAT);
    }
    free(b);
}

struct wrong {
    size_t at;
    int n;
    uint64_t v;
    enum err want;
};

static void check_wrongs(const struct buf *good, const struct wrong *rows,
                         size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enum err got = parse_with(good, rows[i].at, rows[i].n, rows[i].v);

        if (got != rows[i].want)
            fprintf(stderr, "offset %zu set to %" PRIu64 "\n", rows[i].at,
                    rows[i].v);
        CHECK_EQ(got, rows[i].want);
    }
}
#define CHECK_WRONGS(good, rows) \
    check_wrongs(good, rows, sizeof rows / sizeof rows[0])

static void rejects_wrong_headers(void)
{
    static const struct wrong rows[] = {
        {0, 1, 'T', ERR_FORMAT},
        {4, 1, 0, ERR_VERSION},
        {4, 1, 2, ERR_VERSION},
        {5, 1, 0, ERR_FORMAT},
        {5, 1, 5, ERR_FORMAT},
        {6, 2, 0, ERR_FORMAT},
        {6, 2, 8 | 3, ERR_FORMAT},
        {6, 2, 0x100 | 3, ERR_FORMAT},
        {24, 2, 3, ERR_FORMAT},
        {24, 2, 4, ERR_FORMAT},
        {24, 4, 0, ERR_FORMAT},
        {28, 2, 0, ERR_RANGE},
        {28, 2, 1, ERR_FORMAT},
        {28, 2, 3, ERR_FORMAT},
        {28, 2, SYN1_SEQS_MAX + 1, ERR_RANGE},
        {30, 1, 1, ERR_OK},
        {30, 1, 2, ERR_FORMAT},
        {31, 1, 1, ERR_FORMAT},
        {52, 4, 0, ERR_RANGE},
        {52, 4, DIM + 1, ERR_RANGE},
        {52, 4, SYN1_DIM_MAX + 1, ERR_RANGE},
        {52, 4, SYN1_DIM_MAX, ERR_FORMAT},
        {64, 8, 1, ERR_FORMAT},
        {72, 4, 0, ERR_FORMAT},
        {72, 4, UINT32_MAX, ERR_RANGE},
        {72, 4, SYN1_FRAME_MAX - 80, ERR_TRUNCATED},
        {72, 4, SYN1_FRAME_MAX - 79, ERR_RANGE},
    };
    static const struct wrong call[] = {
        {6, 2, 1, ERR_FORMAT},  {26, 2, 1, ERR_FORMAT}, {28, 2, 1, ERR_RANGE},
        {32, 1, 1, ERR_FORMAT}, {52, 4, 1, ERR_RANGE},
    };
    static const struct wrong answer[] = {
        {8, 1, 1, ERR_FORMAT}, // a model but no span
        {24, 2, 1, ERR_FORMAT},
    };
    struct buf b, inner;

    make_unit(&b, SYN1_TOKENS | SYN1_ROWS);
    CHECK_WRONGS(&b, rows);
    CHECK_EQ(parse_with(&b, 5, 1, SYN1_CALL), ERR_FORMAT);
    CHECK_EQ(parse_with(&b, 5, 1, SYN1_ANSWER), ERR_FORMAT);
    make_call(&b, NULL);
    CHECK_WRONGS(&b, call);
    make_unit(&inner, SYN1_TOKENS);
    make_answer(&b, &inner);
    CHECK_WRONGS(&b, answer);
    make_result(&b, SYN1_ROWS);
    CHECK_EQ(parse_with(&b, 6, 2, SYN1_ROWS | SYN1_PRINTS_ONLY), ERR_FORMAT);
    make_unit(&b, SYN1_TOKENS);
    b.ptr[b.len - 1] ^= 1;
    CHECK_EQ(parse(b.ptr, b.len), ERR_CHECKSUM);
}

static void rejects_wrong_unit_sequences(void)
{
    enum { S = SYN1_HEADER_LEN, ROWS = S + 72 + 12 };
    static const struct wrong rows[] = {
        {S + 12, 4, 9, ERR_RANGE}, // kv_valid is past first
        {S + 12, 4, SYN1_POS_MAX - 23, ERR_OK},
        {S + 12, 4, SYN1_POS_MAX - 22, ERR_RANGE},
        {S + 12, 4, UINT32_MAX, ERR_RANGE},
        {S + 16, 4, 0, ERR_RANGE},
        {S + 16, 4, 2, ERR_RANGE}, // n_predict is past it
        {S + 16, 4, 4, ERR_FORMAT},
        {S + 16, 4, UINT32_MAX, ERR_RANGE},
        {S + 16, 4, SYN1_POS_MAX - 30, ERR_FORMAT},
        {S + 20, 4, 11, ERR_RANGE},
        {S + 24, 4, 4, ERR_RANGE},
        {S + 28, 4, SYN1_POS_MAX - 13, ERR_OK},
        {S + 28, 4, SYN1_POS_MAX - 12, ERR_RANGE},
        {S + 28, 4, UINT32_MAX, ERR_RANGE},
        {S + 32, 4, SYN1_POS_MAX, ERR_OK},
        {S + 32, 4, SYN1_POS_MAX + 1, ERR_RANGE},
        {S + 36, 4, UINT32_MAX, ERR_OK},
        {S + 40, 4, 0, ERR_RANGE},
        {S + 40, 4, 65536, ERR_OK},
        {S + 40, 4, 65537, ERR_RANGE},
        {S + 56, 4, 131072, ERR_OK},
        {S + 56, 4, 131073, ERR_RANGE},
        {S + 56, 4, (uint32_t)-131073, ERR_RANGE},
        {S + 56, 4, UINT32_C(1) << 31, ERR_RANGE},
        {S + 60, 4, 131073, ERR_RANGE},
        {S + 60, 4, (uint32_t)-131073, ERR_RANGE},
        {S + 64, 1, 2, ERR_RANGE}, // alternatives without log-probabilities
        {S + 64, 1, 4, ERR_FORMAT},
        {S + 65, 1, SYN1_TOP_MAX + 1, ERR_RANGE},
        {S + 66, 2, SYN1_BIAS_MAX + 1, ERR_RANGE},
        {S + 66, 2, SYN1_BIAS_MAX, ERR_FORMAT},
        {S + 66, 2, 0, ERR_RANGE},
        {S + 68, 2, SYN1_STOP_MAX + 1, ERR_RANGE},
        {S + 68, 2, SYN1_STOP_MAX, ERR_FORMAT},
        {S + 70, 2, 1, ERR_FORMAT},
        {ROWS, 1, 0x80, ERR_RANGE},
        {ROWS, 1, 0x7F, ERR_OK},
        {ROWS + DIM - 1, 1, 0x80, ERR_RANGE},
        {ROWS + DIM, 1, SYN1_EXP_MAX + 1, ERR_RANGE},
        {ROWS + DIM + 2, 1, SYN1_EXP_MAX + 1, ERR_RANGE},
        {ROWS + 3 * (DIM + 3) - 1, 1, 0x80, ERR_RANGE},
        {ROWS + 3 * (DIM + 3) + 4, 4, 6553601, ERR_RANGE},
        {ROWS + 3 * (DIM + 3) + 4, 4, (uint32_t)-6553600, ERR_OK},
        {ROWS + 3 * (DIM + 3) + 4, 4, (uint32_t)-6553601, ERR_RANGE},
    };
    struct buf b;

    make_unit(&b, SYN1_TOKENS | SYN1_ROWS);
    CHECK_WRONGS(&b, rows);
}

static void rejects_wrong_result_sequences(void)
{
    enum { S = SYN1_HEADER_LEN, ROWS = S + 32, LOGPROBS = ROWS + 219 + 12 };
    static const struct wrong rows[] = {
        {S + 12, 4, SYN1_POS_MAX - 3, ERR_OK},
        {S + 12, 4, SYN1_POS_MAX - 2, ERR_RANGE},
        {S + 16, 4, UINT32_MAX, ERR_RANGE},
        {S + 16, 4, 2, ERR_RANGE},
        {S + 16, 4, SYN1_POS_MAX - 6, ERR_FORMAT},
        {S + 20, 4, 4, ERR_FORMAT},
        {S + 20, 4, SYN1_POS_MAX + 1, ERR_RANGE},
        {S + 24, 4, 4, ERR_FORMAT},
        {S + 24, 4, SYN1_POS_MAX + 1, ERR_RANGE},
        {S + 28, 1, SYN1_NO_ROOM, ERR_OK},
        {S + 28, 1, SYN1_NO_ROOM + 1, ERR_FORMAT},
        {S + 29, 1, SYN1_CONTEXT_FULL, ERR_OK},
        {S + 29, 1, SYN1_CONTEXT_FULL + 1, ERR_FORMAT},
        {S + 30, 1, 0, ERR_RANGE}, // alternatives without log-probabilities
        {S + 30, 1, 3, ERR_FORMAT},
        {S + 31, 1, SYN1_TOP_MAX + 1, ERR_RANGE},
        {S + 31, 1, SYN1_TOP_MAX, ERR_FORMAT},
        {ROWS, 1, 0x80, ERR_RANGE},
        {ROWS + DIM, 1, SYN1_EXP_MAX + 1, ERR_RANGE},
        {LOGPROBS, 4, 0, ERR_OK},
        {LOGPROBS, 4, 1, ERR_RANGE},
        {LOGPROBS + 8, 4, 1, ERR_RANGE},
    };
    struct buf b;

    make_result(&b, SYN1_ROWS | SYN1_TOKENS);
    CHECK_WRONGS(&b, rows);
    make_result(&b, SYN1_TOKENS);
    CHECK_EQ(parse_with(&b, S + 16, 4, 1), ERR_FORMAT); // rows, no flag
    make_result(&b, SYN1_ROWS);
    CHECK_EQ(parse_with(&b, S + 20, 4, 1), ERR_FORMAT); // tokens, no flag
}

static void rejects_wrong_calls_and_answers(void)
{
    enum { S = SYN1_HEADER_LEN, SPAN = S + 32 + 2 * SYN1_ID_LEN + SYN1_ID_LEN };
    static const struct wrong call[] = {
        {S, 2, SYN1_HELD_MAX + 1, ERR_RANGE},
        {S, 2, SYN1_HELD_MAX, ERR_FORMAT},
        {S, 2, 1, ERR_FORMAT},
        {S + 2, 2, SYN1_MODELS_MAX + 1, ERR_RANGE},
        {S + 2, 2, 2, ERR_FORMAT},
        {S + 24, 4, SYN1_WAIT_MS_MAX + 1, ERR_RANGE},
        {S + 28, 4, 0, ERR_FORMAT},
        {S + 28, 4, UINT32_MAX, ERR_FORMAT},
        {SPAN, 2, 2, ERR_FORMAT},
        {SPAN + 2, 2, 0, ERR_FORMAT},
        {SPAN + 2, 2, 1, ERR_OK},
    };
    static const struct wrong answer[] = {
        {S, 2, SYN1_NO_WORK, ERR_FORMAT}, // a unit, though no work
        {S, 2, SYN1_REASON_END, ERR_FORMAT},
        {S + 2, 1, SYN1_GONE, ERR_OK},
        {S + 2, 1, SYN1_GONE + 1, ERR_FORMAT},
        {S + 3, 1, 1, ERR_FORMAT},
        {S + 8, 4, 0, ERR_FORMAT},
        {S + 8, 4, UINT32_MAX, ERR_FORMAT},
    };
    struct buf b, inner;

    make_result(&inner, SYN1_TOKENS);
    make_call(&b, &inner);
    CHECK_WRONGS(&b, call);
    make_unit(&inner, SYN1_TOKENS);
    make_answer(&b, &inner);
    CHECK_WRONGS(&b, answer);
    make_answer(&b, NULL);
    CHECK_EQ(parse_with(&b, S, 2, SYN1_WORK), ERR_FORMAT); // work, no unit
}

static void takes_as_many_sequences_as_allowed(void)
{
    struct syn1_header h = header(SYN1_UNIT, SYN1_TOKENS);
    struct syn1_unit_seq s = {
        .n_rows = 1, .tokens = tokens, .sampling.top_p_q16 = 1};

    for (uint32_t n = SYN1_SEQS_MAX; n <= SYN1_SEQS_MAX + 1; n++) {
        struct buf b;
        struct bytes_out out = {.ptr = b.ptr, .cap = CAP};

        syn1_begin(&out, &h);
        for (uint32_t i = 0; i < n; i++)
            syn1_put_unit_seq(&out, &h, &s);
        finish(&b, &out);
        CHECK_EQ(parse(b.ptr, b.len), n > SYN1_SEQS_MAX ? ERR_RANGE : ERR_OK);
    }
}

static void never_writes_past_the_end(void)
{
    struct buf good;
    struct syn1_frame f;
    struct syn1_unit_seq s;

    make_unit(&good, SYN1_TOKENS | SYN1_ROWS);
    CHECK_EQ(syn1_parse(good.ptr, good.len, &f), ERR_OK);
    for (size_t cap = 0; cap <= good.len; cap++) {
        uint8_t *exact = malloc(cap ? cap : 1);
        CHECK(exact);
        struct bytes_out out = {.ptr = exact, .cap = cap};
        struct bytes body = f.body;

        syn1_begin(&out, &f.header);
        while (syn1_unit_next(&f.header, &body, &s))
            syn1_put_unit_seq(&out, &f.header, &s);
        CHECK_EQ(syn1_end(&out), cap < good.len ? ERR_FULL : ERR_OK);
        if (cap == good.len)
            CHECK(memcmp(exact, good.ptr, cap) == 0);
        free(exact);
    }
}

static void save(const char *dir, const char *name, const struct buf *b)
{
    char path[4096];

    CHECK(snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path);
    FILE *f = fopen(path, "wb");
    CHECK(f);
    CHECK_EQ(fwrite(b->ptr, 1, b->len, f), b->len);
    CHECK_EQ(fclose(f), 0);
}

static void each_kind(const char *dir)
{
    static const char *const names[] = {
        "unit_tokens",   "unit_rows",   "unit_all",
        "result_tokens", "result_rows", "call",
        "call_result",   "answer",      "answer_unit"};
    static struct buf b[9];

    make_unit(&b[0], SYN1_TOKENS);
    make_unit(&b[1], SYN1_ROWS | SYN1_PRINTS_ONLY);
    make_unit(&b[2], SYN1_TOKENS | SYN1_ROWS);
    make_result(&b[3], SYN1_TOKENS);
    make_result(&b[4], SYN1_ROWS);
    make_call(&b[5], NULL);
    make_call(&b[6], &b[3]);
    make_answer(&b[7], NULL);
    make_answer(&b[8], &b[0]);
    for (size_t i = 0; i < sizeof b / sizeof b[0]; i++) {
        CHECK_EQ(parse(b[i].ptr, b[i].len), ERR_OK);
        rejects_every_prefix_and_suffix(&b[i]);
        rejects_every_flipped_bit(&b[i]);
        rejects_a_body_of_another_length(&b[i]);
        if (dir)
            save(dir, names[i], &b[i]);
    }
}

int main(int argc, char **argv)
{
    round_trips_a_unit();
    round_trips_a_result();
    round_trips_calls_and_answers();
    each_kind(argc > 1 ? argv[1] : NULL);
    rejects_wrong_headers();
    rejects_wrong_unit_sequences();
    rejects_wrong_result_sequences();
    rejects_wrong_calls_and_answers();
    takes_as_many_sequences_as_allowed();
    never_writes_past_the_end();
    return 0;
}
