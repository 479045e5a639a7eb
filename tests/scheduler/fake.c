#include "fake.h"

#include <string.h>

#include "redundancy/fingerprint.h"
#include "scheduler/state.h"

enum {
    SEQS = 64,    // in a unit
    PATIENCE = 5, // times what is needed where nothing else runs
};

static struct fake_seq *seq_of(struct fake *f, uint64_t id, uint32_t span)
{
    for (size_t i = 0; i < f->n_seqs; i++)
        if (f->seqs[i].id == id && f->seqs[i].span == span)
            return &f->seqs[i];
    struct fake_seq *s = &f->seqs[f->next];

    f->next = (f->next + 1) % FAKE_SEQS;
    f->n_seqs += f->n_seqs < FAKE_SEQS;
    *s = (struct fake_seq){.id = id, .span = span};
    return s;
}

struct entered {
    struct waited waited;
    struct sched_entry entry;
};

static void on_entry(enum err err, const struct sched_entry *entry, void *ctx)
{
    struct entered *entered = ctx;

    if (!err)
        entered->entry = *entry;
    on_waited(err, &entered->waited);
}

struct sched_entry fake_enter(struct fake *f, struct world *w, int n,
                              struct sched_joiner joiner)
{
    struct entered entered = {0};

    memset(f, 0, sizeof *f);
    f->w = w;
    f->store = w->store;
    f->memory = joiner.memory;
    f->account = joiner.account[0];
    f->referee = f->obeys = joiner.referee;
    f->depth = 1;
    f->slots = 16;
    f->wait_ms = 1000;
    fake_holds(f, 0, MODEL_SHARDS);
    f->seqs = calloc(FAKE_SEQS, sizeof *f->seqs);
    CHECK(f->seqs);
    snprintf(f->id, sizeof f->id, "vol_%d", n);
    f->who.id = f->id;
    f->who.token_hash[0] = (uint8_t)n;
    joiner.who = f->who;
    CHECK_EQ(world_wait(
                 w, sched_volunteer_join(w->store, &joiner, on_entry, &entered),
                 &entered.waited),
             ERR_OK);
    return entered.entry;
}

static void join(struct fake *f, struct world *w, int n, uint8_t account,
                 bool referee, const char *block, const char *backend)
{
    struct sched_joiner joiner = {.account = {account, 0xab},
                                  .name = referee ? "judge" : "fake",
                                  .backend = backend,
                                  .memory = w->memory,
                                  .threads = 1,
                                  .block = block,
                                  .referee = referee,
                                  .paid_bits = 256,
                                  .paid_until_ms = INT64_MAX / 2};

    CHECK_EQ(fake_enter(f, w, n, joiner).kind, SCHED_ENTERED);
}

void fake_join(struct fake *f, struct world *w, int n, uint8_t account,
               bool referee)
{
    join(f, w, n, account, referee, "", "native-ref");
}

void fake_join_from(struct fake *f, struct world *w, int n, uint8_t account,
                    const char *block, const char *backend)
{
    join(f, w, n, account, false, block, backend);
}

void fake_holds(struct fake *f, uint16_t first, uint16_t end)
{
    f->spans[0][0] = first;
    f->spans[0][1] = end;
    f->n_spans = 1;
}

void fake_release(struct fake *f)
{
    f->running = false;
    sched_work_cancel(f->work);
    f->work = NULL;
    for (size_t i = 0; i < f->n_held; i++)
        free(f->held[i].frame);
    f->n_held = 0;
    free(f->seqs);
    f->seqs = NULL;
}

enum err fake_leave(struct fake *f)
{
    struct waited done = {0};

    return world_wait(
        f->w, sched_volunteer_leave(f->store, &f->who, on_waited, &done),
        &done);
}

static void lie(struct fake *f, const struct syn1_unit_seq *u, uint32_t first,
                uint32_t i, uint32_t *token, uint8_t *print)
{
    // i: index among the sequence's generated tokens
    if (f->mode == FAKE_WRONG_TOKEN && i == 1)
        *token = (*token + 1) % MODEL_VOCAB;
    if (f->mode == FAKE_WRONG_TOKEN && i == 1 && *token == MODEL_END)
        (*token)++;
    if (f->mode == FAKE_WRONG_PRINT ||
        (f->mode == FAKE_WRONG_WORK && u->max_new))
        print[3] ^= 1;
    if (f->mode == FAKE_STOPS_EARLY && i == 1)
        *token = MODEL_END;
    if (f->mode == FAKE_MALFORMED && u->max_new && first + i > 3)
        *token = MODEL_VOCAB;
}

// Take in the rows of a unit: their tokens, and whether they are right.
static void rows_read(const struct syn1_header *header,
                      const struct syn1_unit_seq *u, struct fake_seq *s)
{
    if (s->sound > u->first || !header->span_first)
        s->sound = u->first;
    for (uint32_t i = 0; i < u->n_rows; i++) {
        uint32_t at = u->first + i;
        const uint8_t *row;
        uint8_t want[MODEL_ROW];

        if (!header->span_first) {
            s->tokens[at] = bytes_peek_u32(u->tokens + i * 4);
            s->sound++;
            continue;
        }
        row = u->rows + (size_t)i * MODEL_ROW;
        s->tokens[at] = model_row_token(row);
        model_row(s->tokens, at + 1, header->span_first, want);
        if (s->sound == at && memcmp(row, want, MODEL_ROW) == 0)
            s->sound++;
    }
}

// What such rows make: right ones, as long as all before them were.
static void rows_write(const struct fake *f, const struct syn1_header *header,
                       const struct syn1_unit_seq *u, const struct fake_seq *s,
                       uint8_t *rows)
{
    for (uint32_t i = 0; i < u->n_rows; i++) {
        uint32_t at = u->first + i;
        uint8_t *row = rows + (size_t)i * MODEL_ROW;

        model_row(s->tokens, at + 1, header->span_end, row);
        if (at >= s->sound || (f->mode == FAKE_WRONG_ROW && at == 2))
            row[20] ^= 1;
    }
}

// Their fingerprints: what a check of a span gives.
static void rows_print(const struct fake *f, const struct syn1_header *header,
                       const struct syn1_unit_seq *u, const uint8_t *rows,
                       uint8_t *prints, struct syn1_result_seq *out)
{
    for (uint32_t i = 0; i < u->n_rows; i++) {
        redun_print(prints + i * REDUN_PRINT_LEN, header->print_seed,
                    rows + (size_t)i * MODEL_ROW, MODEL_ROW);
        prints[i * REDUN_PRINT_LEN] ^= f->mode == FAKE_WRONG_PRINT;
    }
    out->n_prints = u->n_rows;
    out->prints = prints;
}

// One sequence of a unit; tokens, prints and rows have room for all.
static struct syn1_result_seq compute_seq(struct fake *f,
                                          const struct syn1_header *header,
                                          const struct syn1_unit_seq *u,
                                          uint8_t *tokens, uint8_t *prints,
                                          uint8_t *probs, uint8_t *rows)
{
    struct syn1_result_seq r = {
        .id = u->id, .epoch = u->epoch, .first = u->first};
    struct fake_seq *s = seq_of(f, u->id, header->span_first);
    uint32_t n = u->first + u->n_rows;
    struct bytes_out t = {tokens, 4 * SYN1_POS_MAX, 0, false};

    CHECK(n <= MODEL_CONTEXT);
    if (u->sampling.flags & SYN1_LOGPROBS && f->mode != FAKE_NO_PROBS) {
        CHECK_EQ(u->sampling.n_top, MODEL_TOP);
        r.flags = SYN1_LOGPROBS;
        r.n_top = MODEL_TOP;
        r.logprobs = probs;
    }
    f->rows += u->n_rows;
    if (u->max_new)
        f->work_seqs++;
    else
        f->check_seqs++;
    if (s->n < u->first ||
        (f->mode == FAKE_FORGETS && u->first && f->units % 3 == 1)) {
        s->n = 0;
        r.status = SYN1_KV_MISSING;
        return r;
    }
    if (f->mode == FAKE_NO_ROOM && f->units % 2) {
        r.status = SYN1_NO_ROOM;
        return r;
    }
    rows_read(header, u, s);
    if (header->span_end < MODEL_SHARDS) {
        s->n = n;
        rows_write(f, header, u, s, rows);
        if (header->flags & SYN1_PRINTS_ONLY)
            rows_print(f, header, u, rows, prints, &r);
        else {
            r.n_rows = u->n_rows;
            r.rows = rows;
        }
        return r;
    }
    for (uint32_t i = 0; i < u->n_predict + u->max_new; i++) {
        uint32_t at = n - u->n_predict + i + (u->n_predict ? 1 : 0);
        uint32_t next;
        uint8_t *print = prints + (size_t)r.n_prints * 16;

        if (i >= u->n_predict)
            at = n + i - u->n_predict;
        next = model_next(s->tokens, at, u->sampling.seed);
        if (s->sound < (at < n ? at : n))
            next = next == 1 ? 2 : 1;
        model_print(s->tokens, at, header->print_seed, print);
        if (r.logprobs) {
            model_probs(s->tokens, at, probs);
            probs[4] ^= f->mode == FAKE_WRONG_PROBS && u->max_new;
            probs += 4 + 8 * MODEL_TOP;
        }
        lie(f, u, u->first, at - u->n_prompt, &next, print);
        if (i >= u->n_predict)
            s->tokens[at] = next;
        bytes_put_u32(&t, next);
        r.n_tokens++;
        r.n_prints++;
        if (i >= u->n_predict && next == MODEL_END) {
            r.finish = SYN1_STOPPED;
            break;
        }
        if (f->mode == FAKE_SHORT && u->max_new && i + 1 < u->max_new)
            break;
    }
    s->n = n + (u->max_new ? r.n_tokens - u->n_predict : 0);
    r.tokens = tokens;
    r.prints = prints;
    return r;
}

size_t fake_compute(struct fake *f, const uint8_t *unit, size_t len,
                    uint8_t *out, size_t cap)
{
    static uint8_t tokens[SEQS][4096], prints[SEQS][16384], probs[SEQS][16384];
    static uint8_t rows[SEQS][MODEL_CONTEXT * MODEL_ROW];
    struct syn1_frame frame;
    struct syn1_unit_seq u;
    struct bytes body;
    struct bytes_out b = {out, cap, 0, false};
    struct syn1_header header;
    size_t i = 0;

    CHECK_EQ(syn1_parse(unit, len, &frame), ERR_OK);
    CHECK_EQ(frame.header.kind, SYN1_UNIT);
    header = frame.header;
    header.kind = SYN1_RESULT;
    header.number = 1000; // 1 ms
    header.n_seqs = 0;
    if (header.flags & SYN1_PRINTS_ONLY) {
        header.flags = SYN1_PRINTS_ONLY;
        header.dim = 0;
    } else if (header.span_end < MODEL_SHARDS) {
        header.flags = SYN1_ROWS;
        header.dim = MODEL_DIM;
    } else {
        header.flags = SYN1_TOKENS;
        header.dim = 0;
    }
    f->units++;
    body = frame.body;
    syn1_begin(&b, &header);
    while (syn1_unit_next(&frame.header, &body, &u)) {
        CHECK(i < SEQS);
        struct syn1_result_seq r = compute_seq(f, &frame.header, &u, tokens[i],
                                               prints[i], probs[i], rows[i]);
        syn1_put_result_seq(&b, &header, &r);
        i++;
    }
    CHECK_EQ(syn1_end(&b), ERR_OK);
    return b.len;
}

static void fetch(struct fake *f, uint16_t first, uint16_t end)
{
    if (!f->referee) {
        fake_holds(f, first, end);
        return;
    }
    CHECK(f->n_spans < FAKE_SPANS);
    f->spans[f->n_spans][0] = first;
    f->spans[f->n_spans++][1] = end;
}

static void take_answer(struct fake *f)
{
    struct syn1_frame frame, unit;

    CHECK_EQ(syn1_parse(f->answer, f->answer_len, &frame), ERR_OK);
    CHECK_EQ(frame.header.kind, SYN1_ANSWER);
    CHECK_EQ(frame.header.number, f->number);
    f->reason = frame.as.answer.reason;
    f->outcome = frame.as.answer.outcome;
    if (f->reason == SYN1_NOT_CACHED && f->obeys)
        fetch(f, frame.header.span_first, frame.header.span_end);
    if (f->reason != SYN1_WORK)
        return;
    CHECK_EQ(syn1_parse(frame.as.answer.unit, frame.as.answer.unit_len, &unit),
             ERR_OK);
    CHECK(f->n_held < FAKE_HELD);
    f->held[f->n_held].frame = malloc(frame.as.answer.unit_len);
    f->held[f->n_held].len = frame.as.answer.unit_len;
    CHECK(f->held[f->n_held].frame);
    memcpy(f->held[f->n_held].frame, frame.as.answer.unit,
           frame.as.answer.unit_len);
    f->n_held++;
}

static void next_call(struct fake *f);

static void on_answer(enum err err, const uint8_t *frame, size_t len, void *ctx)
{
    struct fake *f = ctx;

    f->work = NULL;
    f->done = true;
    f->err = err;
    f->answer_len = 0;
    if (err == ERR_OK || err == ERR_GONE) {
        CHECK(len <= sizeof f->answer);
        memcpy(f->answer, frame, len);
        f->answer_len = len;
        take_answer(f);
    }
    if (f->running)
        next_call(f);
}

// Build the CALL frame; the posted unit leaves held.
static void build_call(struct fake *f, int which, uint32_t wait_ms)
{
    static uint8_t result[FAKE_FRAME_MAX];
    uint8_t held[FAKE_HELD * SYN1_ID_LEN],
        models[FAKE_SPANS * (SYN1_ID_LEN + 4)];
    struct bytes_out list = {models, sizeof models, 0, false};
    struct syn1_header header = {.kind = SYN1_CALL, .number = ++f->number};
    struct syn1_call call = {.n_models = (uint16_t)f->n_spans,
                             .slots = f->slots,
                             .memory = f->memory,
                             .wait_ms = wait_ms,
                             .held = held,
                             .models = models};
    struct bytes_out b = {f->call, sizeof f->call, 0, false};

    for (size_t i = 0; i < f->n_spans; i++) {
        bytes_put(&list, f->w->model.id, SYN1_ID_LEN);
        bytes_put_u16(&list, f->spans[i][0]);
        bytes_put_u16(&list, f->spans[i][1]);
        for (uint16_t k = f->spans[i][0]; k < f->spans[i][1]; k++)
            call.memory -= call.memory < f->w->shards[k].n_bytes
                               ? call.memory
                               : f->w->shards[k].n_bytes;
    }
    if (which >= 0) {
        CHECK((size_t)which < f->n_held);
        call.result_len = (uint32_t)fake_compute(
            f, f->held[which].frame, f->held[which].len, result, sizeof result);
        call.result = result;
        free(f->held[which].frame);
        f->n_held--;
        f->held[which] = f->held[f->n_held];
    }
    for (size_t i = 0; i < f->n_held; i++) {
        struct syn1_frame unit;

        CHECK_EQ(syn1_parse(f->held[i].frame, f->held[i].len, &unit), ERR_OK);
        memcpy(held + i * SYN1_ID_LEN, unit.header.unit, SYN1_ID_LEN);
        call.n_held++;
        call.slots -=
            call.slots < unit.header.n_seqs ? call.slots : unit.header.n_seqs;
    }
    syn1_begin(&b, &header);
    syn1_put_call(&b, &call);
    CHECK_EQ(syn1_end(&b), ERR_OK);
    f->call_len = b.len;
}

static enum err send_call(struct fake *f)
{
    f->done = false;
    return sched_work_start(f->store, &f->who, f->call, f->call_len, on_answer,
                            f, &f->work);
}

void fake_call_start(struct fake *f, int which, uint32_t wait_ms)
{
    build_call(f, which, wait_ms);
    CHECK_EQ(send_call(f), ERR_OK);
}

enum err fake_call(struct fake *f, int which, uint32_t wait_ms)
{
    fake_call_start(f, which, wait_ms);
    world_until(f->w, &f->done);
    return f->err;
}

enum err fake_repeat(struct fake *f)
{
    enum err err = send_call(f);

    if (err)
        return err;
    world_until(f->w, &f->done);
    return f->err;
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct fake *f = arg;
    struct timeval tv = {0, 20000};

    (void)fd, (void)what;
    if (f->running && send_call(f) != ERR_OK)
        event_base_once(f->w->base, -1, EV_TIMEOUT, on_retry, f, &tv);
}

// After an answer: the next call, or the same again if its outcome is unknown.
static void next_call(struct fake *f)
{
    struct timeval tv = {0, 10000};
    int which = -1;

    CHECK(f->err != ERR_DENIED && f->err != ERR_FORMAT && f->err != ERR_EXISTS);
    if (f->err == ERR_OK || f->err == ERR_GONE) {
        if (f->n_held && (f->n_held >= f->depth || f->reason != SYN1_WORK))
            which = 0;
        build_call(f, which, f->n_held || which >= 0 ? 0 : f->wait_ms);
    }
    if (send_call(f) != ERR_OK)
        event_base_once(f->w->base, -1, EV_TIMEOUT, on_retry, f, &tv);
}

void fake_go(struct fake *f)
{
    f->running = true;
    build_call(f, -1, f->wait_ms);
    CHECK_EQ(send_call(f), ERR_OK);
}

struct looking {
    bool done;
    enum err err;
    enum sched_batch_status status;
};

static void on_batch(enum err err, const struct sched_batch *b, void *ctx)
{
    struct looking *l = ctx;

    l->done = true;
    l->err = err;
    if (b)
        l->status = b->status;
}

static enum sched_batch_status status_of(struct world *w, const char *batch)
{
    struct looking l = {0};
    enum err err = sched_batch_get(w->store, batch, NULL, on_batch, &l);

    if (err)
        return SCHED_VALIDATING; // not up at the moment
    world_until(w, &l.done);
    return l.err ? SCHED_VALIDATING : l.status;
}

void fakes_until_final(struct world *w, const char *batch, int64_t limit_ms)
{
    int64_t end = world_ms() + PATIENCE * limit_ms;

    while (status_of(w, batch) != SCHED_FINALIZING)
        world_run_before(w, 10, end);
}

void fakes_output(struct world *w, const char *batch)
{
    struct sched_batch_files files = {.results = "out", .results_bytes = 99};
    struct took took = world_take(w, SCHED_JOB_OUTPUT);
    struct waited done = {0};

    CHECK_EQ(took.err, ERR_OK);
    CHECK(strcmp(took.job.batch, batch) == 0);
    for (int i = 0; i < 2; i++) // a repeat is fine
        CHECK_EQ(world_wait(w,
                            sched_batch_output(w->store, &took.job, &files,
                                               "evt_1", on_waited, &done),
                            &done),
                 ERR_OK);
    CHECK_EQ(status_of(w, batch), SCHED_COMPLETED);
}
