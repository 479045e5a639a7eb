// The same bytes however rows are put together: whole or in pieces, alone or
// among others, in one span or several, generated or given.
#include <string.h>

#include "check.h"
#include "synthetic.h"
#include "units.h"

enum { N_PROMPT = 90, N_NEW = 12, N_OTHERS = 15, ID = 900, Q16 = 1 << 16 };

// What a sequence's rows gave: tokens and fingerprints.
struct trace {
    uint32_t n;
    uint32_t tokens[UNITS_TOKENS_MAX];
    uint8_t prints[UNITS_TOKENS_MAX][SYN1_PRINT_LEN];
};

static void trace_add(struct trace *t, const struct syn1_result_seq *r)
{
    CHECK_EQ(r->status, SYN1_OK);
    CHECK_EQ(r->n_prints, r->n_tokens);
    for (uint32_t i = 0; i < r->n_tokens; i++, t->n++) {
        t->tokens[t->n] = units_token(r, i);
        memcpy(t->prints[t->n], r->prints + (size_t)i * SYN1_PRINT_LEN,
               SYN1_PRINT_LEN);
    }
}

static void same_trace(const struct trace *a, const struct trace *b)
{
    CHECK_EQ(a->n, b->n);
    for (uint32_t i = 0; i < a->n; i++)
        CHECK_EQ(a->tokens[i], b->tokens[i]);
    CHECK(memcmp(a->prints, b->prints, a->n * SYN1_PRINT_LEN) == 0);
}

static void sampled(struct units_seq *seq)
{
    seq->in.sampling.inv_temp_q16 = Q16;
    seq->in.sampling.top_p_q16 = Q16 * 95 / 100;
    seq->in.sampling.seed = 77;
    seq->in.sampling.presence_q16 = Q16 / 3;
    seq->in.sampling.frequency_q16 = Q16 / 5;
    seq->in.sampling.flags = SYN1_IGNORE_END;
    seq->in.n_prompt = N_PROMPT / 2;
}

// The prompt, n_rows of it from `first` on, each answered.
static struct units_seq piece(const struct synthetic *m, uint32_t first,
                              uint32_t n_rows)
{
    struct units_seq seq = {.in = {.id = ID}};
    uint32_t all[N_PROMPT];

    units_tokens(all, N_PROMPT, m->config.n_vocab, 5);
    memcpy(seq.tokens, all + first, n_rows * sizeof *all);
    seq.in.first = seq.in.kv_valid = first;
    seq.in.n_rows = seq.in.n_predict = n_rows;
    sampled(&seq);
    return seq;
}

static struct engine *engine_over(const struct synthetic *m, uint32_t first,
                                  uint32_t end, uint32_t n_rows)
{
    struct engine_options options = {.n_rows = n_rows};
    struct engine *e;

    CHECK_EQ(engine_new(m->shards + first, end - first, &options, &e, NULL, 0),
             ERR_OK);
    return e;
}

// The prompt in one go, then N_NEW generated tokens, in one unit.
static struct trace whole(const struct synthetic *m, uint32_t n_rows)
{
    struct engine *e = engine_over(m, 0, m->n_shards, n_rows);
    struct units_seq seq = piece(m, 0, N_PROMPT);
    struct syn1_result_seq r;
    struct trace t = {0};

    seq.in.max_new = N_NEW;
    CHECK_EQ(units_run(e, SYN1_TOKENS, &seq, 1, &r), ERR_OK);
    trace_add(&t, &r);
    CHECK_EQ(t.n, N_PROMPT + N_NEW);
    CHECK_EQ(t.tokens[N_PROMPT - 1], t.tokens[N_PROMPT]); // the same token
    engine_free(e);
    return t;
}

static void pieces_equal_the_whole(const struct synthetic *m,
                                   const struct trace *want)
{
    static const uint32_t sizes[] = {1, 7, 64, 65};

    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct engine *e = engine_over(m, 0, m->n_shards, 16);
        struct syn1_result_seq r;
        struct trace t = {0};

        for (uint32_t at = 0; at < N_PROMPT; at += sizes[s]) {
            uint32_t left = N_PROMPT - at;
            struct units_seq seq =
                piece(m, at, left < sizes[s] ? left : sizes[s]);

            if (left <= sizes[s])
                seq.in.max_new = N_NEW;
            CHECK_EQ(units_run(e, SYN1_TOKENS, &seq, 1, &r), ERR_OK);
            trace_add(&t, &r);
        }
        same_trace(&t, want);
        engine_free(e);
    }
}

// Fifteen others of other lengths, before and after it.
static void others_do_not_matter(const struct synthetic *m,
                                 const struct trace *want)
{
    static struct units_seq seqs[N_OTHERS + 1];
    struct syn1_result_seq r[N_OTHERS + 1];

    for (uint32_t at = 0; at <= N_OTHERS; at += 5) {
        struct engine *e = engine_over(m, 0, m->n_shards, 40);
        struct trace t = {0};

        memset(seqs, 0, sizeof seqs);
        for (uint32_t i = 0; i <= N_OTHERS; i++) {
            seqs[i].in.id = i;
            seqs[i].in.n_rows = 1 + (i * 17 + at) % 60;
            seqs[i].in.max_new = i % 5 * 3;
            seqs[i].in.sampling.inv_temp_q16 = i % 2 ? Q16 : 0;
            units_tokens(seqs[i].tokens, seqs[i].in.n_rows, m->config.n_vocab,
                         i);
        }
        seqs[at] = piece(m, 0, N_PROMPT);
        seqs[at].in.max_new = N_NEW;
        CHECK_EQ(units_run(e, SYN1_TOKENS, seqs, N_OTHERS + 1, r), ERR_OK);
        trace_add(&t, &r[at]);
        same_trace(&t, want);
        engine_free(e);
    }
}

// A check: the answers are filled in, and one pass tells the same tokens.
static void given_equals_generated(const struct synthetic *m,
                                   const struct trace *want)
{
    struct engine *e = engine_over(m, 0, m->n_shards, 0);
    struct units_seq seq = piece(m, 0, N_PROMPT);
    struct syn1_result_seq r;
    struct trace t = {0};

    for (uint32_t i = 0; i < N_NEW - 1; i++)
        seq.tokens[N_PROMPT + i] = want->tokens[N_PROMPT + i];
    seq.in.n_rows += N_NEW - 1;
    seq.in.n_predict = N_NEW;
    CHECK_EQ(units_run(e, SYN1_TOKENS, &seq, 1, &r), ERR_OK);
    trace_add(&t, &r);
    CHECK_EQ(t.n, N_NEW);
    for (uint32_t i = 0; i < N_NEW; i++)
        CHECK_EQ(t.tokens[i], want->tokens[N_PROMPT + i]);
    CHECK(memcmp(t.prints, want->prints[N_PROMPT],
                 sizeof t.prints[0] * N_NEW) == 0);
    engine_free(e);
}

// Send one piece through the spans cut[0]..cut[1], cut[1]..cut[2], ...; rows
// cross as the frames carry them.
static void through_spans(struct engine *const *engines, uint32_t n,
                          struct units_seq *seq, struct syn1_result_seq *r)
{
    uint32_t n_predict = seq->in.n_predict, max_new = seq->in.max_new;

    for (uint32_t i = 0; i < n; i++) {
        bool last = i + 1 == n;

        seq->in.n_predict = last ? n_predict : 0;
        seq->in.max_new = last ? max_new : 0;
        CHECK_EQ(units_run(engines[i],
                           i ? SYN1_TOKENS | SYN1_ROWS : SYN1_TOKENS, seq, 1,
                           r),
                 ERR_OK);
        CHECK_EQ(r->status, SYN1_OK);
        if (!last) {
            CHECK_EQ(r->n_rows, seq->in.n_rows);
            CHECK_EQ(r->n_prints, seq->in.n_rows);
        }
        seq->rows = r->rows; // that engine's, until its next call
    }
}

static void spans_equal_the_whole(const struct synthetic *m,
                                  const struct trace *want)
{
    static const uint32_t cuts[][5] = {
        {0, 1, 3}, {0, 2, 3}, {0, 1, 2, 3}}; // shard indices

    for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
        struct engine *engines[3];
        struct syn1_result_seq r;
        struct trace t = {0};
        uint32_t n = c < 2 ? 2 : 3;

        for (uint32_t i = 0; i < n; i++)
            engines[i] = engine_over(m, cuts[c][i], cuts[c][i + 1], 50);
        struct units_seq seq = piece(m, 0, N_PROMPT);
        through_spans(engines, n, &seq, &r);
        trace_add(&t, &r);
        seq.in.n_predict = 0;
        seq.in.max_new = 1;
        for (uint32_t i = 0; i < N_NEW; i++) {
            seq.in.first = seq.in.kv_valid = N_PROMPT - 1 + i;
            seq.in.n_rows = 1;
            seq.tokens[0] = i ? t.tokens[t.n - 1] : seq.tokens[N_PROMPT - 1];
            through_spans(engines, n, &seq, &r);
            trace_add(&t, &r);
        }
        same_trace(&t, want);
        for (uint32_t i = 0; i < n; i++)
            engine_free(engines[i]);
    }
}

int main(void)
{
    for (int kind = 0; kind < SYNTHETIC_KINDS; kind++) {
        struct synthetic m;

        CHECK(synthetic_new((enum synthetic_kind)kind, 3, &m));
        struct trace want = whole(&m, 128);

        pieces_equal_the_whole(&m, &want);
        others_do_not_matter(&m, &want);
        given_equals_generated(&m, &want);
        spans_equal_the_whole(&m, &want);
        synthetic_release(&m);
    }
    return 0;
}
