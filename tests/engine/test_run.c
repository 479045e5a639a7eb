// What a unit may ask and how it is answered: KV rules, endings, log
// probabilities, bad frames.
#include <string.h>

#include "check.h"
#include "synthetic.h"
#include "units.h"

enum { Q16 = 1 << 16 };

static struct synthetic model;

static struct engine *engine_with(const struct engine_options *options)
{
    struct engine *e;

    CHECK_EQ(engine_new(model.shards, 1, options, &e, NULL, 0), ERR_OK);
    return e;
}

static struct units_seq rows_of(uint64_t id, uint32_t first, uint32_t n_rows)
{
    struct units_seq seq = {
        .in = {.id = id, .first = first, .kv_valid = first, .n_rows = n_rows}};

    units_tokens(seq.tokens, n_rows, model.config.n_vocab, (uint32_t)id);
    return seq;
}

static struct syn1_result_seq run_one(struct engine *e, struct units_seq *seq)
{
    struct syn1_result_seq r;

    CHECK_EQ(units_run(e, SYN1_TOKENS, seq, 1, &r), ERR_OK);
    CHECK_EQ(r.id, seq->in.id);
    CHECK_EQ(r.epoch, seq->in.epoch);
    CHECK_EQ(r.first, seq->in.first);
    return r;
}

static void kv_follows_the_epochs(void)
{
    struct engine_options options = {0};
    struct engine *e = engine_with(&options);
    static const struct {
        uint32_t epoch, first, n_rows, kv_valid;
        enum syn1_status want;
    } steps[] = {
        {0, 5, 1, 5, SYN1_KV_MISSING}, // nothing is there yet
        {0, 0, 20, 0, SYN1_OK},
        {0, 20, 5, 20, SYN1_OK},
        {0, 26, 1, 26, SYN1_KV_MISSING}, // a gap
        {0, 22, 3, 0, SYN1_OK},          // the same rows again
        {1, 20, 1, 15, SYN1_KV_MISSING}, // only 15 rows are still valid
        {1, 15, 2, 15, SYN1_OK},
        {1, 17, 2, 0, SYN1_OK},          // rows of this epoch count
        {0, 17, 1, 17, SYN1_KV_MISSING}, // an old epoch
        {2, 18, 1, 17, SYN1_KV_MISSING}, // one row too few
        {3, 0, 4, 0, SYN1_OK},           // all anew
        {3, 5, 1, 0, SYN1_KV_MISSING},
    };

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct units_seq seq = rows_of(1, steps[i].first, steps[i].n_rows);

        seq.in.epoch = steps[i].epoch;
        seq.in.kv_valid = steps[i].kv_valid;
        seq.in.n_predict = 1;
        struct syn1_result_seq r = run_one(e, &seq);

        CHECK_EQ(r.status, steps[i].want);
        CHECK_EQ(r.n_tokens, r.status == SYN1_OK);
        CHECK_EQ(r.n_prints, r.n_tokens);
    }
    engine_drop(e, 1);
    struct units_seq seq = rows_of(1, 4, 1);
    seq.in.epoch = 3;
    CHECK_EQ(run_one(e, &seq).status, SYN1_KV_MISSING);
    engine_free(e);
}

static void rollback_equals_a_fresh_start(void)
{
    struct engine_options options = {0};
    struct engine *a = engine_with(&options), *b = engine_with(&options);
    struct units_seq seq = rows_of(1, 0, 60), tail = rows_of(2, 30, 20);
    uint8_t print[SYN1_PRINT_LEN];

    CHECK_EQ(run_one(a, &seq).status, SYN1_OK);
    tail.in.id = 1;
    tail.in.epoch = 1;
    tail.in.n_predict = 1;
    struct syn1_result_seq r = run_one(a, &tail);
    memcpy(print, r.prints, sizeof print);

    memcpy(seq.tokens + 30, tail.tokens, 20 * sizeof *seq.tokens);
    seq.in.n_rows = 50;
    seq.in.n_predict = 1;
    r = run_one(b, &seq);
    CHECK(memcmp(print, r.prints, sizeof print) == 0);
    engine_free(b);
    engine_free(a);
}

static void oldest_makes_room(void)
{
    struct engine_options options = {.n_slots = 3};
    struct engine *e = engine_with(&options);
    struct units_seq four[4] = {rows_of(11, 0, 2), rows_of(12, 0, 2),
                                rows_of(13, 0, 2), rows_of(14, 0, 2)};
    struct syn1_result_seq r[4];

    for (uint64_t id = 1; id <= 4; id++) {
        struct units_seq seq = rows_of(id, 0, 3);

        CHECK_EQ(engine_free_slots(e), id < 3 ? 4 - id : id == 3);
        CHECK_EQ(run_one(e, &seq).status, SYN1_OK);
    }
    struct units_seq one = rows_of(1, 3, 1), two = rows_of(2, 3, 1);
    CHECK_EQ(run_one(e, &one).status, SYN1_KV_MISSING);
    CHECK_EQ(run_one(e, &two).status, SYN1_OK);

    // Sequences of one unit never push each other out.
    CHECK_EQ(units_run(e, SYN1_TOKENS, four, 4, r), ERR_OK);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(r[i].status, i < 3 ? SYN1_OK : SYN1_NO_ROOM);
    engine_free(e);

    options = (struct engine_options){.kv_bytes = 1}; // one page
    e = engine_with(&options);
    struct units_seq fits = rows_of(1, 0, 64), large = rows_of(2, 0, 65);
    CHECK_EQ(run_one(e, &fits).status, SYN1_OK);
    CHECK_EQ(run_one(e, &large).status, SYN1_NO_ROOM);
    engine_free(e);
}

static void ends_where_it_should(void)
{
    struct engine_options options = {0};
    struct engine *e = engine_with(&options);
    uint32_t n_ctx = model.config.n_ctx;
    struct units_seq seq = rows_of(1, 0, 4);

    seq.in.max_new = 20;
    seq.in.sampling.flags = SYN1_IGNORE_END;
    struct syn1_result_seq r = run_one(e, &seq);
    CHECK_EQ(r.n_tokens, 20);
    CHECK_EQ(r.finish, SYN1_GOES_ON);

    // Stop at the first token that the run above had.
    seq.stop[0] = units_token(&r, 0);
    seq.in.n_stop = 1;
    r = run_one(e, &seq);
    CHECK_EQ(r.n_tokens, 1);
    CHECK_EQ(r.finish, SYN1_STOPPED);

    // The model's own end, made certain.
    seq.in.n_stop = 0;
    seq.in.sampling.flags = 0;
    seq.in.n_bias = 1;
    seq.bias[0].token = model.config.ends[0];
    seq.bias[0].add = 100 * Q16;
    r = run_one(e, &seq);
    CHECK_EQ(r.n_tokens, 1);
    CHECK_EQ(r.finish, SYN1_STOPPED);
    seq.in.sampling.flags = SYN1_IGNORE_END;
    r = run_one(e, &seq);
    CHECK_EQ(r.n_tokens, 20);
    CHECK_EQ(units_token(&r, 19), model.config.ends[0]);

    // The context: 3 tokens fit behind n_ctx - 3 rows, none behind n_ctx.
    seq = rows_of(2, 0, n_ctx - 3);
    seq.in.max_new = 10;
    seq.in.sampling.flags = SYN1_IGNORE_END;
    r = run_one(e, &seq);
    CHECK_EQ(r.n_tokens, 3);
    CHECK_EQ(r.finish, SYN1_CONTEXT_FULL);
    seq = rows_of(2, n_ctx - 3, 3);
    seq.in.max_new = 10;
    r = run_one(e, &seq);
    CHECK_EQ(r.n_tokens, 0);
    CHECK_EQ(r.finish, SYN1_CONTEXT_FULL);
    engine_free(e);
}

static void logprobs_are_a_distribution(void)
{
    struct engine_options options = {0};
    struct engine *e = engine_with(&options);
    struct units_seq seq = rows_of(1, 0, 30);

    seq.in.n_predict = 30;
    seq.in.sampling.flags = SYN1_LOGPROBS;
    seq.in.sampling.n_top = SYN1_TOP_MAX;
    struct syn1_result_seq r = run_one(e, &seq);
    CHECK(r.logprobs);
    for (uint32_t i = 0; i < r.n_tokens; i++) {
        const uint8_t *p = r.logprobs + (size_t)i * (4 + 8 * SYN1_TOP_MAX);
        int32_t before = 0;

        // Greedy: the token is the first alternative.
        CHECK_EQ(bytes_peek_u32(p + 4), units_token(&r, i));
        CHECK_EQ(bytes_peek_u32(p + 8), bytes_peek_u32(p));
        for (uint32_t k = 0; k < SYN1_TOP_MAX; k++) {
            int32_t logprob = (int32_t)bytes_peek_u32(p + 8 + 8 * k);

            CHECK(logprob <= before);
            before = logprob;
        }
    }
    engine_free(e);
}

static void tokens_depend_on_the_seed_alone(void)
{
    struct engine_options options = {0};
    struct engine *e = engine_with(&options);
    struct units_seq seq = rows_of(1, 0, 8);
    uint32_t first[40];
    unsigned different = 0;

    seq.in.max_new = 40;
    seq.in.sampling.inv_temp_q16 = Q16 * 2 / 3;
    seq.in.sampling.flags = SYN1_IGNORE_END;
    for (uint64_t round = 0; round < 3; round++) {
        seq.in.sampling.seed = round == 2 ? 1 : 0;
        struct syn1_result_seq r = run_one(e, &seq);

        for (uint32_t i = 0; i < 40; i++) {
            if (round == 0)
                first[i] = units_token(&r, i);
            different += first[i] != units_token(&r, i);
        }
        CHECK(round == 2 ? different > 10 : different == 0);
    }
    engine_free(e);
}

static void run_err(struct engine *e, uint16_t flags,
                    const struct units_seq *seqs, uint16_t n, enum err want)
{
    struct syn1_result_seq r[2];

    CHECK_EQ(units_run(e, flags, seqs, n, r), want);
}

static void bad_units_are_refused(void)
{
    struct engine_options options = {0};
    struct engine *e = engine_with(&options);
    struct units_seq good = rows_of(1, 0, 4), seq;
    uint8_t rows[4 * 2048] = {0};

    seq = good;
    seq.tokens[3] = model.config.n_vocab;
    run_err(e, SYN1_TOKENS, &seq, 1, ERR_RANGE);
    seq = good;
    seq.in.first = seq.in.kv_valid = model.config.n_ctx - 3;
    run_err(e, SYN1_TOKENS, &seq, 1, ERR_RANGE);
    seq = good;
    seq.in.n_bias = 1;
    seq.bias[0].token = model.config.n_vocab;
    run_err(e, SYN1_TOKENS, &seq, 1, ERR_RANGE);
    seq = good;
    seq.rows = rows;
    run_err(e, SYN1_ROWS, &seq, 1, ERR_FORMAT); // the first span reads tokens
    struct units_seq twice[2] = {good, good};
    run_err(e, SYN1_TOKENS, twice, 2, ERR_FORMAT);
    engine_free(e);
}

static bool stop_at_once(void *ctx, uint32_t n_done, uint32_t n_all)
{
    *(unsigned *)ctx += 1;
    CHECK(n_done > 0 && n_done <= n_all);
    return false;
}

static void abandoned_units_leave_nothing(void)
{
    unsigned calls = 0;
    struct engine_options options = {
        .n_rows = 4, .step = stop_at_once, .step_ctx = &calls};
    struct engine *e = engine_with(&options);
    struct units_seq seq = rows_of(1, 0, 9);

    run_err(e, SYN1_TOKENS, &seq, 1, ERR_GONE);
    CHECK_EQ(calls, 1);
    CHECK_EQ(engine_free_slots(e), 64);
    engine_free(e);
}

// Each byte of a frame wrong in turn: the checksum sees all of it, and the
// header's own rules are the engine's where the checksum is made right again.
static void bad_frames_are_refused(void)
{
    struct engine_options options = {0};
    struct engine *e = engine_with(&options);
    struct units_seq seq = rows_of(1, 0, 4);
    struct units_frame frame;
    const uint8_t *out = NULL;
    size_t len = 0;

    CHECK(units_build(e, SYN1_TOKENS, &seq, 1, &frame));
    for (size_t i = 0; i < frame.len; i++) {
        frame.bytes[i] ^= 0x40;
        CHECK(engine_run(e, frame.bytes, frame.len, &out, &len) != ERR_OK);
        frame.bytes[i] ^= 0x40;
        CHECK(engine_run(e, frame.bytes, i, &out, &len) != ERR_OK);
    }
    CHECK(!out && !len);
    free(frame.bytes);

    options.model[3] = 9; // another model
    struct engine *other = engine_with(&options);
    CHECK(units_build(other, SYN1_TOKENS, &seq, 1, &frame));
    CHECK_EQ(engine_run(e, frame.bytes, frame.len, &out, &len), ERR_NOT_FOUND);
    free(frame.bytes);
    engine_free(other);
    engine_free(e);
}

// Spans without an end: what they may be asked, and what they answer.
static void partial_spans_keep_to_their_part(void)
{
    struct synthetic three;
    struct engine_options options = {0};
    struct engine *first, *last;
    struct units_seq seq = rows_of(1, 0, 5);
    struct syn1_result_seq r;

    CHECK(synthetic_new(SYNTHETIC_GPT2, 3, &three));
    CHECK_EQ(engine_new(three.shards, 1, &options, &first, NULL, 0), ERR_OK);
    CHECK_EQ(engine_new(three.shards + 1, 2, &options, &last, NULL, 0), ERR_OK);
    seq.in.n_predict = 1;
    run_err(first, SYN1_TOKENS, &seq, 1, ERR_FORMAT);
    seq.in.n_predict = 0;
    seq.in.max_new = 1;
    run_err(first, SYN1_TOKENS, &seq, 1, ERR_FORMAT);
    seq.in.max_new = 0;
    CHECK_EQ(units_run(first, SYN1_TOKENS | SYN1_PRINTS_ONLY, &seq, 1, &r),
             ERR_OK);
    CHECK_EQ(r.n_rows, 0);
    CHECK_EQ(r.n_prints, 5);
    CHECK_EQ(units_run(first, SYN1_TOKENS, &seq, 1, &r), ERR_OK);
    CHECK_EQ(r.n_rows, 5);

    seq.rows = r.rows;
    run_err(last, SYN1_TOKENS, &seq, 1, ERR_FORMAT); // rows are missing
    seq.in.max_new = 2;
    run_err(last, SYN1_ROWS, &seq, 1, ERR_FORMAT); // it cannot feed a token
    seq.in.max_new = 1;
    seq.in.sampling.presence_q16 = Q16;
    run_err(last, SYN1_ROWS, &seq, 1, ERR_FORMAT); // penalties read tokens
    seq.in.sampling.presence_q16 = 0;
    CHECK_EQ(units_run(last, SYN1_ROWS, &seq, 1, &r), ERR_OK);
    CHECK_EQ(r.n_tokens, 1);
    engine_free(last);
    engine_free(first);
    synthetic_release(&three);
}

int main(void)
{
    CHECK(synthetic_new(SYNTHETIC_GPT2, 1, &model));
    kv_follows_the_epochs();
    rollback_equals_a_fresh_start();
    oldest_makes_room();
    ends_where_it_should();
    logprobs_are_a_distribution();
    tokens_depend_on_the_seed_alone();
    bad_units_are_refused();
    abandoned_units_leave_nothing();
    bad_frames_are_refused();
    partial_spans_keep_to_their_part();
    synthetic_release(&model);
    return 0;
}
