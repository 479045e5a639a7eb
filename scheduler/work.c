#include "scheduler/work.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/state.h"
#include "scheduler/who.h"
#include "scheduler/work_frame.h"

enum {
    SEED_LEN = 8,
    RETRY_MS = 1000,          // told when the call was not held
    RETRY_AFTER_WAIT_MS = 50, // told when it was
    RETAKE_MIN_MS = 20,       // a held call looks again no more often
    ASKS_MAX = 8,             // rounds of decisions about one result
    K_MIN = 1000,             // rows a token by speed, in thousandths
    K_MAX = 32000,
    K_DEFAULT = 4000,
};

// Numbers that Lua must keep exact.
#define NUMBER_MAX (UINT64_C(1) << 53)

// A call is in flight (a reply is awaited) or held (its timer is pending), and
// in the store's list, until end() or the last reply after a cancel.
struct sched_work {
    struct sched_store *store;
    struct sched_work *next, **at; // the store's list
    sched_work_fn *fn;             // NULL once cancelled
    void *ctx;
    struct sched_who who;
    char id[SCHED_ID_MAX + 1];
    uint8_t *frame;         // copy of the CALL frame
    struct syn1_frame call; // views into frame
    struct syn1_frame result;
    bool has_result;
    struct sched_decisions *decisions; // there if has_result
    int asks;
    uint8_t unit[SYN1_ID_LEN]; // offered at the last take
    struct event *timer;
    int64_t started_ms, until_ms; // held until
    int64_t sent_ms;              // the last take
    uint64_t wakes;               // seen by the store at the last take
    enum syn1_outcome outcome;
    bool in_flight;
    bool woken;      // while in flight
    bool superseded; // a newer call of the volunteer has come
};

static void send_take(struct sched_work *work);

static void work_free(struct sched_work *work)
{
    *work->at = work->next;
    if (work->next)
        work->next->at = work->at;
    if (work->timer)
        event_free(work->timer);
    free(work->decisions);
    free(work->frame);
    free(work);
}

// The one ending: tell, and free.
static void end(struct sched_work *work, enum err err, const uint8_t *frame,
                size_t len)
{
    sched_work_fn *fn = work->fn;
    void *ctx = work->ctx;

    work_free(work);
    if (fn)
        fn(err, frame, len, ctx);
}

static void end_frame(struct sched_work *work, enum err err, uint8_t *frame,
                      size_t len)
{
    if (err)
        end(work, err == ERR_NOMEM ? ERR_BUSY : err, NULL, 0);
    else
        end(work, work->outcome == SYN1_GONE ? ERR_GONE : ERR_OK, frame, len);
    free(frame);
}

static void end_empty(struct sched_work *work, struct sched_empty empty)
{
    uint8_t *frame = NULL;
    size_t len = 0;
    enum err err = sched_answer_empty(work->call.header.number, work->outcome,
                                      &empty, &frame, &len);

    end_frame(work, err, frame, len);
}

static uint32_t retry_ms(const struct sched_work *work)
{
    return sched_clock_ms() - work->started_ms >= RETRY_MS ? RETRY_AFTER_WAIT_MS
                                                           : RETRY_MS;
}

static void timer_in(struct sched_work *work, int64_t ms)
{
    int64_t left = work->until_ms - sched_clock_ms();

    if (ms > left)
        ms = left;
    if (ms < 0)
        ms = 0;
    struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    event_add(work->timer, &tv);
}

static bool time_is_up(const struct sched_work *work)
{
    return sched_clock_ms() >= work->until_ms;
}

// Nothing is ready: hold the call, or answer why.
static void park(struct sched_work *work, struct sched_empty empty,
                 int64_t next_ms)
{
    bool hold = empty.reason == SYN1_NO_WORK || empty.reason == SYN1_TRUST;

    work->has_result = false; // it is committed
    if (!hold || work->superseded || time_is_up(work)) {
        empty.retry_ms = retry_ms(work);
        end_empty(work, empty);
        return;
    }
    bool again = work->woken || work->wakes != work->store->wakes;
    timer_in(work, again ? 0 : next_ms);
}

static void on_released(enum err err, void *ctx)
{
    (void)err, (void)ctx; // if it was lost, the lease expires
}

// The client has gone, but a unit was taken for it: give it back, unless the
// same call has come again meanwhile and will be answered with it.
static void release(struct sched_work *work)
{
    struct sched_store *store = work->store;
    struct sched_args args = {0};

    for (const struct sched_work *w = store->works; w; w = w->next)
        if (w != work && w->fn && strcmp(w->id, work->id) == 0)
            return;
    sched_who_put(&args, &work->who);
    sched_args_u64(&args, work->call.header.number);
    sched_args_put(&args, work->unit, SYN1_ID_LEN);
    enum err err =
        sched_call_done(store, "work_release", &args, on_released, NULL);
    (void)err; // as in on_released
}

static void on_answer(struct sched_work *work, struct sched_walk *walk)
{
    uint32_t outcome = sched_walk_u32(walk);
    const char *what = sched_walk_text(walk);
    bool unit = strcmp(what, "unit") == 0;

    work->outcome =
        outcome <= SYN1_GONE ? (enum syn1_outcome)outcome : SYN1_NONE;
    if (!work->fn) {
        if (unit)
            release(work);
        work_free(work);
        return;
    }
    if (unit) {
        uint8_t *frame = NULL;
        size_t len = 0;
        enum err err = sched_answer_unit(work->call.header.number,
                                         work->outcome, walk, &frame, &len);

        end_frame(work, err, frame, len);
        return;
    }
    struct sched_empty empty = {SYN1_NO_WORK, 0, NULL, 0, 0};
    uint32_t reason = sched_walk_u32(walk);
    int64_t next_ms = sched_walk_i64(walk);
    struct bytes model = sched_walk_bytes(walk);
    uint32_t span_first = sched_walk_u32(walk);
    uint32_t span_end = sched_walk_u32(walk);
    if (walk->bad || !reason || reason >= SYN1_REASON_END ||
        span_end > UINT16_MAX || span_first > span_end) {
        end(work, ERR_FORMAT, NULL, 0);
        return;
    }
    empty.reason = (enum syn1_reason)reason;
    if (model.len == SYN1_ID_LEN) {
        empty.model = model.ptr;
        empty.span_first = (uint16_t)span_first;
        empty.span_end = (uint16_t)span_end;
    }
    park(work, empty, next_ms);
}

// The connection was lost. The call is safe to repeat, so it is held while it
// has time left and made again when Redis is back.
static void on_lost(struct sched_work *work)
{
    if (!work->fn || work->store->freeing || time_is_up(work))
        end(work, ERR_STORE, NULL, 0);
    else
        timer_in(work, work->until_ms - sched_clock_ms());
}

static void on_taken(enum err err, const redisReply *reply, void *ctx)
{
    struct sched_work *work = ctx;
    struct sched_walk walk = sched_walk_over(reply);
    const char *word;

    work->in_flight = false;
    if (err == ERR_STORE) {
        on_lost(work);
        return;
    }
    if (err) {
        end(work, err, NULL, 0);
        return;
    }
    word = sched_walk_text(&walk);
    if (strcmp(word, "ans") == 0) {
        on_answer(work, &walk);
    } else if (strcmp(word, "denied") == 0) {
        end(work, ERR_DENIED, NULL, 0);
    } else if (strcmp(word, "old") == 0) {
        end(work, ERR_EXISTS, NULL, 0);
    } else if (strcmp(word, "ask") == 0 && work->has_result &&
               work->asks++ < ASKS_MAX) {
        err = sched_decide(&walk, &work->result, work->store->cut,
                           work->store->ctx, work->decisions);
        if (err)
            end(work, err == ERR_NOMEM ? ERR_BUSY : err, NULL, 0);
        else
            send_take(work);
    } else {
        end(work, ERR_FORMAT, NULL, 0);
    }
}

// How much faster rows are than tokens, by the volunteer's own measure.
static uint64_t rows_a_token(const struct syn1_call *call)
{
    if (!call->prefill_rows_s || !call->decode_tokens_s)
        return K_DEFAULT;
    uint64_t k = (uint64_t)call->prefill_rows_s * 1000 / call->decode_tokens_s;
    return k < K_MIN ? K_MIN : k > K_MAX ? K_MAX : k;
}

static void send_take(struct sched_work *work)
{
    struct sched_store *store = work->store;
    const struct syn1_call *call = &work->call.as.call;
    struct sched_args args = {0};
    uint8_t seed[SEED_LEN];
    enum err err;

    event_del(work->timer);
    if (sched_random(work->unit, sizeof work->unit) ||
        sched_random(seed, sizeof seed)) {
        end(work, ERR_BUSY, NULL, 0);
        return;
    }
    sched_who_put(&args, &work->who);
    sched_args_u64(&args, work->call.header.number);
    sched_args_text(&args, store->policy_text);
    sched_args_put(&args, work->unit, sizeof work->unit);
    sched_args_put(&args, seed, sizeof seed);
    sched_args_u64(&args, call->slots);
    sched_args_u64(&args, rows_a_token(call));
    // a call that nobody waits for only has its result committed
    sched_args_text(&args, store->draining || !work->fn ? "1" : "0");
    sched_args_put(&args, call->held, (size_t)call->n_held * SYN1_ID_LEN);
    sched_args_put(&args, call->models,
                   (size_t)call->n_models * (SYN1_ID_LEN + 4));
    sched_args_u64(&args, call->memory < NUMBER_MAX ? call->memory : 0);
    sched_result_put(&args, work->has_result ? &work->result : NULL,
                     work->decisions);
    work->wakes = store->wakes;
    work->woken = false;
    work->sent_ms = sched_clock_ms();
    err = sched_link_call(store->link, "work", &args, on_taken, work);
    if (!err)
        work->in_flight = true;
    else if (err == ERR_STORE)
        on_lost(work);
    else
        end(work, ERR_BUSY, NULL, 0);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct sched_work *work = arg;

    (void)fd, (void)what;
    if (work->superseded && work->sent_ms)
        end_empty(work,
                  (struct sched_empty){SYN1_NO_WORK, RETRY_MS, NULL, 0, 0});
    else if (!sched_link_up(work->store->link) && time_is_up(work))
        end(work, ERR_STORE, NULL, 0);
    else
        send_take(work); // also at the end: its last chance
}

// A newer call of the same volunteer ends the older ones.
static void supersede(struct sched_work *newer)
{
    struct sched_work *w = newer->store->works, *next;

    for (; w; w = next) {
        next = w->next;
        if (w == newer || !w->fn || w->superseded ||
            strcmp(w->id, newer->id) != 0 ||
            w->call.header.number > newer->call.header.number)
            continue;
        w->superseded = true;
        if (!w->in_flight)
            timer_in(w, 0);
    }
}

// Parse the frames in work->frame; views point into it.
static enum err parse(struct sched_work *work, size_t len)
{
    enum err err = syn1_parse(work->frame, len, &work->call);
    const struct syn1_call *call = &work->call.as.call;

    if (err)
        return err;
    if (work->call.header.kind != SYN1_CALL || !work->call.header.number ||
        work->call.header.number > NUMBER_MAX)
        return ERR_FORMAT;
    if (!call->result_len)
        return ERR_OK;
    err = syn1_parse(call->result, call->result_len, &work->result);
    if (err)
        return err;
    if (work->result.header.kind != SYN1_RESULT)
        return ERR_FORMAT;
    sched_prints_mix(&work->result, work->frame);
    work->has_result = true;
    work->decisions = calloc(1, sizeof *work->decisions);
    return work->decisions ? ERR_OK : ERR_NOMEM;
}

enum err sched_work_start(struct sched_store *store,
                          const struct sched_who *who, const uint8_t *frame,
                          size_t len, sched_work_fn *fn, void *ctx,
                          struct sched_work **out)
{
    struct sched_work *work;
    enum err err = ERR_NOMEM;

    if (!sched_who_valid(who))
        return ERR_RANGE;
    if (!sched_store_up(store))
        return ERR_STORE;
    work = calloc(1, sizeof *work);
    if (!work)
        return ERR_NOMEM;
    work->store = store;
    work->at = &store->works;
    work->next = store->works;
    if (work->next)
        work->next->at = &work->next;
    store->works = work;

    work->frame = malloc(len ? len : 1);
    work->timer = evtimer_new(store->base, on_timer, work);
    if (!work->frame || !work->timer)
        goto done;
    if (len)
        memcpy(work->frame, frame, len);
    err = parse(work, len);
    if (err)
        goto done;
    memcpy(work->id, who->id, strlen(who->id) + 1);
    work->who = *who;
    work->who.id = work->id;
    work->fn = fn;
    work->ctx = ctx;
    work->started_ms = sched_clock_ms();
    work->until_ms = work->started_ms + work->call.as.call.wait_ms;
    *out = work;
    supersede(work);
    timer_in(work, 0); // taken from the event loop, so fn never runs in here
    work = NULL;       // now the list's

done:
    if (work)
        work_free(work);
    return err;
}

void sched_work_cancel(struct sched_work *work)
{
    if (!work)
        return;
    work->fn = NULL;
    if (work->in_flight)
        return; // on_taken frees it
    if (!work->sent_ms && work->has_result && sched_store_up(work->store))
        send_take(work); // its result counts
    else
        work_free(work);
}

void sched_work_wake_all(struct sched_store *store)
{
    int64_t now = sched_clock_ms();
    struct sched_work *w, *next;

    for (w = store->works; w; w = next) {
        next = w->next;
        if (w->in_flight || !w->fn)
            continue; // one in flight sees the count when its reply comes
        int64_t wait = w->sent_ms + RETAKE_MIN_MS - now;
        timer_in(w, wait);
    }
}

void sched_work_wake(struct sched_store *store, const char *volunteer)
{
    for (struct sched_work *w = store->works; w; w = w->next) {
        if (!w->fn || strcmp(w->id, volunteer) != 0)
            continue;
        if (w->in_flight)
            w->woken = true;
        else
            timer_in(w, 0);
    }
}

void sched_work_end_all(struct sched_store *store)
{
    while (store->works)
        end(store->works, ERR_STORE, NULL, 0);
}
