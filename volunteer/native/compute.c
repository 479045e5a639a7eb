#include "native/compute.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEP_SLEEP_MIN_MS = 20 }; // pauses for intensity are at least this

enum unit_state { UNIT_QUEUED, UNIT_RUNNING, UNIT_DONE };

struct unit {
    enum unit_state state;
    uint8_t id[SYN1_ID_LEN];
    struct native_model *model;
    uint8_t *frame;
    size_t len;
    uint32_t n_seqs, n_rows; // of the unit
    uint8_t *result;         // NULL if err
    size_t result_len;
    enum err err;
};

struct native_compute {
    struct native_compute_config config;
    struct native_models *models;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t moved;
    struct unit *units[NATIVE_HELD_MAX]; // the oldest first
    unsigned n_units;
    bool stop;
    struct unit *orphan; // running, but forgotten by the main thread
    uint32_t prefill_rows_s, decode_tokens_s;
    uint64_t n_tokens, n_checked, n_done;
    uint32_t live_tokens; // of the unit under way

    // The computing thread's own.
    struct unit *running;
    int64_t burst_start_ms; // since the last pause for intensity
};

static void unit_free(struct unit *unit)
{
    if (!unit)
        return;
    free(unit->frame);
    free(unit->result);
    free(unit);
}

// Wait for ms unless the thread is to stop or the unit was forgotten.
static void pause_ms(struct native_compute *c, int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&c->lock);
    while (!c->stop && !c->orphan)
        if (pthread_cond_timedwait(&c->moved, &c->lock, &until))
            break;
    pthread_mutex_unlock(&c->lock);
}

bool native_compute_step(void *ctx, uint32_t n_done, uint32_t n_all)
{
    struct native_compute *c = ctx;
    int64_t busy_ms = native_now_ms() - c->burst_start_ms;
    int64_t idle_ms = busy_ms * (100 - c->config.intensity) /
                      (c->config.intensity ? c->config.intensity : 1);
    bool go_on;

    (void)n_all;
    if (!c->running) // the models measure themselves when they are opened
        return true;
    if (idle_ms >= STEP_SLEEP_MIN_MS) {
        pause_ms(c, idle_ms);
        c->burst_start_ms = native_now_ms();
    }
    pthread_mutex_lock(&c->lock);
    if (n_done > c->running->n_rows)
        c->live_tokens = n_done - c->running->n_rows;
    go_on = !c->stop && c->orphan != c->running;
    pthread_mutex_unlock(&c->lock);
    return go_on;
}

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint32_t mix(uint32_t old, double now)
{
    double v = old ? 0.7 * (double)old + 0.3 * now : now;

    return v < 1.0 ? 1 : v > 1e9 ? 1000000000 : (uint32_t)v;
}

// Learn from a unit that took seconds: rows are charged at the prefill speed,
// the rest of the time is decoding. On part of a model a unit is one step: with
// about a row a sequence it is decoding.
static void speeds_learn(struct native_compute *c, const struct unit *unit,
                         uint32_t n_new, double seconds)
{
    uint32_t n_rows = unit->n_rows;
    double decode_s;

    if (seconds <= 0.0)
        return;
    if (unit->model->span_end - unit->model->span_first <
            unit->model->n_shards &&
        n_rows < 2 * unit->n_seqs) {
        c->decode_tokens_s = mix(c->decode_tokens_s, n_rows / seconds);
        return;
    }
    if (!n_new) {
        c->prefill_rows_s = mix(c->prefill_rows_s, n_rows / seconds);
        return;
    }
    decode_s = seconds;
    if (c->prefill_rows_s)
        decode_s -= (double)n_rows / (double)c->prefill_rows_s;
    if (decode_s > seconds / 4)
        c->decode_tokens_s = mix(c->decode_tokens_s, n_new / decode_s);
}

// What a result holds: tokens generated, and predicted ones.
static void result_count(const struct unit *unit, uint32_t *n_new,
                         uint32_t *n_checked)
{
    struct syn1_frame asked, got;
    struct syn1_unit_seq in;
    struct syn1_result_seq out;

    *n_new = *n_checked = 0;
    if (!unit->result || syn1_parse(unit->frame, unit->len, &asked) ||
        syn1_parse(unit->result, unit->result_len, &got))
        return;
    while (syn1_unit_next(&asked.header, &asked.body, &in) &&
           syn1_result_next(&got.header, &got.body, &out)) {
        uint32_t predicted =
            in.n_predict < out.n_tokens ? in.n_predict : out.n_tokens;

        *n_checked += predicted;
        *n_new += out.n_tokens - predicted;
    }
}

static void unit_run(struct native_compute *c, struct unit *unit)
{
    const uint8_t *out;
    size_t out_len;

    unit->err =
        c->config.run
            ? c->config.run(c->config.run_ctx, unit->model->engine, unit->frame,
                            unit->len, native_compute_step, c, &out, &out_len)
            : engine_run(unit->model->engine, unit->frame, unit->len, &out,
                         &out_len);
    if (unit->err)
        return;
    unit->result = malloc(out_len);
    if (!unit->result) {
        unit->err = ERR_NOMEM;
        return;
    }
    memcpy(unit->result, out, out_len);
    unit->result_len = out_len;
}

// Book a unit that ended. With the lock held.
static void unit_finish(struct native_compute *c, struct unit *unit,
                        double seconds)
{
    uint32_t n_new, n_checked;

    c->live_tokens = 0;
    if (c->orphan == unit) {
        c->orphan = NULL;
        unit_free(unit);
        return;
    }
    unit->state = UNIT_DONE;
    result_count(unit, &n_new, &n_checked);
    if (unit->result)
        speeds_learn(c, unit, n_new, seconds);
    c->n_tokens += n_new;
    c->n_checked += n_checked;
    c->n_done++;
}

// The oldest queued unit. With the lock held.
static struct unit *unit_next(const struct native_compute *c)
{
    for (unsigned i = 0; i < c->n_units; i++)
        if (c->units[i]->state == UNIT_QUEUED)
            return c->units[i];
    return NULL;
}

static void *compute_main(void *arg)
{
    struct native_compute *c = arg;

    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct unit *unit = unit_next(c);

        if (!unit) {
            pthread_cond_wait(&c->moved, &c->lock);
            continue;
        }
        unit->state = UNIT_RUNNING;
        c->running = unit;
        pthread_mutex_unlock(&c->lock);

        if (c->config.delay_ms)
            pause_ms(c, c->config.delay_ms);
        double start_s = now_s();

        c->burst_start_ms = native_now_ms();

        unit_run(c, unit);

        pthread_mutex_lock(&c->lock);
        c->running = NULL;
        unit_finish(c, unit, now_s() - start_s);
        native_net_wake(c->config.net);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

enum err native_compute_new(const struct native_compute_config *config,
                            struct native_compute **out)
{
    struct native_compute *c = calloc(1, sizeof *c);
    pthread_condattr_t attr;

    if (!c)
        return ERR_NOMEM;
    c->config = *config;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->moved, &attr);
    pthread_condattr_destroy(&attr);
    *out = c;
    return ERR_OK;
}

enum err native_compute_start(struct native_compute *c,
                              struct native_models *models)
{
    c->models = models;
    if (pthread_create(&c->thread, NULL, compute_main, c))
        return ERR_NOMEM;
    c->started = true;
    return ERR_OK;
}

void native_compute_free(struct native_compute *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->lock);
    if (c->started)
        pthread_join(c->thread, NULL);
    for (unsigned i = 0; i < c->n_units; i++)
        unit_free(c->units[i]);
    unit_free(c->orphan);
    pthread_cond_destroy(&c->moved);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

// A unit of the frame, checked and copied.
static enum err unit_new(struct native_compute *c, const uint8_t *frame,
                         size_t len, struct unit **out)
{
    struct syn1_frame parsed;
    struct syn1_unit_seq seq;
    struct native_model *model;
    struct unit *unit;

    if (syn1_parse(frame, len, &parsed) || parsed.header.kind != SYN1_UNIT)
        return ERR_FORMAT;
    model =
        native_models_find(c->models, parsed.header.model,
                           parsed.header.span_first, parsed.header.span_end);
    if (!model)
        return ERR_NOT_FOUND;
    unit = calloc(1, sizeof *unit);
    if (!unit)
        return ERR_NOMEM;
    unit->frame = malloc(len);
    if (!unit->frame) {
        free(unit);
        return ERR_NOMEM;
    }
    memcpy(unit->frame, frame, len);
    memcpy(unit->id, parsed.header.unit, sizeof unit->id);
    unit->len = len;
    unit->model = model;
    unit->n_seqs = parsed.header.n_seqs;
    while (syn1_unit_next(&parsed.header, &parsed.body, &seq))
        unit->n_rows += seq.n_rows;
    *out = unit;
    return ERR_OK;
}

enum err native_compute_give(struct native_compute *c, const uint8_t *frame,
                             size_t len)
{
    struct unit *unit = NULL;
    enum err err = unit_new(c, frame, len, &unit);

    if (err)
        return err;
    pthread_mutex_lock(&c->lock);
    if (c->n_units == NATIVE_HELD_MAX)
        err = ERR_FULL;
    for (unsigned i = 0; i < c->n_units; i++)
        if (memcmp(c->units[i]->id, unit->id, sizeof unit->id) == 0)
            err = ERR_EXISTS;
    if (!err) {
        if (!c->decode_tokens_s)
            c->decode_tokens_s = unit->model->decode_tokens_s;
        if (!c->prefill_rows_s)
            c->prefill_rows_s = unit->model->prefill_rows_s;
        c->units[c->n_units++] = unit;
        unit = NULL;
        pthread_cond_broadcast(&c->moved);
    }
    pthread_mutex_unlock(&c->lock);
    unit_free(unit);
    return err;
}

enum err native_compute_take(struct native_compute *c, uint8_t **out,
                             size_t *out_len, enum err *unit_err)
{
    struct unit *unit = NULL;

    pthread_mutex_lock(&c->lock);
    if (c->n_units && c->units[0]->state == UNIT_DONE) {
        unit = c->units[0];
        c->n_units--;
        for (unsigned i = 0; i < c->n_units; i++)
            c->units[i] = c->units[i + 1];
    }
    pthread_mutex_unlock(&c->lock);
    if (!unit)
        return ERR_NOT_FOUND;
    *out = unit->result;
    *out_len = unit->result_len;
    *unit_err = unit->err;
    unit->result = NULL;
    unit_free(unit);
    return ERR_OK;
}

bool native_compute_idle(struct native_compute *c)
{
    bool idle;

    pthread_mutex_lock(&c->lock);
    idle = c->n_units == 0 && !c->orphan;
    pthread_mutex_unlock(&c->lock);
    return idle;
}

void native_compute_forget(struct native_compute *c)
{
    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < c->n_units; i++) {
        if (c->units[i]->state == UNIT_RUNNING)
            c->orphan = c->units[i];
        else
            unit_free(c->units[i]);
    }
    c->n_units = 0;
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->lock);
}

void native_compute_status(struct native_compute *c,
                           struct native_compute_status *out)
{
    *out = (struct native_compute_status){0};
    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < c->n_units; i++) {
        const struct unit *unit = c->units[i];

        memcpy(out->held + (size_t)i * SYN1_ID_LEN, unit->id, SYN1_ID_LEN);
        if (unit->state == UNIT_DONE)
            out->n_done++;
        out->n_seqs += unit->n_seqs;
    }
    out->n_held = (uint16_t)c->n_units;
    out->prefill_rows_s = c->prefill_rows_s;
    out->decode_tokens_s = c->decode_tokens_s;
    out->n_tokens = c->n_tokens + c->live_tokens;
    out->n_checked = c->n_checked;
    out->n_units = c->n_done;
    pthread_mutex_unlock(&c->lock);
}
