#include "digest.h"

#include <stdlib.h>
#include <string.h>

#include "synthetic.h"
#include "units.h"

const char digest_committed[2 * SHA256_LEN + 1] =
    "35d70f3a16b032a295db9cf75096a7112a8a6ce3eac9f682b5fbf95f8ccd4f03";

enum { N_SEQS = 5, Q16 = 1 << 16 };

// The sequences as they stand: their next unit, and the last answer's tokens.
struct script {
    struct engine *engine;
    const struct digest_watch *watch; // may be NULL
    struct sha256 sha;
    struct units_seq seqs[N_SEQS];
    uint32_t last[N_SEQS]; // token to go on from
    uint32_t rows[N_SEQS]; // rows so far
};

// Run seqs of `mask`, in this order, and hash the answer.
static enum err script_run(struct script *s, unsigned mask)
{
    struct units_seq *chosen = calloc(N_SEQS, sizeof *chosen);
    struct units_frame frame = {0};
    struct syn1_frame parsed;
    struct syn1_result_seq result;
    const uint8_t *out = NULL;
    uint16_t n = 0;
    size_t len = 0;
    enum err err = chosen ? ERR_OK : ERR_NOMEM;

    for (unsigned i = 0; i < N_SEQS && !err; i++)
        if (mask >> i & 1)
            chosen[n++] = s->seqs[i];
    if (!err && !units_build(s->engine, SYN1_TOKENS, chosen, n, &frame))
        err = ERR_NOMEM;
    if (!err)
        err = engine_run(s->engine, frame.bytes, frame.len, &out, &len);
    if (!err)
        err = syn1_parse(out, len, &parsed);
    if (!err)
        sha256_update(&s->sha, out, len);
    if (!err && s->watch)
        s->watch->on_unit(s->watch->ctx, frame.bytes, frame.len, out, len);
    for (unsigned i = 0; i < N_SEQS && !err; i++)
        if (mask >> i & 1) {
            if (!syn1_result_next(&parsed.header, &parsed.body, &result))
                err = ERR_FORMAT;
            else if (result.n_tokens)
                s->last[i] = units_token(&result, result.n_tokens - 1);
            s->rows[i] = s->seqs[i].in.first + s->seqs[i].in.n_rows;
            if (!err && s->seqs[i].in.max_new && result.n_tokens)
                s->rows[i] += result.n_tokens - s->seqs[i].in.n_predict - 1;
        }
    free(frame.bytes);
    free(chosen);
    return err;
}

static void prompt(struct script *s, unsigned i, uint32_t n_rows,
                   uint32_t n_predict, uint32_t max_new)
{
    struct units_seq *seq = &s->seqs[i];

    seq->in.id = 100 + i;
    seq->in.n_rows = n_rows;
    seq->in.n_predict = n_predict;
    seq->in.max_new = max_new;
    seq->in.n_prompt = n_rows;
    units_tokens(seq->tokens, n_rows, engine_config(s->engine)->n_vocab, i);
}

// The next unit of a sequence: its last token, then max_new more.
static void go_on(struct script *s, unsigned i, uint32_t max_new)
{
    struct syn1_unit_seq *in = &s->seqs[i].in;

    in->first = in->kv_valid = s->rows[i];
    in->n_rows = 1;
    in->n_predict = 0;
    in->max_new = max_new;
    s->seqs[i].tokens[0] = s->last[i];
}

static void first_units(struct script *s)
{
    struct syn1_sampling *c;

    prompt(s, 0, 5, 0, 6); // greedy
    prompt(s, 1, 37, 0, 5);
    c = &s->seqs[1].in.sampling;
    c->inv_temp_q16 = Q16 * 5 / 4;
    c->top_p_q16 = Q16 * 9 / 10;
    c->seed = UINT64_C(0x123456789abcdef0);
    c->flags = SYN1_LOGPROBS;
    c->n_top = 3;
    prompt(s, 2, 9, 4, 8);
    c = &s->seqs[2].in.sampling;
    c->inv_temp_q16 = Q16 / 2;
    c->top_k = 7;
    c->seed = 2;
    c->presence_q16 = Q16 / 2;
    c->frequency_q16 = -Q16 / 4;
    c->flags = SYN1_IGNORE_END;
    s->seqs[2].in.n_prompt = 3;
    s->seqs[2].in.n_bias = 2;
    s->seqs[2].bias[0].token = 11;
    s->seqs[2].bias[0].add = 3 * Q16;
    s->seqs[2].bias[1].token = 12;
    s->seqs[2].bias[1].add = -100 * Q16;
    prompt(s, 3, 70, 70, 0); // a check
    prompt(s, 4, 1, 1, 3);
    s->seqs[4].in.sampling.inv_temp_q16 = Q16;
}

static enum err script_all(struct script *s)
{
    enum err err;

    first_units(s);
    err = script_run(s, 0x0f);
    for (int i = 0; i < 3 && !err; i++)
        go_on(s, (unsigned)i, 10);
    if (!err)
        err = script_run(s, 0x17);
    // Sequence 1 is rolled back; sequence 2 asks for rows that are not there.
    s->seqs[1].in.epoch = 1;
    s->seqs[1].in.first = s->seqs[1].in.kv_valid = 20;
    s->seqs[1].in.n_rows = 3;
    go_on(s, 2, 4);
    s->seqs[2].in.first += 9;
    s->seqs[2].in.kv_valid = 0;
    return err ? err : script_run(s, 0x06);
}

static enum err digest_model(const struct engine_options *options,
                             const struct digest_watch *watch,
                             enum synthetic_kind kind, uint32_t n_shards,
                             struct sha256 *sha)
{
    struct script *s = calloc(1, sizeof *s);
    struct synthetic model = {0};
    enum err err = ERR_OK;

    if (!s || !synthetic_new(kind, n_shards, &model))
        err = ERR_NOMEM;
    if (!err)
        err = engine_new(model.shards, n_shards, options, &s->engine, NULL, 0);
    if (!err && watch)
        watch->on_model(watch->ctx, model.shards, n_shards);
    if (!err) {
        s->watch = watch;
        s->sha = *sha;
        err = script_all(s);
        *sha = s->sha;
        engine_free(s->engine);
    }
    synthetic_release(&model);
    free(s);
    return err;
}

enum err digest_watch(const struct engine_options *options,
                      const struct digest_watch *watch,
                      uint8_t out[SHA256_LEN])
{
    struct sha256 sha;
    enum err err = ERR_OK;

    sha256_init(&sha);
    for (int kind = 0; kind < SYNTHETIC_KINDS && !err; kind++)
        for (uint32_t n_shards = 1; n_shards <= 3 && !err; n_shards += 2)
            err = digest_model(options, watch, (enum synthetic_kind)kind,
                               n_shards, &sha);
    if (!err)
        sha256_final(&sha, out);
    return err;
}

enum err digest_run(const struct engine_options *options,
                    uint8_t out[SHA256_LEN])
{
    return digest_watch(options, NULL, out);
}

void digest_text(const uint8_t digest[SHA256_LEN], char out[2 * SHA256_LEN + 1])
{
    for (int i = 0; i < SHA256_LEN; i++) {
        out[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    out[2 * SHA256_LEN] = '\0';
}
