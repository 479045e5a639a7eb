#include "scheduler/work_frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "redundancy/project.h"
#include "redundancy/trust.h"
#include "redundancy/verdict.h"
#include "scheduler/state.h"

enum {
    UNIT_SEQ_FIELDS = 13, // of a sequence in an "ans" reply
    ASK_FIELDS = 7,       // of a sequence in an "ask" reply
    ANSWER_BODY_LEN = 12,
    IN_F32 = 256, // in the flags of a reply: the unit is of class f32
};

void sched_sampling_put(uint8_t out[SCHED_SAMPLING_LEN],
                        const struct syn1_sampling *s)
{
    struct bytes_out b = {out, SCHED_SAMPLING_LEN, 0, false};

    bytes_put_u32(&b, s->inv_temp_q16);
    bytes_put_u32(&b, s->top_p_q16);
    bytes_put_u32(&b, s->top_k);
    bytes_put_u64(&b, s->seed);
    bytes_put_u32(&b, (uint32_t)s->presence_q16);
    bytes_put_u32(&b, (uint32_t)s->frequency_q16);
    bytes_put_u8(&b, s->flags);
    bytes_put_u8(&b, s->n_top);
}

bool sched_sampling_get(struct bytes in, struct syn1_sampling *out)
{
    struct syn1_sampling s;
    uint32_t presence, frequency;

    if (in.len != SCHED_SAMPLING_LEN || !bytes_u32(&in, &s.inv_temp_q16) ||
        !bytes_u32(&in, &s.top_p_q16) || !bytes_u32(&in, &s.top_k) ||
        !bytes_u64(&in, &s.seed) || !bytes_u32(&in, &presence) ||
        !bytes_u32(&in, &frequency) || !bytes_u8(&in, &s.flags) ||
        !bytes_u8(&in, &s.n_top))
        return false;
    s.presence_q16 = (int32_t)presence;
    s.frequency_q16 = (int32_t)frequency;
    *out = s;
    return true;
}

void sched_prints_mix(const struct syn1_frame *result, uint8_t *frame)
{
    struct syn1_result_seq seq;
    struct bytes body = result->body;
    uint8_t digest[SHA256_LEN];
    struct sha256 s;

    while (syn1_result_next(&result->header, &body, &seq)) {
        size_t len = 4 + 8 * (size_t)seq.n_top;
        uint8_t *print;

        if (!seq.logprobs || seq.n_prints != seq.n_tokens)
            continue;
        print = frame + (seq.prints - frame);
        for (uint32_t i = 0; i < seq.n_tokens; i++) {
            sha256_init(&s);
            sha256_update(&s, print, SYN1_PRINT_LEN);
            sha256_update(&s, seq.logprobs + i * len, len);
            sha256_final(&s, digest);
            memcpy(print, digest, SYN1_PRINT_LEN);
            print += SYN1_PRINT_LEN;
        }
    }
}

void sched_result_put(struct sched_args *args, const struct syn1_frame *result,
                      const struct sched_decisions *decisions)
{
    struct syn1_result_seq seq;
    struct bytes body;
    size_t i = 0;

    if (!result) {
        sched_args_text(args, "");
        sched_args_text(args, "0");
        return;
    }
    sched_args_put(args, result->header.unit, SYN1_ID_LEN);
    sched_args_u64(args, result->header.number);
    body = result->body;
    while (syn1_result_next(&result->header, &body, &seq)) {
        sched_args_u64(args, seq.id);
        sched_args_u64(args, seq.epoch);
        sched_args_u64(args, seq.first);
        sched_args_u64(args, (uint64_t)seq.status);
        sched_args_u64(args, (uint64_t)seq.finish);
        sched_args_put(args, seq.tokens, (size_t)seq.n_tokens * 4);
        sched_args_put(args, seq.prints, (size_t)seq.n_prints * SYN1_PRINT_LEN);
        sched_args_put(args, seq.logprobs,
                       seq.logprobs ? seq.n_tokens * (4 + 8 * (size_t)seq.n_top)
                                    : 0);
        sched_args_put(args, seq.rows,
                       seq.n_rows * syn1_row_len(result->header.dim));
        sched_args_text(args, decisions->text[i++]);
    }
}

// The sequence of a result with this index.
static bool result_seq(const struct syn1_frame *result, uint32_t index,
                       struct syn1_result_seq *out)
{
    struct bytes body = result->body;

    for (uint32_t i = 0; i <= index; i++)
        if (!syn1_result_next(&result->header, &body, out))
            return false;
    return true;
}

static struct redun_answer answer_of(struct bytes tokens, struct bytes prints)
{
    struct redun_answer a = {(uint32_t)(tokens.len / 4), tokens.ptr,
                             prints.ptr};

    if (prints.len != (size_t)a.n * SYN1_PRINT_LEN)
        a.n = 0;
    return a;
}

// Where does a stop string end the sequence?
static enum err
decide_cut(const struct syn1_result_seq *seq, struct bytes before,
           struct bytes stops, const char *model,
           struct sched_cut (*cut)(const struct sched_cut_ask *, void *),
           void *cut_ctx, struct sched_cut *out)
{
    size_t n_before = before.len / 4, n = n_before + seq->n_tokens;
    uint32_t *tokens;

    *out = (struct sched_cut){seq->n_tokens, false};
    if (!cut || !seq->n_tokens)
        return ERR_OK;
    tokens = malloc(n * sizeof *tokens);
    if (!tokens)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        tokens[i] =
            bytes_peek_u32(i < n_before ? before.ptr + i * 4
                                        : seq->tokens + (i - n_before) * 4);
    struct sched_cut_ask ask = {.model = model,
                                .n_tokens = (uint32_t)n,
                                .n_new = seq->n_tokens,
                                .tokens = tokens,
                                .stops = stops.ptr,
                                .stops_len = stops.len};
    *out = cut(&ask, cut_ctx);
    free(tokens);
    if (!out->stopped || !out->keep || out->keep > seq->n_tokens)
        *out = (struct sched_cut){seq->n_tokens, false};
    return ERR_OK;
}

// Is what n accounts made checked? snapshot: trust.lua's, at the first of them.
static enum err draw_one(struct bytes *snapshot, uint32_t n, int64_t now_ms,
                         uint32_t least, bool *drawn)
{
    struct redun_trust t = {0};
    uint64_t struck;
    uint32_t random;

    *drawn = false;
    for (uint32_t i = 0; i < n; i++) {
        if (!bytes_u32(snapshot, &t.run) || !bytes_u32(snapshot, &t.strikes) ||
            !bytes_u64(snapshot, &struck))
            return ERR_FORMAT;
        if (sched_random(&random, sizeof random))
            return ERR_NOMEM;
        t.struck_ms = (int64_t)struck;
        *drawn |=
            redun_draw(t.run, redun_trust_strikes(&t, now_ms), least, random);
    }
    return ERR_OK;
}

// Which parts of a line are checked if it ends now? snapshot: as trust.lua
// packs it. Each becomes a " 0" or " 1" at the end of text.
static enum err decide_draws(struct bytes snapshot,
                             char text[SCHED_DECISION_MAX])
{
    struct redun_season season;
    uint64_t now;
    uint32_t n;
    size_t len = strlen(text);

    if (!bytes_u64(&snapshot, &now) || !bytes_u32(&snapshot, &season.checks) ||
        !bytes_u32(&snapshot, &season.lost))
        return ERR_FORMAT;
    for (int i = 0; snapshot.len && i < SCHED_DRAWS_MAX; i++) {
        bool drawn = false;
        enum err err = bytes_u32(&snapshot, &n) ? ERR_OK : ERR_FORMAT;

        if (!err)
            err = draw_one(&snapshot, n, (int64_t)now,
                           redun_draw_least(&season), &drawn);
        if (err)
            return err;
        snprintf(text + len, SCHED_DECISION_MAX - len, " %d", drawn);
        len += 2;
    }
    return ERR_OK;
}

// Compare the fingerprints of a check with the primary's rows, and with those
// of who differed before (prints, or empty).
static enum err decide_rows(const struct syn1_result_seq *seq,
                            struct bytes rows, struct bytes seed,
                            struct bytes prints, struct redun_verdict *out)
{
    struct redun_rows primary = {.n = seq->n_prints, .rows = rows.ptr};

    if (!seq->n_prints || rows.len % seq->n_prints ||
        !bytes_u64(&seed, &primary.seed) ||
        (prints.len && prints.len != (size_t)seq->n_prints * SYN1_PRINT_LEN))
        return ERR_FORMAT;
    primary.row_len = rows.len / seq->n_prints;
    *out = redun_verdict_rows(&primary, seq->prints,
                              prints.len ? prints.ptr : NULL);
    return ERR_OK;
}

// The same for rows of class f32: close is enough. span: as verify.lua packs
// it.
static enum err decide_near(const struct syn1_result_seq *seq,
                            struct bytes rows, struct bytes seed,
                            struct bytes prints, struct bytes span,
                            struct redun_verdict *out)
{
    struct redun_rows primary = {.n = seq->n_prints, .rows = rows.ptr};
    struct redun_stretch stretch = {.n = seq->n_prints};
    uint32_t dim, embeds;

    if (!bytes_u32(&span, &dim) || !bytes_u32(&span, &stretch.n_layers) ||
        !bytes_u32(&span, &embeds) || !bytes_u64(&seed, &primary.seed) ||
        !seq->n_prints || !dim || dim > SYN1_DIM_MAX ||
        rows.len != seq->n_prints * syn1_row_len(dim) || !stretch.n_layers ||
        stretch.n_layers > REDUN_LAYERS_MAX ||
        (prints.len && prints.len != (size_t)seq->n_prints * SYN1_PRINT_LEN))
        return ERR_FORMAT;
    primary.row_len = syn1_row_len(dim);
    stretch.dim = dim;
    stretch.embeds = embeds == 1;
    return redun_verdict_near(&primary, &stretch, seq->prints,
                              prints.len ? prints.ptr : NULL, out);
}

static void put_verdict(char text[SCHED_DECISION_MAX], uint64_t version,
                        const struct redun_verdict *v)
{
    snprintf(text, SCHED_DECISION_MAX, "%" PRIu64 " %d %d %" PRIu32, version,
             v->primary_right, v->challenger_right, v->keep);
}

enum err sched_decide(struct sched_walk *walk, const struct syn1_frame *result,
                      struct sched_cut (*cut)(const struct sched_cut_ask *,
                                              void *),
                      void *cut_ctx, struct sched_decisions *out)
{
    while (sched_walk_has(walk, ASK_FIELDS)) {
        uint32_t index = sched_walk_u32(walk) - 1;
        const char *what = sched_walk_text(walk);
        uint64_t version = sched_walk_u64(walk);
        struct bytes tokens = sched_walk_bytes(walk);
        struct bytes second = sched_walk_bytes(walk);
        const char *third_text = walk->at < walk->array->elements
                                     ? walk->array->element[walk->at]->str
                                     : NULL;
        struct bytes third = sched_walk_bytes(walk);
        struct bytes fourth = sched_walk_bytes(walk);
        struct syn1_result_seq seq;

        if (walk->bad || index >= SYN1_SEQS_MAX || !third_text ||
            !result_seq(result, index, &seq))
            return ERR_FORMAT;
        enum err err = ERR_OK;

        if (strcmp(what, "rows") == 0) {
            struct redun_verdict v;

            err = decide_rows(&seq, tokens, second, third, &v);
            if (!err)
                put_verdict(out->text[index], version, &v);
        } else if (strcmp(what, "near") == 0) {
            struct redun_verdict v;

            err = decide_near(&seq, tokens, second, third, fourth, &v);
            if (!err)
                put_verdict(out->text[index], version, &v);
        } else if (strcmp(what, "verdict") != 0) {
            struct sched_cut c = {seq.n_tokens, false};

            if (strcmp(what, "cut") == 0)
                err = decide_cut(&seq, tokens, second, third_text, cut, cut_ctx,
                                 &c);
            if (!err) {
                snprintf(out->text[index], SCHED_DECISION_MAX,
                         "%" PRIu64 " %" PRIu32 " %d", version, c.keep,
                         c.stopped);
                err = decide_draws(fourth, out->text[index]);
            }
        } else {
            struct redun_answer word = {seq.n_tokens, seq.tokens, seq.prints};
            struct redun_answer primary = answer_of(tokens, second);
            struct redun_answer other = answer_of(third, fourth);
            struct redun_verdict v =
                redun_verdict_by(&word, &primary, third.len ? &other : NULL);

            put_verdict(out->text[index], version, &v);
        }
        if (err)
            return err;
    }
    return walk->bad || walk->at != walk->array->elements ? ERR_FORMAT : ERR_OK;
}

// The next sequence of an "ans" reply.
static bool unit_seq(struct sched_walk *walk, const struct syn1_header *header,
                     struct syn1_unit_seq *out)
{
    struct syn1_unit_seq s = {0};
    struct bytes sampling, bias, stop, tokens, rows;
    bool has_tokens = header->flags & SYN1_TOKENS;
    bool has_rows = header->flags & SYN1_ROWS;

    s.id = sched_walk_u64(walk);
    s.epoch = sched_walk_u32(walk);
    s.first = sched_walk_u32(walk);
    s.kv_valid = sched_walk_u32(walk);
    s.n_predict = sched_walk_u32(walk);
    s.max_new = sched_walk_u32(walk);
    s.n_prompt = sched_walk_u32(walk);
    sampling = sched_walk_bytes(walk);
    bias = sched_walk_bytes(walk);
    stop = sched_walk_bytes(walk);
    s.n_rows = sched_walk_u32(walk);
    tokens = sched_walk_bytes(walk);
    rows = sched_walk_bytes(walk);
    if (walk->bad || !sched_sampling_get(sampling, &s.sampling) ||
        bias.len / 8 > SYN1_BIAS_MAX || stop.len / 4 > SYN1_STOP_MAX ||
        !s.n_rows || s.n_rows > SYN1_POS_MAX ||
        tokens.len != (has_tokens ? (size_t)s.n_rows * 4 : 0) ||
        rows.len != (has_rows ? s.n_rows * syn1_row_len(header->dim) : 0))
        return false;
    s.tokens = has_tokens ? tokens.ptr : NULL;
    s.rows = has_rows ? rows.ptr : NULL;
    s.n_bias = (uint16_t)(bias.len / 8);
    s.bias = bias.ptr;
    s.n_stop = (uint16_t)(stop.len / 4);
    s.stop = stop.ptr;
    *out = s;
    return true;
}

static enum err answer(uint64_t number, const struct sched_empty *about,
                       const struct syn1_answer *body, uint8_t **out,
                       size_t *out_len)
{
    struct syn1_header header = {.kind = SYN1_ANSWER, .number = number};
    size_t cap =
        SYN1_HEADER_LEN + ANSWER_BODY_LEN + body->unit_len + SYN1_CRC_LEN;
    struct bytes_out b = {malloc(cap), cap, 0, false};
    enum err err;

    if (!b.ptr)
        return ERR_NOMEM;
    if (about && about->model && about->span_end) {
        memcpy(header.model, about->model, SYN1_ID_LEN);
        header.span_first = about->span_first;
        header.span_end = about->span_end;
    }
    syn1_begin(&b, &header);
    syn1_put_answer(&b, body);
    err = syn1_end(&b);
    if (err) {
        free(b.ptr);
        return err;
    }
    *out = b.ptr;
    *out_len = b.len;
    return ERR_OK;
}

enum err sched_answer_empty(uint64_t number, enum syn1_outcome outcome,
                            const struct sched_empty *empty, uint8_t **out,
                            size_t *out_len)
{
    struct syn1_answer body = {.reason = empty->reason,
                               .outcome = outcome,
                               .retry_ms = empty->retry_ms};

    return answer(number, empty, &body, out, out_len);
}

// The unit frame of an "ans" reply; *out is the caller's to free.
static enum err unit_frame(struct sched_walk *walk, struct bytes_out *out)
{
    struct syn1_header header = {.kind = SYN1_UNIT};
    struct syn1_unit_seq seq;
    struct sched_walk again;
    struct bytes id, model, seed;
    size_t cap = SYN1_HEADER_LEN + SYN1_CRC_LEN;
    uint32_t span_first, span_end, flags;

    id = sched_walk_bytes(walk);
    model = sched_walk_bytes(walk);
    span_first = sched_walk_u32(walk);
    span_end = sched_walk_u32(walk);
    header.attempt = sched_walk_u32(walk);
    seed = sched_walk_bytes(walk);
    flags = sched_walk_u32(walk);
    header.dim = sched_walk_u32(walk);
    if (walk->bad || id.len != SYN1_ID_LEN || model.len != SYN1_ID_LEN ||
        span_end > UINT16_MAX || span_first >= span_end ||
        flags > (IN_F32 | SYN1_TOKENS | SYN1_ROWS | SYN1_PRINTS_ONLY) ||
        header.dim > SYN1_DIM_MAX || !bytes_u64(&seed, &header.print_seed))
        return ERR_FORMAT;
    memcpy(header.unit, id.ptr, SYN1_ID_LEN);
    memcpy(header.model, model.ptr, SYN1_ID_LEN);
    header.flags = flags & (IN_F32 - 1);
    header.kernel_class = flags & IN_F32 ? 1 : 0;
    header.span_first = (uint16_t)span_first;
    header.span_end = (uint16_t)span_end;

    again = *walk;
    while (sched_walk_has(walk, UNIT_SEQ_FIELDS)) {
        if (!unit_seq(walk, &header, &seq))
            return ERR_FORMAT;
        cap += syn1_unit_seq_len(&header, &seq);
    }
    if (walk->at != walk->array->elements || again.at == walk->at ||
        cap > SYN1_FRAME_MAX / 2)
        return ERR_FORMAT;

    *out = (struct bytes_out){malloc(cap), cap, 0, false};
    if (!out->ptr)
        return ERR_NOMEM;
    syn1_begin(out, &header);
    while (sched_walk_has(&again, UNIT_SEQ_FIELDS) &&
           unit_seq(&again, &header, &seq))
        syn1_put_unit_seq(out, &header, &seq);
    return syn1_end(out);
}

enum err sched_answer_unit(uint64_t number, enum syn1_outcome outcome,
                           struct sched_walk *walk, uint8_t **out,
                           size_t *out_len)
{
    struct bytes_out unit = {0};
    enum err err = unit_frame(walk, &unit);

    if (!err) {
        struct syn1_answer body = {.reason = SYN1_WORK,
                                   .outcome = outcome,
                                   .unit_len = (uint32_t)unit.len,
                                   .unit = unit.ptr};

        err = answer(number, NULL, &body, out, out_len);
    }
    free(unit.ptr);
    return err;
}
