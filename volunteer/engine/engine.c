#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

#include "engine/forward.h"
#include "engine/sampler.h"
#include "engine/score.h"
#include "engine/unit.h"
#include "engine/wire.h"

enum { SLOTS_DEFAULT = 64, ROWS_DEFAULT = 128 };

// Where a row of the present step comes from.
struct origin {
    struct unit_seq *seq;
    uint32_t given; // index among the rows given; n_rows and up: generated
};

struct engine {
    struct engine_options options;
    struct engine_kernels kernels; // where options point
    struct bind_model model;
    struct kv *kv;
    struct forward *forward;
    struct sampler *sampler; // NULL without the head
    struct unit unit;
    uint64_t round; // counts units; what a unit uses is not evicted for it
    struct forward_row *rows; // options.n_rows
    struct origin *origins;   // options.n_rows
    uint32_t n;               // rows of the present step
    uint8_t *wire;            // one row
};

static enum err options_check(struct engine_options *o)
{
    if (o->n_slots == 0)
        o->n_slots = SLOTS_DEFAULT;
    if (o->n_rows == 0)
        o->n_rows = ROWS_DEFAULT;
    if (o->n_workers == 0)
        o->n_workers = 1;
    if (!o->kernels)
        o->kernels = engine_kernels_pick(ENGINE_ISA_BEST);
    if (o->answer_bytes == 0 || o->answer_bytes > SYN1_FRAME_MAX)
        o->answer_bytes = SYN1_FRAME_MAX;
    if (o->n_slots > SYN1_POS_MAX || o->n_rows > SYN1_POS_MAX ||
        o->n_workers > ENGINE_WORKERS_MAX || (o->n_workers > 1 && !o->parallel))
        return ERR_RANGE;
    return ERR_OK;
}

// Bytes of the arrays that the engine takes by itself.
static size_t own_bytes(const struct engine_options *o, uint32_t d_model)
{
    return sizeof(struct engine) +
           o->n_rows * (sizeof(struct forward_row) + sizeof(struct origin)) +
           syn1_row_len(d_model);
}

static struct kv_shape shape_of(const struct bind_model *model)
{
    const struct format_config *c = &model->config;

    return (struct kv_shape){model->n_layers, c->n_kv_heads, c->head_dim,
                             c->n_ctx};
}

enum err engine_need(const struct engine_shard *shards, size_t n_shards,
                     const struct engine_options *options,
                     struct engine_need *out, char *why, size_t why_len)
{
    struct engine_options o = *options;
    struct bind_model model;
    struct kv_shape shape;
    enum err err = options_check(&o);

    if (why && why_len)
        why[0] = '\0';
    if (!err)
        err = bind_model(shards, n_shards, &model, why, why_len);
    if (err)
        return err;
    shape = shape_of(&model);
    out->fixed = own_bytes(&o, model.config.d_model) +
                 forward_need(&model, &o, o.n_rows) +
                 unit_need(o.answer_bytes) + kv_slot_bytes(&shape, o.n_slots);
    if (model.has_head)
        out->fixed += sampler_need(model.config.n_vocab);
    out->kv_each = kv_seq_bytes(&shape);
    out->n_ctx = model.config.n_ctx;
    out->d_model = model.config.d_model;
    out->has_head = model.has_head;
    bind_release(&model);
    return ERR_OK;
}

static enum err engine_build(struct engine *e)
{
    const struct format_config *c = &e->model.config;
    struct kv_shape shape = shape_of(&e->model);
    struct sampler_tables tables = {e->model.exp2, e->model.log2,
                                    e->model.logh};
    enum err err =
        kv_new(&shape, e->options.kv_bytes, e->options.n_slots, &e->kv);

    if (!err)
        err = forward_new(&e->model, e->kv, &e->options, e->options.n_rows,
                          &e->forward);
    if (!err && e->model.has_head)
        err = sampler_new(c->n_vocab, &tables, e->options.kernels, &e->sampler);
    if (!err)
        err = unit_init(&e->unit, e->options.answer_bytes);
    if (err)
        return err;
    e->rows = calloc(e->options.n_rows, sizeof *e->rows);
    e->origins = calloc(e->options.n_rows, sizeof *e->origins);
    e->wire = malloc(syn1_row_len(c->d_model));
    return e->rows && e->origins && e->wire ? ERR_OK : ERR_NOMEM;
}

enum err engine_new(const struct engine_shard *shards, size_t n_shards,
                    const struct engine_options *options, struct engine **out,
                    char *why, size_t why_len)
{
    struct engine *e = calloc(1, sizeof *e);
    enum err err;

    if (!e)
        return ERR_NOMEM;
    if (why && why_len)
        why[0] = '\0';
    e->options = *options;
    err = options_check(&e->options);
    if (!err) {
        e->kernels = *e->options.kernels;
        e->options.kernels = &e->kernels;
        err = bind_model(shards, n_shards, &e->model, why, why_len);
    }
    if (!err && e->options.kernels->kernel_class == ENGINE_CLASS_F32 &&
        (e->model.has_head || e->model.n_layers > ENGINE_F32_LAYERS_MAX))
        err = ERR_UNSUPPORTED;
    if (!err)
        err = engine_build(e);
    if (err) {
        if (why && why_len && !why[0])
            strncat(why, err_text(err), why_len - 1);
        engine_free(e);
        return err;
    }
    *out = e;
    return ERR_OK;
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    free(e->wire);
    free(e->origins);
    free(e->rows);
    unit_release(&e->unit);
    sampler_free(e->sampler);
    forward_free(e->forward);
    kv_free(e->kv);
    bind_release(&e->model);
    free(e);
}

const struct format_config *engine_config(const struct engine *e)
{
    return &e->model.config;
}

const uint8_t *engine_model(const struct engine *e)
{
    return e->options.model;
}

uint32_t engine_span_first(const struct engine *e)
{
    return e->model.span_first;
}

uint32_t engine_span_end(const struct engine *e)
{
    return e->model.span_end;
}

uint32_t engine_layers(const struct engine *e)
{
    return e->model.n_layers;
}

enum engine_class engine_kernel_class(const struct engine *e)
{
    return e->options.kernels->kernel_class;
}

void engine_drop(struct engine *e, uint64_t seq)
{
    kv_drop(e->kv, seq);
}

uint32_t engine_free_slots(const struct engine *e)
{
    return kv_free_slots(e->kv);
}

size_t engine_bytes(const struct engine *e)
{
    return own_bytes(&e->options, e->model.config.d_model) + kv_bytes(e->kv) +
           forward_bytes(e->forward) + unit_bytes(&e->unit) +
           (e->sampler ? sampler_bytes(e->sampler) : 0);
}

void engine_limit_kv(struct engine *e, size_t kv_bytes)
{
    kv_limit(e->kv, kv_bytes ? kv_bytes : 1);
}

// Open the KV of each sequence of the unit, with room for all it may add.
static enum err open_slots(struct engine *e)
{
    e->round++;
    for (uint32_t i = 0; i < e->unit.n_seqs; i++) {
        struct unit_seq *seq = &e->unit.seqs[i];
        const struct syn1_unit_seq *in = &seq->in;
        uint32_t n_ctx = e->model.config.n_ctx;
        uint32_t end = in->first + in->n_rows;
        uint32_t more = in->max_new > 1 ? in->max_new - 1 : 0;
        enum err err;

        if (seq->status != SYN1_OK)
            continue;
        err = kv_open(e->kv, in->id, in->epoch, in->first, in->kv_valid,
                      e->round, &seq->slot);
        if (!err)
            err = kv_reserve(e->kv, seq->slot,
                             more < n_ctx - end ? end + more : n_ctx, e->round);
        if (err == ERR_KV_MISSING)
            seq->status = SYN1_KV_MISSING;
        else if (err == ERR_FULL)
            seq->status = SYN1_NO_ROOM;
        else if (err)
            return err;
        if (err)
            seq->slot = NULL;
    }
    return ERR_OK;
}

static void row_add(struct engine *e, struct unit_seq *seq, uint32_t token,
                    const uint8_t *wire)
{
    uint32_t position = seq->in.first + seq->n_fed;

    e->rows[e->n] = (struct forward_row){seq->slot, position, token, wire};
    e->origins[e->n] = (struct origin){seq, seq->n_fed};
    e->n++;
    seq->n_fed++;
    kv_set_token(seq->slot, position, token);
}

// The rows of the next step: one of each sequence that generates, then as many
// given ones as fit.
static void rows_gather(struct engine *e)
{
    e->n = 0;
    for (uint32_t i = 0; i < e->unit.n_seqs && e->n < e->options.n_rows; i++) {
        struct unit_seq *seq = &e->unit.seqs[i];

        if (seq->slot && seq->generating) {
            seq->generating = false;
            row_add(e, seq, seq->next_token, NULL);
        }
    }
    for (uint32_t i = 0; i < e->unit.n_seqs; i++) {
        struct unit_seq *seq = &e->unit.seqs[i];

        while (seq->slot && seq->n_fed < seq->in.n_rows &&
               e->n < e->options.n_rows) {
            size_t at = seq->n_fed * syn1_row_len(e->model.config.d_model);

            row_add(e, seq, seq->in.tokens ? unit_token(seq, seq->n_fed) : 0,
                    seq->in.rows ? seq->in.rows + at : NULL);
        }
    }
}

// Whether the row's logits are needed.
static bool row_predicts(const struct origin *from)
{
    const struct syn1_unit_seq *in = &from->seq->in;

    if (from->given >= in->n_rows)
        return true;
    return unit_predicts(from->seq, from->given) ||
           (from->given == in->n_rows - 1 && in->max_new > 0);
}

static bool is_end(const struct engine *e, const struct unit_seq *seq,
                   uint32_t token)
{
    const struct format_config *c = &e->model.config;

    for (uint32_t i = 0; i < seq->in.n_stop; i++)
        if (bytes_peek_u32(seq->in.stop + (size_t)i * 4) == token)
            return true;
    if (seq->in.sampling.flags & SYN1_IGNORE_END)
        return false;
    for (uint32_t i = 0; i < c->n_ends; i++)
        if (c->ends[i] == token)
            return true;
    return false;
}

// Choose the token behind a row, by its logits.
static uint32_t token_choose(struct engine *e, struct unit_seq *seq,
                             uint32_t position, int32_t *logits,
                             struct sampler_top *own, struct sampler_top *tops)
{
    const struct syn1_sampling *sampling = &seq->in.sampling;

    if (sampling->presence_q16 || sampling->frequency_q16)
        for (uint32_t p = seq->in.n_prompt; p <= position; p++)
            sampler_count(e->sampler, kv_token(seq->slot, p));
    sampler_apply(e->sampler, logits, sampling, seq->in.bias, seq->in.n_bias);
    own->token = sampler_choose(e->sampler, logits, sampling, position + 1);
    if (seq->logprobs) {
        struct sampler_total total = sampler_total(e->sampler, logits);

        own->logprob = sampler_logprob(&total, logits, own->token);
        sampler_tops(e->sampler, &total, logits, sampling->n_top, tops);
    }
    return own->token;
}

// Write one token into the answer.
static void token_put(struct engine *e, struct unit_seq *seq,
                      const struct sampler_top *own,
                      const struct sampler_top *tops)
{
    if (seq->logprobs)
        unit_put_logprob(seq, own, tops);
    unit_put_token(seq, own->token);
    unit_put_print(&e->unit, seq, e->wire);
}

// Decide what follows a generated token at `position`.
static void go_on(struct engine *e, struct unit_seq *seq, uint32_t position,
                  uint32_t token)
{
    seq->n_new++;
    if (is_end(e, seq, token)) {
        seq->finish = SYN1_STOPPED;
    } else if (position + 1 >= e->model.config.n_ctx) {
        seq->finish = SYN1_CONTEXT_FULL;
    } else if (seq->n_new < seq->in.max_new) {
        seq->next_token = token;
        seq->generating = true;
    }
}

// Answer row i of the step, whose logits these are.
static void row_answer(struct engine *e, uint32_t i, int32_t *logits)
{
    const struct origin *from = &e->origins[i];
    struct unit_seq *seq = from->seq;
    uint32_t position = e->rows[i].position;
    struct sampler_top own, tops[SYN1_TOP_MAX];
    uint32_t token = token_choose(e, seq, position, logits, &own, tops);

    wire_put(e->wire, forward_residual(e->forward, i), e->model.config.d_model);
    if (from->given < seq->in.n_rows && unit_predicts(seq, from->given))
        token_put(e, seq, &own, tops);
    if (from->given + 1 < seq->in.n_rows || seq->in.max_new == 0)
        return;
    if (position + 1 >= e->model.config.n_ctx) {
        seq->finish = SYN1_CONTEXT_FULL; // nothing may follow this row
        return;
    }
    token_put(e, seq, &own, tops);
    go_on(e, seq, position + 1, token);
}

static void answer_tokens(struct engine *e)
{
    uint32_t wanted[FORWARD_HEAD_ROWS], n = 0;

    for (uint32_t i = 0; i < e->n; i++) {
        if (row_predicts(&e->origins[i]))
            wanted[n++] = i;
        if (n == FORWARD_HEAD_ROWS || (n > 0 && i == e->n - 1)) {
            int32_t *logits = forward_logits(e->forward, wanted, n);

            for (uint32_t r = 0; r < n; r++)
                row_answer(e, wanted[r], logits + r * forward_ld(e->forward));
            n = 0;
        }
    }
}

static void answer_rows(struct engine *e)
{
    size_t row_len = syn1_row_len(e->model.config.d_model);

    for (uint32_t i = 0; i < e->n; i++) {
        struct unit_seq *seq = e->origins[i].seq;

        wire_put(e->wire, forward_residual(e->forward, i),
                 e->model.config.d_model);
        if (e->unit.returns_rows)
            memcpy(seq->rows + seq->n_rows++ * row_len, e->wire, row_len);
        unit_put_print(&e->unit, seq, e->wire);
    }
}

// Drop what the unit's sequences have: they stopped half-way.
static void abandon(struct engine *e)
{
    for (uint32_t i = 0; i < e->unit.n_seqs; i++)
        if (e->unit.seqs[i].slot)
            kv_drop(e->kv, e->unit.seqs[i].in.id);
}

static enum err run_steps(struct engine *e)
{
    uint32_t n_done = 0;

    for (rows_gather(e); e->n > 0; rows_gather(e)) {
        forward_run(e->forward, e->rows, e->n);
        for (uint32_t i = 0; i < e->n; i++)
            kv_set_rows(e->rows[i].slot, e->rows[i].position + 1);
        if (e->model.has_head)
            answer_tokens(e);
        else
            answer_rows(e);
        n_done += e->n;
        if (e->options.step &&
            !e->options.step(e->options.step_ctx, n_done, e->unit.n_all))
            return ERR_GONE;
    }
    return ERR_OK;
}

static uint64_t now(const struct engine *e)
{
    return e->options.now_us ? e->options.now_us(e->options.now_ctx) : 0;
}

enum err engine_run(struct engine *e, const uint8_t *frame, size_t len,
                    const uint8_t **out, size_t *out_len)
{
    uint64_t start = now(e);
    struct unit_reader reader = {&e->model, e->options.model,
                                 e->options.kernels->kernel_class};
    enum err err = unit_read(&e->unit, &reader, frame, len);

    if (err)
        return err;
    err = open_slots(e);
    if (!err)
        err = run_steps(e);
    if (!err)
        err = unit_write(&e->unit, now(e) - start, out, out_len);
    if (err)
        abandon(e);
    return err;
}

enum err engine_score(struct engine *e, const uint32_t *tokens, uint32_t n,
                      int32_t *nll_q16, uint32_t *best)
{
    const struct syn1_sampling greedy = {.top_p_q16 = 1 << 16};
    const struct format_config *c = &e->model.config;
    struct kv_slot *slot;
    enum err err;

    if (!e->model.has_embed || !e->model.has_head)
        return ERR_UNSUPPORTED;
    if (n < 2 || n > c->n_ctx)
        return ERR_RANGE;
    for (uint32_t i = 0; i < n; i++)
        if (tokens[i] >= c->n_vocab)
            return ERR_RANGE;
    e->round++;
    err = kv_open(e->kv, UINT64_MAX, 0, 0, 0, e->round, &slot);
    if (!err)
        err = kv_reserve(e->kv, slot, n, e->round);
    for (uint32_t at = 0; at < n - 1 && !err; at += e->n) {
        uint32_t left = n - 1 - at;

        e->n = left < e->options.n_rows ? left : e->options.n_rows;
        for (uint32_t i = 0; i < e->n; i++)
            e->rows[i] =
                (struct forward_row){slot, at + i, tokens[at + i], NULL};
        forward_run(e->forward, e->rows, e->n);
        for (uint32_t i = 0; i < e->n; i++) {
            int32_t *logits = forward_logits(e->forward, &i, 1);
            struct sampler_total total = sampler_total(e->sampler, logits);

            if (nll_q16)
                nll_q16[at + i] =
                    -sampler_logprob(&total, logits, tokens[at + i + 1]);
            if (best)
                best[at + i] =
                    sampler_choose(e->sampler, logits, &greedy, at + i + 1);
        }
    }
    kv_drop(e->kv, UINT64_MAX);
    return err;
}
