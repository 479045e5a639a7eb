#include "native/volunteer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "native/bring.h"
#include "native/compute.h"
#include "native/models.h"

enum {
    JOIN_BACKOFF_MAX_MS = 15000,
    FAULT_BACKOFF_MAX_MS = 30000,
    RETRY_MIN_MS = 20, // between two calls that brought nothing
    RETRY_MAX_MS = 60000,
    PREFETCH_MS = 2000, // between calls for more while computing
    FETCHING_MS = 250,  // between calls while a span is on its way
    SOON_MS = 500,      // the first call for more is made this soon at least
    SLOTS_UNKNOWN = 16, // before the first model is there
};

// The span that an answer asked for, on its way.
struct bringing {
    enum { BRING_NONE, BRING_FETCHING, BRING_HERE } state;
    uint8_t model[SYN1_ID_LEN];
    uint16_t span_first, span_end;
    struct native_bring *bring;   // while fetching
    char folder[NATIVE_PATH_MAX]; // once it is here
};

struct run {
    const struct native_volunteer *config;
    struct native_profile profile;
    char backend[32];
    struct native_net *net;
    struct native_session session;
    struct native_compute *compute;
    struct native_models *models;

    int64_t next_call_ms; // not before this without a result
    int64_t next_progress_ms;
    uint64_t told_tokens; // as of the last progress
    unsigned join_tries;
    unsigned faults; // failures in a row that a unit or model caused
    enum syn1_reason told_reason; // why it is idle, as last told
    struct bringing bringing;
};

static void tell(struct run *run, enum native_event_kind kind, const char *text,
                 uint64_t a, uint64_t b)
{
    struct native_event event = {kind, text, a, b};

    if (run->config->on_event)
        run->config->on_event(&event, run->config->ctx);
}

static void on_trouble(const char *why, void *ctx)
{
    tell(ctx, NATIVE_TROUBLE, why, 0, 0);
}

static const char *reason_text(enum syn1_reason reason)
{
    switch (reason) {
    case SYN1_NO_WORK:
        return "nothing is queued";
    case SYN1_NOT_CACHED:
        return "a model has to be fetched first";
    case SYN1_QUOTA:
        return "enough volunteers of this address are at work";
    case SYN1_TRUST:
        return "what is left may only go to proven volunteers";
    case SYN1_STORE_DOWN:
        return "the server's store is down";
    case SYN1_DRAINING:
        return "the server is going down";
    case SYN1_NO_SLOTS:
        return "no room for another sequence";
    case SYN1_BANNED:
        return "this account is banned";
    case SYN1_WORK:
    case SYN1_REASON_END:
        break;
    }
    return "unknown reason";
}

static enum err join(struct run *run, char *why, size_t why_len)
{
    enum err err;

    run->profile.memory = native_models_bound(run->models);
    err = native_session_join(&run->session, why, why_len);
    native_compute_forget(run->compute);
    if (!err) {
        run->join_tries = 0;
        run->next_call_ms = 0;
        tell(run, NATIVE_JOINED, run->session.id, 0, 0);
        return ERR_OK;
    }
    if (err == ERR_DENIED || err == ERR_NOMEM)
        return err;
    if (err == ERR_BUSY) {
        tell(run, NATIVE_PAYING, why, run->session.toll.bits, 0);
        while (!native_session_pay(&run->session))
            ;
        return ERR_OK;
    }
    if (err == ERR_GONE) // stopped: the loop sees it
        return ERR_OK;
    tell(run, NATIVE_TROUBLE, why, 0, 0);
    native_net_sleep(run->net,
                     native_backoff_ms(run->join_tries++, JOIN_BACKOFF_MAX_MS));
    return ERR_OK;
}

// Something of the server's or ours does not fit: do not hurry to repeat it.
static void fault(struct run *run, const char *what, enum err err)
{
    char text[NATIVE_WHY_MAX];

    snprintf(text, sizeof text, "%s: %s", what, err_text(err));
    tell(run, NATIVE_TROUBLE, text, 0, 0);
    run->next_call_ms = native_now_ms() +
                        native_backoff_ms(run->faults++, FAULT_BACKOFF_MAX_MS);
}

static void span_opened(struct run *run)
{
    const struct native_model *model =
        native_models_at(run->models, native_models_count(run->models) - 1);
    char text[NATIVE_MODEL_NAME_MAX + 64];

    if (model->span_end - model->span_first == model->n_shards)
        snprintf(text, sizeof text, "%s", model->name);
    else
        snprintf(text, sizeof text, "%s, shards %u to %u of %u,", model->name,
                 model->span_first + 1U, (unsigned)model->span_end,
                 (unsigned)model->n_shards);
    tell(run, NATIVE_MODEL_READY, text, model->prefill_rows_s,
         model->decode_tokens_s);
}

// Begin to bring the span that an answer names; one at a time.
static void bring_start(struct run *run, const struct syn1_header *header)
{
    struct bringing *b = &run->bringing;
    const char *folder;
    enum err err;

    if (b->state != BRING_NONE || header->span_end == 0)
        return;
    memcpy(b->model, header->model, SYN1_ID_LEN);
    b->span_first = header->span_first;
    b->span_end = header->span_end;
    folder = native_models_folder_of(run->models, b->model);
    if (folder) {
        snprintf(b->folder, sizeof b->folder, "%s", folder);
        b->state = BRING_HERE;
        return;
    }
    struct native_bring_config config = {.net = run->net,
                                         .cacert = run->config->cacert,
                                         .url = run->session.url,
                                         .cache = run->config->cache,
                                         .span_first = b->span_first,
                                         .span_end = b->span_end};

    memcpy(config.model, b->model, SYN1_ID_LEN);
    err = native_bring_new(&config, &b->bring);
    if (err)
        fault(run, "a model cannot be fetched", err);
    else
        b->state = BRING_FETCHING;
}

// See how far the fetching is.
static void bring_look(struct run *run)
{
    struct bringing *b = &run->bringing;
    struct native_bring_news news;

    if (b->state != BRING_FETCHING || !native_bring_look(b->bring, &news))
        return;
    if (news.name[0])
        tell(run, NATIVE_FETCHING, news.name, news.have, news.total);
    if (!news.done)
        return;
    native_bring_free(b->bring);
    b->bring = NULL;
    b->state = news.err ? BRING_NONE : BRING_HERE;
    memcpy(b->folder, news.folder, sizeof b->folder);
    if (news.err)
        fault(run, news.why, news.err);
}

// Open the span that is here. Nothing is in hand.
static void bring_open(struct run *run)
{
    struct bringing *b = &run->bringing;
    char why[NATIVE_WHY_MAX] = "";
    enum err err = native_models_open(run->models, b->folder, b->span_first,
                                      b->span_end, why, sizeof why);

    b->state = BRING_NONE;
    if (err == ERR_FULL) { // the server plans with what was told: tell it anew
        tell(run, NATIVE_TROUBLE, why, 0, 0);
        native_session_leave(&run->session);
        return;
    }
    if (err && err != ERR_EXISTS) {
        fault(run, why, err);
        return;
    }
    run->faults = 0;
    run->next_call_ms = 0;
    if (!err)
        span_opened(run);
}

// Fill in a call from what is in hand. models has room for all.
static void call_fill(struct run *run,
                      const struct native_compute_status *status,
                      uint8_t models[NATIVE_MODELS_MAX * (SYN1_ID_LEN + 4)],
                      struct syn1_call *call)
{
    struct bytes_out out = {
        .ptr = models, .cap = (size_t)NATIVE_MODELS_MAX * (SYN1_ID_LEN + 4)};
    size_t n = native_models_count(run->models);
    uint32_t slots = n ? 0 : SLOTS_UNKNOWN;

    for (size_t i = 0; i < n; i++) {
        const struct native_model *model = native_models_at(run->models, i);

        bytes_put(&out, model->id, SYN1_ID_LEN);
        bytes_put_u16(&out, model->span_first);
        bytes_put_u16(&out, model->span_end);
        slots = model->n_slots > slots ? model->n_slots : slots;
    }
    *call = (struct syn1_call){
        .n_held = status->n_held,
        .n_models = (uint16_t)n,
        .slots = slots > status->n_seqs ? slots - status->n_seqs : 0,
        .memory = native_models_memory(run->models),
        .prefill_rows_s = status->prefill_rows_s,
        .decode_tokens_s = status->decode_tokens_s,
        // While something is in hand its result must not wait for the call.
        .wait_ms = status->n_held ? 0 : run->session.wait_ms,
        .held = status->held,
        .models = models,
    };
}

// When to ask for the next unit while one is computed: not so soon that the
// call is still under way when a short unit's result should be told.
static void more_soon(struct run *run)
{
    int64_t wait_ms = 2 * run->session.rtt_ms;

    run->next_call_ms =
        native_now_ms() + (wait_ms < SOON_MS ? wait_ms : SOON_MS);
}

static void answer_take(struct run *run, const struct native_answer *answer,
                        bool computing)
{
    const struct syn1_answer *frame = &answer->frame;
    int64_t retry_ms = frame->retry_ms;
    enum err err;

    if (frame->reason == SYN1_WORK) {
        err = native_compute_give(run->compute, frame->unit, frame->unit_len);
        if (err && err != ERR_EXISTS)
            fault(run, "a unit cannot be taken", err);
        else
            more_soon(run);
        run->told_reason = SYN1_WORK;
        return;
    }
    if (frame->reason == SYN1_NOT_CACHED)
        bring_start(run, &answer->header);
    if (retry_ms < RETRY_MIN_MS)
        retry_ms = RETRY_MIN_MS;
    if (run->bringing.state == BRING_FETCHING && retry_ms < FETCHING_MS)
        retry_ms = FETCHING_MS;
    if (computing && retry_ms < PREFETCH_MS)
        retry_ms = PREFETCH_MS;
    run->next_call_ms =
        native_now_ms() + (retry_ms > RETRY_MAX_MS ? RETRY_MAX_MS : retry_ms);
    if (!computing && frame->reason != run->told_reason) {
        tell(run, NATIVE_IDLE, reason_text(frame->reason), 0, 0);
        run->told_reason = frame->reason;
    }
}

// One work call, with the oldest unit's result if it is done.
static enum err call(struct run *run)
{
    uint8_t models[NATIVE_MODELS_MAX * (SYN1_ID_LEN + 4)];
    struct native_compute_status status;
    struct native_answer answer;
    struct syn1_call frame;
    uint8_t *result = NULL;
    size_t result_len = 0;
    enum err err, unit_err = ERR_OK;

    err = native_compute_take(run->compute, &result, &result_len, &unit_err);
    if (!err && unit_err) // it is not listed as held: others may try it
        fault(run, "a unit cannot be computed", unit_err);
    native_compute_status(run->compute, &status);
    if (!err && !unit_err)
        tell(run, NATIVE_UNIT_DONE, "", status.n_tokens, status.n_checked);
    call_fill(run, &status, models, &frame);
    frame.result = result;
    frame.result_len = (uint32_t)result_len;
    err = native_session_call(&run->session, &frame, on_trouble, run, &answer);
    free(result);
    if (!status.n_held) // what it brings has a fresh lease
        run->next_progress_ms = native_now_ms() + run->session.progress_ms;
    if (err == ERR_DENIED) { // the server forgot us
        run->session.id[0] = '\0';
        return ERR_OK;
    }
    if (err == ERR_FORMAT) { // start afresh, and let others have the work
        native_session_leave(&run->session);
        native_net_sleep(
            run->net, native_backoff_ms(run->faults++, FAULT_BACKOFF_MAX_MS));
        return ERR_OK;
    }
    if (err)
        return err == ERR_GONE ? ERR_OK : err;
    if (result_len && !unit_err && answer.frame.outcome == SYN1_ACCEPTED)
        run->faults = 0;
    answer_take(run, &answer, status.n_held > 0);
    native_answer_release(&answer);
    return ERR_OK;
}

static void progress(struct run *run,
                     const struct native_compute_status *status)
{
    uint64_t tokens = status->n_tokens > run->told_tokens
                          ? status->n_tokens - run->told_tokens
                          : 0;

    native_session_progress(&run->session, status->held, status->n_held,
                            tokens);
    run->told_tokens = status->n_tokens;
    run->next_progress_ms = native_now_ms() + run->session.progress_ms;
}

// Do what is due, or wait for it.
static enum err turn(struct run *run, char *why, size_t why_len)
{
    struct native_compute_status status;
    int64_t now = native_now_ms(), until;
    bool here;

    if (!run->session.id[0])
        return join(run, why, why_len);
    native_compute_status(run->compute, &status);
    if (status.n_done)
        return call(run);
    bring_look(run);
    here = run->bringing.state == BRING_HERE;
    if (here && native_compute_idle(run->compute)) {
        bring_open(run);
        return ERR_OK;
    }
    if (status.n_held < NATIVE_HELD_MAX && !here && now >= run->next_call_ms)
        return call(run);
    if (!status.n_held)
        run->next_progress_ms = now + run->session.progress_ms;
    else if (now >= run->next_progress_ms) {
        progress(run, &status);
        return ERR_OK;
    }
    until = run->next_progress_ms;
    if (status.n_held < NATIVE_HELD_MAX && !here && run->next_call_ms < until)
        until = run->next_call_ms;
    native_net_wait(run->net, until > now ? until - now : 1);
    return ERR_OK;
}

// Open the whole models on disk, as far as they fit: spans of the others can
// be asked for.
static enum err models_open(struct run *run, char *why, size_t why_len)
{
    enum err err =
        native_models_add(run->models, run->config->models, why, why_len);
    const char *folder;

    for (size_t i = 0;
         !err && (folder = native_models_folder(run->models, i)) != NULL; i++) {
        err = native_models_open(run->models, folder, 0, 0, why, why_len);
        if (!err)
            span_opened(run);
        if (err == ERR_FULL)
            tell(run, NATIVE_TROUBLE, why, 0, 0);
        if (err == ERR_FULL || err == ERR_EXISTS)
            err = ERR_OK;
    }
    return err;
}

static enum err models_start(struct run *run, char *why, size_t why_len)
{
    const struct native_volunteer *config = run->config;
    enum err err = native_models_new(
        &(struct native_models_config){.isa = config->isa,
                                       .f32 = config->profile.f32,
                                       .n_threads = config->profile.n_threads,
                                       .memory = config->profile.memory,
                                       .n_seqs = config->n_seqs,
                                       // A referee needs little memory.
                                       .load = !config->profile.operator_key,
                                       .step = native_compute_step,
                                       .step_ctx = run->compute},
        &run->models);

    if (err) {
        snprintf(why, why_len, "this machine has no such kernels: %s",
                 err_text(err));
        return err;
    }
    snprintf(run->backend, sizeof run->backend, "native-%s",
             native_models_isa(run->models));
    if (!run->profile.backend)
        run->profile.backend = run->backend;
    return config->models ? models_open(run, why, why_len) : ERR_OK;
}

enum err native_volunteer_run(const struct native_volunteer *config, char *why,
                              size_t why_len)
{
    struct run run = {.config = config, .profile = config->profile};
    struct native_compute_status status;
    enum err err;

    snprintf(why, why_len, "%s", "");
    err =
        native_net_new(&(struct native_net_config){.cacert = config->cacert,
                                                   .source = config->source,
                                                   .stop_fd = config->stop_fd},
                       &run.net);
    if (!err)
        err = native_session_init(&run.session, config->url, run.net,
                                  &run.profile);
    if (!err)
        err = native_compute_new(
            &(struct native_compute_config){.net = run.net,
                                            .intensity = config->intensity,
                                            .delay_ms = config->delay_ms,
                                            .run = config->run,
                                            .run_ctx = config->run_ctx},
            &run.compute);
    if (!err)
        err = models_start(&run, why, why_len);
    if (!err)
        err = native_compute_start(run.compute, run.models);
    while (!err && !native_net_stopped(run.net))
        err = turn(&run, why, why_len);
    if (!err) {
        native_compute_status(run.compute, &status);
        native_session_leave(&run.session);
        tell(&run, NATIVE_LEFT, "", status.n_units, 0);
    }
    if (err && !why[0])
        snprintf(why, why_len, "%s", err_text(err));
    native_bring_free(run.bringing.bring);
    native_compute_free(run.compute);
    native_models_free(run.models);
    native_net_free(run.net);
    return err;
}
