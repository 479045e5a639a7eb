#include "cheat.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crc32c.h"
#include "doctored.h"
#include "falsify.h"

enum { AT_UNIT = 32, THOUSAND = 1000, HOLD_MS = 20 };

struct stint {
    uint64_t id;
    uint32_t epoch;
    bool lies;
    uint32_t shift; // CHEAT_CONTEXT: rows left out in front
};

struct cheat {
    struct cheat_plan plan;
    struct falsify falsify;
    struct doctored doctored; // engine NULL: none is needed
    struct stint *stints;
    size_t n_stints, cap_stints;
    uint64_t n_lies;
    uint8_t *out; // of the last call
};

// One sequence of the unit under way.
struct item {
    struct syn1_unit_seq in;
    uint32_t shift;
    bool lies;
    bool honest, own; // which engines compute it
    struct answer *by_honest, *by_own;
};

static bool has_engine(enum cheat_mode mode)
{
    return mode >= CHEAT_WEIGHTS4 && mode <= CHEAT_COLLUDE;
}

static enum doctored_kind kind_of(enum cheat_mode mode)
{
    switch (mode) {
    case CHEAT_WEIGHTS4:
        return DOCTORED_WEIGHTS;
    case CHEAT_MATRIX4:
        return DOCTORED_MATRIX;
    case CHEAT_LAYER:
    case CHEAT_COLLUDE:
        return DOCTORED_LAYER;
    case CHEAT_EXPONENTS:
        return DOCTORED_EXPONENTS;
    case CHEAT_KV:
        return DOCTORED_KV;
    default:
        return DOCTORED_NOTHING;
    }
}

enum err cheat_new(const struct cheat_plan *plan,
                   const struct engine_shard *shards, size_t n_shards,
                   const struct engine_options *options, struct cheat **out)
{
    struct cheat *c = calloc(1, sizeof *c);
    enum err err = ERR_OK;

    if (!c)
        return ERR_NOMEM;
    c->plan = *plan;
    c->falsify = (struct falsify){
        .mode = plan->mode, .flip = plan->flip, .random = plan->seed};
    if (has_engine(plan->mode))
        err = doctored_new(kind_of(plan->mode), shards, n_shards, options,
                           &c->doctored);
    if (err) {
        free(c);
        return err;
    }
    *out = c;
    return ERR_OK;
}

void cheat_free(struct cheat *c)
{
    if (!c)
        return;
    doctored_release(&c->doctored);
    falsify_release(&c->falsify);
    free(c->stints);
    free(c->out);
    free(c);
}

void cheat_count(const struct cheat *c, uint64_t *n_stints, uint64_t *n_lies)
{
    *n_stints = c->n_stints;
    *n_lies = c->n_lies;
}

// The stint of a sequence, decided on when it is first seen. NULL: no memory.
static struct stint *stint_of(struct cheat *c, const struct syn1_unit_seq *in)
{
    struct stint *s;

    for (size_t i = c->n_stints; i > 0; i--) {
        s = &c->stints[i - 1];
        if (s->id == in->id && s->epoch == in->epoch)
            return s;
    }
    if (c->n_stints == c->cap_stints) {
        size_t cap = c->cap_stints ? 2 * c->cap_stints : 256;
        struct stint *more = realloc(c->stints, cap * sizeof *more);

        if (!more)
            return NULL;
        c->stints = more;
        c->cap_stints = cap;
    }
    s = &c->stints[c->n_stints];
    *s = (struct stint){.id = in->id, .epoch = in->epoch};
    s->lies = c->n_stints >= c->plan.after &&
              falsify_random(&c->falsify) % THOUSAND < c->plan.chance;
    c->n_stints++;
    c->n_lies += s->lies;
    return s;
}

static bool by_unit(enum cheat_mode mode)
{
    return mode == CHEAT_UNIT || mode == CHEAT_FRAME;
}

static bool is_check(const struct syn1_header *h,
                     const struct syn1_unit_seq *in)
{
    return h->flags & SYN1_PRINTS_ONLY || (in->n_predict && !in->max_new);
}

// Leave out half of what comes before the first answer.
static uint32_t shift_of(const struct syn1_unit_seq *in)
{
    uint32_t free_rows =
        in->n_predict ? in->n_rows - in->n_predict : in->n_rows;

    return free_rows / 2;
}

static enum err items_read(struct cheat *c, struct syn1_frame *frame,
                           struct item *items)
{
    bool now = falsify_random(&c->falsify) % THOUSAND < c->plan.chance;
    struct syn1_unit_seq in;

    for (uint32_t i = 0; syn1_unit_next(&frame->header, &frame->body, &in);
         i++) {
        struct stint *s = stint_of(c, &in);

        if (!s)
            return ERR_NOMEM;
        if (c->plan.mode == CHEAT_CONTEXT && in.first == 0)
            s->shift = shift_of(&in);
        items[i] = (struct item){.in = in, .shift = s->shift, .lies = s->lies};
        if (by_unit(c->plan.mode))
            items[i].lies = now && c->n_stints >= c->plan.after;
        if (c->plan.mode == CHEAT_COLLUDE && is_check(&frame->header, &in)) {
            items[i].lies = false;
            items[i].own = true;
        }
        items[i].own |= items[i].lies && has_engine(c->plan.mode);
        items[i].honest = !items[i].lies || !has_engine(c->plan.mode);
    }
    return ERR_OK;
}

// The sequence as the doctored engine sees it.
static struct syn1_unit_seq shifted(const struct item *item, uint32_t dim)
{
    struct syn1_unit_seq in = item->in;
    uint32_t shift = item->shift;

    if (in.first == 0) {
        in.n_rows -= shift;
        in.tokens = in.tokens ? in.tokens + (size_t)shift * 4 : NULL;
        in.rows = in.rows ? in.rows + shift * syn1_row_len(dim) : NULL;
    } else {
        in.first -= shift;
    }
    in.kv_valid = in.kv_valid > shift ? in.kv_valid - shift : 0;
    in.n_prompt = in.n_prompt > shift ? in.n_prompt - shift : 0;
    return in;
}

// A unit of those of the items that one of the engines computes.
static enum err part_build(const struct syn1_header *header,
                           const struct item *items, bool own,
                           struct bytes_out *out, uint32_t *n)
{
    *out = (struct bytes_out){.cap = SYN1_HEADER_LEN + SYN1_CRC_LEN};
    *n = 0;
    for (uint32_t i = 0; i < header->n_seqs; i++)
        out->cap += syn1_unit_seq_len(header, &items[i].in);
    out->ptr = malloc(out->cap);
    if (!out->ptr)
        return ERR_NOMEM;
    syn1_begin(out, header);
    for (uint32_t i = 0; i < header->n_seqs; i++) {
        struct syn1_unit_seq in = items[i].in;

        if (!(own ? items[i].own : items[i].honest))
            continue;
        if (own && items[i].shift)
            in = shifted(&items[i], header->dim);
        syn1_put_unit_seq(out, header, &in);
        ++*n;
    }
    return syn1_end(out);
}

// Compute a part; the items point at their answers, which *answers holds.
static enum err part_run(struct engine *engine,
                         const struct syn1_header *header, struct item *items,
                         bool own, struct answers *answers)
{
    struct bytes_out frame = {0};
    const uint8_t *out;
    uint32_t n = 0, at = 0;
    size_t len = 0;
    enum err err = part_build(header, items, own, &frame, &n);

    if (!err && n)
        err = engine_run(engine, frame.ptr, frame.len, &out, &len);
    if (!err && n)
        err = answers_read(out, len, answers);
    free(frame.ptr);
    for (uint32_t i = 0; !err && n && i < header->n_seqs; i++) {
        struct item *item = &items[i];

        if (!(own ? item->own : item->honest))
            continue;
        if (own && item->shift && item->in.first == 0)
            err = answers_pad(answers, at, item->shift);
        if (!err && own && item->shift)
            answers->a[at].seq.first = item->in.first;
        *(own ? &item->by_own : &item->by_honest) = &answers->a[at++];
    }
    return err;
}

// Whether the answers are the tokens that were filled in.
static bool says_right(const struct syn1_unit_seq *in, const struct answer *a)
{
    uint32_t from = in->n_rows - in->n_predict + 1;

    if (in->n_predict < 2 || a->seq.n_tokens != in->n_predict)
        return false;
    return memcmp(a->tokens, in->tokens + (size_t)from * 4,
                  (size_t)(in->n_predict - 1) * 4) == 0;
}

// Which answer is given: a colluder knows its own kind's work.
static struct answer *choose(const struct item *item)
{
    if (!item->honest)
        return item->by_own;
    if (item->own && says_right(&item->in, item->by_own) &&
        !says_right(&item->in, item->by_honest))
        return item->by_own;
    return item->by_honest;
}

// Zeros for everything that was asked.
static enum err instant(struct cheat *c, const struct engine *engine,
                        const struct syn1_header *header,
                        const struct item *items, size_t *len)
{
    const struct format_config *config = engine_config(engine);
    struct syn1_header h = *header;
    bool head = engine_span_end(engine) == config->n_shards;
    struct answers answers = {.header = h, .n = h.n_seqs};
    uint8_t *zeros = calloc(SYN1_FRAME_MAX, 1);
    enum err err = ERR_NOMEM;

    answers.a = calloc(h.n_seqs, sizeof *answers.a);
    if (!zeros || !answers.a)
        goto done;
    answers.header.kind = SYN1_RESULT;
    answers.header.flags = head                           ? SYN1_TOKENS
                           : (h.flags & SYN1_PRINTS_ONLY) ? SYN1_PRINTS_ONLY
                                                          : SYN1_ROWS;
    answers.header.dim = answers.header.flags & SYN1_ROWS ? config->d_model : 0;
    for (uint32_t i = 0; i < h.n_seqs; i++) {
        const struct syn1_unit_seq *in = &items[i].in;
        uint32_t n_tokens = head ? in->n_predict + in->max_new : 0;

        answers.a[i].seq = (struct syn1_result_seq){
            .id = in->id,
            .epoch = in->epoch,
            .first = in->first,
            .n_rows = answers.header.flags & SYN1_ROWS ? in->n_rows : 0,
            .n_tokens = n_tokens,
            .n_prints = head ? n_tokens : in->n_rows,
            .rows = zeros,
            .tokens = zeros,
            .prints = zeros,
        };
    }
    err = answers_write(&answers, &c->out, len);

done:
    free(answers.a);
    free(zeros);
    return err;
}

static enum err hold(engine_step_fn *step, void *step_ctx)
{
    const struct timespec nap = {0, HOLD_MS * 1000000};

    while (!step || step(step_ctx, 0, 1))
        nanosleep(&nap, NULL);
    return ERR_GONE;
}

// Lies about the frame as a whole.
static void frame_change(enum cheat_mode mode, uint8_t *frame, size_t len)
{
    struct bytes_out crc = {.ptr = frame + len - SYN1_CRC_LEN, .cap = 4};

    if (mode == CHEAT_UNIT) {
        frame[AT_UNIT] ^= 0x80;
        bytes_put_u32(&crc, crc32c(frame, len - SYN1_CRC_LEN));
    }
    if (mode == CHEAT_FRAME)
        frame[len / 2] ^= 1;
}

// The answers of both engines, chosen and changed, as one frame.
static enum err assemble(struct cheat *c, const struct syn1_header *header,
                         struct item *items, const struct answers *like,
                         size_t *len)
{
    struct answers all = {.header = like->header, .n = header->n_seqs};
    enum err err = ERR_OK;

    all.a = calloc(all.n, sizeof *all.a);
    if (!all.a)
        return ERR_NOMEM;
    for (uint32_t i = 0; !err && i < all.n; i++) {
        struct answer *a = choose(&items[i]);

        if (items[i].lies)
            err = falsify_answer(&c->falsify, &items[i].in, like->dim, a);
        all.a[i] = *a;
    }
    if (!err)
        err = answers_write(&all, &c->out, len);
    free(all.a); // the bytes are honest's and own's
    return err;
}

static bool any_lies(const struct item *items, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (items[i].lies || items[i].own)
            return true;
    return false;
}

static enum err lie(struct cheat *c, struct engine *engine,
                    const struct syn1_header *header, struct item *items,
                    size_t *len)
{
    struct answers honest = {0}, own = {0};
    enum err err = part_run(engine, header, items, false, &honest);

    if (!err)
        err = part_run(c->doctored.engine, header, items, true, &own);
    if (!err)
        err = assemble(c, header, items, honest.n ? &honest : &own, len);
    if (!err)
        frame_change(c->plan.mode, c->out, *len);
    answers_release(&honest);
    answers_release(&own);
    return err;
}

enum err cheat_run(struct cheat *c, struct engine *engine, const uint8_t *frame,
                   size_t len, engine_step_fn *step, void *step_ctx,
                   const uint8_t **out, size_t *out_len)
{
    struct syn1_frame parsed;
    struct item *items;
    enum err err = syn1_parse(frame, len, &parsed);

    if (err)
        return err;
    if (c->plan.mode == CHEAT_NONE)
        return engine_run(engine, frame, len, out, out_len);
    items = calloc(parsed.header.n_seqs, sizeof *items);
    if (!items)
        return ERR_NOMEM;
    free(c->out);
    c->out = NULL;
    c->falsify.n_vocab = engine_config(engine)->n_vocab;
    err = items_read(c, &parsed, items);
    if (!err && !any_lies(items, parsed.header.n_seqs)) {
        err = engine_run(engine, frame, len, out, out_len);
        goto done;
    }
    if (!err && c->plan.mode == CHEAT_HOLD)
        err = hold(step, step_ctx);
    else if (!err && c->plan.mode == CHEAT_INSTANT)
        err = instant(c, engine, &parsed.header, items, out_len);
    else if (!err)
        err = lie(c, engine, &parsed.header, items, out_len);
    if (!err)
        *out = c->out;

done:
    free(items);
    return err;
}
