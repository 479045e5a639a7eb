#include "engine/local.h"

#include <stdlib.h>
#include <string.h>

#include "engine/score.h"

enum { LOCAL_SEQ = 1 };

// A request on its way: one unit for the prompt, then one a token.
struct local {
    struct engine *engine;
    const struct local_request *request;
    struct syn1_header header;
    uint8_t *ids; // little-endian tokens of the next unit
    uint8_t *stop;
    struct bytes_out frame;
};

static void put_ids(uint8_t *at, const uint32_t *ids, uint32_t n)
{
    struct bytes_out out = {at, (size_t)n * 4, 0, false};

    for (uint32_t i = 0; i < n; i++)
        bytes_put_u32(&out, ids[i]);
}

static struct syn1_header header_of(const struct engine *engine)
{
    struct syn1_header header = {.kind = SYN1_UNIT,
                                 .flags = SYN1_TOKENS,
                                 .span_first =
                                     (uint16_t)engine_span_first(engine),
                                 .span_end = (uint16_t)engine_span_end(engine),
                                 .n_seqs = 1};

    memcpy(header.model, engine_model(engine), SYN1_ID_LEN);
    return header;
}

// Run a unit of one sequence. *out is the engine's until the next unit.
static enum err seq_run(struct engine *engine, const struct syn1_header *header,
                        const struct syn1_unit_seq *seq,
                        struct bytes_out *frame, struct syn1_result_seq *out,
                        uint64_t *us)
{
    struct syn1_frame parsed;
    const uint8_t *result;
    size_t len = 0;
    enum err err;

    frame->len = 0;
    syn1_begin(frame, header);
    syn1_put_unit_seq(frame, header, seq);
    err = syn1_end(frame);
    if (!err)
        err = engine_run(engine, frame->ptr, frame->len, &result, &len);
    if (!err)
        err = syn1_parse(result, len, &parsed);
    if (err)
        return err;
    *us += parsed.header.number;
    if (!syn1_result_next(&parsed.header, &parsed.body, out))
        return ERR_FORMAT;
    return out->status == SYN1_OK ? ERR_OK : ERR_FULL;
}

// Run a unit of n_rows tokens from `first` on that asks for one new token.
static enum err local_unit(struct local *l, uint32_t first, uint32_t n_rows,
                           struct syn1_result_seq *out, uint64_t *us)
{
    struct syn1_unit_seq seq = {.id = LOCAL_SEQ,
                                .first = first,
                                .n_rows = n_rows,
                                .kv_valid = first,
                                .max_new = 1,
                                .n_prompt = l->request->n_prompt,
                                .sampling = l->request->sampling,
                                .n_stop = (uint16_t)l->request->n_stop,
                                .tokens = l->ids,
                                .stop = l->stop};

    return seq_run(l->engine, &l->header, &seq, &l->frame, out, us);
}

static enum err local_loop(struct local *l, local_token_fn *on_token, void *ctx,
                           struct local_result *out)
{
    const struct local_request *r = l->request;
    struct local_result result = {0};
    struct syn1_result_seq seq;
    uint32_t first = 0, n_rows = r->n_prompt;

    put_ids(l->ids, r->prompt, r->n_prompt);
    while (result.n_tokens < r->max_tokens) {
        enum err err =
            local_unit(l, first, n_rows, &seq,
                       first ? &result.decode_us : &result.prompt_us);

        if (err)
            return err;
        result.finish = seq.finish;
        if (seq.n_tokens == 0)
            break;
        result.n_tokens++;
        if (!on_token(ctx, bytes_peek_u32(seq.tokens)) || seq.finish)
            break;
        memcpy(l->ids, seq.tokens, 4);
        first += n_rows;
        n_rows = 1;
    }
    *out = result;
    return ERR_OK;
}

enum err local_generate(struct engine *engine,
                        const struct local_request *request,
                        local_token_fn *on_token, void *ctx,
                        struct local_result *out)
{
    struct local l = {.engine = engine, .request = request};
    struct syn1_unit_seq largest = {.n_rows = request->n_prompt,
                                    .n_stop = (uint16_t)request->n_stop};
    enum err err = ERR_OK;

    if (request->n_prompt < 1 || request->n_prompt > SYN1_POS_MAX ||
        request->n_stop > SYN1_STOP_MAX)
        return ERR_RANGE;
    l.header = header_of(engine);
    l.frame.cap =
        SYN1_HEADER_LEN + SYN1_CRC_LEN + syn1_unit_seq_len(&l.header, &largest);
    l.frame.ptr = malloc(l.frame.cap);
    l.ids = malloc((size_t)request->n_prompt * 4);
    l.stop = malloc(SYN1_STOP_MAX * 4);
    if (!l.frame.ptr || !l.ids || !l.stop) {
        err = ERR_NOMEM;
        goto done;
    }
    put_ids(l.stop, request->stop, request->n_stop);
    err = local_loop(&l, on_token, ctx, out);

done:
    engine_drop(engine, LOCAL_SEQ);
    free(l.stop);
    free(l.ids);
    free(l.frame.ptr);
    return err;
}

enum err local_check(struct engine *engine, const struct local_answer *a,
                     uint32_t *n_same)
{
    struct syn1_header header = header_of(engine);
    uint32_t n_rows = a->n_prompt + a->n_tokens - 1, n = 0;
    struct syn1_unit_seq seq = {.id = LOCAL_SEQ,
                                .n_rows = n_rows,
                                .n_predict = a->n_tokens,
                                .n_prompt = a->n_prompt,
                                .sampling = a->sampling,
                                .n_bias = a->n_bias,
                                .n_stop = a->n_stop,
                                .bias = a->bias,
                                .stop = a->stop};
    struct syn1_result_seq result;
    struct bytes_out frame = {0};
    uint8_t *ids;
    uint64_t us = 0;
    enum err err = ERR_NOMEM;

    if (!a->n_prompt || !a->n_tokens || a->n_prompt > SYN1_POS_MAX ||
        a->n_tokens > SYN1_POS_MAX - a->n_prompt)
        return ERR_RANGE;
    frame.cap =
        SYN1_HEADER_LEN + SYN1_CRC_LEN + syn1_unit_seq_len(&header, &seq);
    frame.ptr = malloc(frame.cap);
    ids = malloc((size_t)n_rows * 4);
    if (!frame.ptr || !ids)
        goto done;
    put_ids(ids, a->ids, n_rows);
    seq.tokens = ids;
    err = seq_run(engine, &header, &seq, &frame, &result, &us);
    if (err)
        goto done;
    while (n < result.n_tokens && n < a->n_tokens &&
           bytes_peek_u32(result.tokens + (size_t)n * 4) ==
               a->ids[a->n_prompt + n])
        n++;
    if (a->logprobs && n == a->n_tokens && result.logprobs)
        memcpy(a->logprobs, result.logprobs,
               (size_t)n * (4 + 8 * (size_t)a->sampling.n_top));
    *n_same = n;

done:
    engine_drop(engine, LOCAL_SEQ);
    free(ids);
    free(frame.ptr);
    return err;
}

enum err local_score(struct engine *engine, const uint32_t *tokens, uint32_t n,
                     int32_t *nll_q16, uint32_t *best)
{
    return engine_score(engine, tokens, n, nll_q16, best);
}
