#include "api/ingest.h"

#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/batch_line.h"
#include "api/clock.h"
#include "api/input_check.h"
#include "api/log.h"
#include "api/server.h"
#include "scheduler/job.h"

enum {
    READERS = 4, // batches that are read in at once
    TTL_MS = 5000,
    LINES_MAX = 64,       // in one step
    STEP_MS = 3,          // tokenise so long, then let the loop go on
    SLICE_MS = 1000,      // then it is the turn of another batch
    HOLD_MS = 30000,      // to look again, if nobody wakes us
    TOKENS_MAX = 1 << 18, // in one step
    BLOCK = 64 << 10,
    RETRY_MS = 300,
    RENEW_MS = TTL_MS / 4, // while a file is looked through
};

// Reads one batch at a time.
struct reader {
    struct api_ingest *ingest;
    struct api_server *server;
    struct event *turn; // the next step
    bool busy;          // a job is being taken or worked on
    bool holding;       // job is ours
    int64_t since_ms;   // we read it since then
    struct sched_job job;
    struct api_line_rules rules;
    bool no_model; // it is not served here any more
    bool checking; // the file is looked through, before anything is queued
    struct api_input_check check;
    int64_t renewed_ms;
    int fd;           // of the input file, or -1
    char *text;       // the file from text_at on
    uint64_t text_at; // which is the cursor, unless checking
    size_t text_len, text_cap;
    bool at_end; // text reaches to the end of the file
    struct api_batch_line lines[LINES_MAX];
    size_t n_lines; // read and not yet acknowledged
    uint64_t cursor_to;
};

struct api_ingest {
    struct api_server *server;
    struct reader readers[READERS];
    bool taking; // a job is being taken
    bool again;  // look again after it
};

static void lines_drop(struct reader *in)
{
    for (size_t i = 0; i < in->n_lines; i++)
        api_batch_line_release(&in->lines[i]);
    in->n_lines = 0;
}

// This job is done with, or is someone else's.
static void job_end(struct reader *in)
{
    lines_drop(in);
    api_input_check_release(&in->check);
    in->checking = false;
    if (in->fd >= 0)
        close(in->fd);
    in->fd = -1;
    free(in->text);
    in->text = NULL;
    in->text_len = in->text_cap = 0;
    in->at_end = false;
    in->holding = false;
    in->busy = false;
    if (!in->ingest->taking)
        api_ingest_look(in->ingest);
    else
        in->ingest->again = true;
}

static void turn_soon(struct reader *in, int ms)
{
    struct timeval tv = {0, ms * 1000L};

    event_add(in->turn, &tv);
}

// The store did not answer: the same step again, it is safe to repeat.
static void step_again(struct reader *in, enum err err)
{
    if (err == ERR_GONE) {
        job_end(in);
        return;
    }
    if (err != ERR_STORE && err != ERR_BUSY)
        api_log(API_LOG_ERROR, "ingest", "batch=%s error=\"%s\"", in->job.batch,
                err_text(err));
    turn_soon(in, RETRY_MS);
}

static void on_ended(enum err err, void *ctx)
{
    struct reader *in = ctx;

    if (err && err != ERR_GONE) {
        step_again(in, err);
        return;
    }
    if (!err)
        api_log(API_LOG_INFO, "ingested", "batch=%s lines=%" PRIu64,
                in->job.batch, in->job.line);
    job_end(in);
}

static void batch_fail(struct reader *in, const char *code, const char *text,
                       uint64_t line)
{
    enum err err = sched_batch_fail(in->server->store, &in->job, code, text,
                                    line, on_ended, in);

    if (err)
        step_again(in, err);
}

// The first so many bytes of the text are done with.
static void text_drop(struct reader *in, size_t len)
{
    if (len == 0)
        return;
    memmove(in->text, in->text + len, in->text_len - len);
    in->text_len -= len;
    in->text_at += len;
}

static void on_back(enum err err, void *ctx)
{
    (void)err; // if it was lost, the lease passes
    job_end(ctx);
}

// Someone else may go on with it, so much later.
static void give_back(struct reader *in, int64_t delay_ms)
{
    if (sched_job_give_back(in->server->store, &in->job, delay_ms, on_back, in))
        job_end(in);
}

static void on_added(enum err err, void *ctx)
{
    struct reader *in = ctx;

    if (err == ERR_FULL) { // enough of it is queued for now
        give_back(in, HOLD_MS);
        return;
    }
    if (err) {
        step_again(in, err);
        return;
    }
    in->job.line += in->n_lines;
    text_drop(in, (size_t)(in->cursor_to - in->job.cursor));
    in->job.cursor = in->cursor_to;
    lines_drop(in);
    if (api_clock_ms() - in->since_ms > SLICE_MS)
        give_back(in, 0);
    else
        turn_soon(in, 0);
}

static void lines_add(struct reader *in)
{
    struct sched_line lines[LINES_MAX];
    enum err err;

    for (size_t i = 0; i < in->n_lines; i++)
        lines[i] = in->lines[i].line;
    err = sched_batch_add(in->server->store, &in->job, lines, in->n_lines,
                          in->cursor_to, TTL_MS, on_added, in);
    if (err)
        step_again(in, err);
}

// Read on in the file until there is a line break. False on an i/o error.
static bool text_fill(struct reader *in)
{
    if (in->text_cap - in->text_len < BLOCK) {
        size_t cap = in->text_len + 2 * (size_t)BLOCK;
        char *p = realloc(in->text, cap);

        if (!p)
            return false;
        in->text = p;
        in->text_cap = cap;
    }
    for (;;) {
        ssize_t n = pread(in->fd, in->text + in->text_len, BLOCK,
                          (off_t)(in->text_at + in->text_len));

        if (n < 0)
            return false;
        in->text_len += (size_t)n;
        in->at_end = n == 0;
        return true;
    }
}

// Read the line of len bytes at text into the next place.
static enum err line_read(struct reader *in, const char *text, size_t len)
{
    struct api_batch_line *line = &in->lines[in->n_lines];
    uint64_t number = in->job.line + in->n_lines;
    enum err err;

    if (len > API_LINE_LEN_MAX)
        err = api_batch_line_too_long(number, line);
    else
        err = api_batch_line_read(&in->rules, number, text, len, line);
    in->n_lines++;
    return err;
}

// What a line brings into the store.
static size_t line_tokens(const struct sched_line *line)
{
    return (size_t)line->n_prompt * (line->n_choices ? line->n_choices : 1);
}

// Read as many lines as a turn may take.
static enum err lines_read(struct reader *in)
{
    int64_t end = api_clock_ms() + STEP_MS;
    size_t at = 0, tokens = 0;
    enum err err = ERR_OK;

    while (!err && in->n_lines < LINES_MAX && tokens < TOKENS_MAX &&
           (in->n_lines == 0 || api_clock_ms() < end)) {
        char *stop = at < in->text_len
                         ? memchr(in->text + at, '\n', in->text_len - at)
                         : NULL;
        size_t len;

        if (!stop && !in->at_end && at == 0) {
            if (!text_fill(in))
                return ERR_IO;
            continue;
        }
        if (!stop && (!in->at_end || at == in->text_len))
            break;
        len = stop ? (size_t)(stop - in->text) - at : in->text_len - at;
        if (!in->rules.wrapped || !api_input_is_blank(in->text + at, len)) {
            err = line_read(in, in->text + at, len);
            tokens += line_tokens(&in->lines[in->n_lines - 1].line);
        }
        at += len + (stop ? 1 : 0);
    }
    in->cursor_to = in->job.cursor + at;
    return err;
}

static void on_renewed(enum err err, void *ctx)
{
    struct reader *in = ctx;

    if (err) {
        step_again(in, err);
        return;
    }
    in->renewed_ms = api_clock_ms();
    turn_soon(in, 0);
}

// The file is in order: read it from its beginning.
static void check_end(struct reader *in)
{
    api_input_check_release(&in->check);
    in->checking = false;
    in->text_len = 0;
    in->text_at = in->job.cursor;
    in->at_end = false;
    turn_soon(in, 0);
}

// Look through as much of the file as a turn may take.
static void check_turn(struct reader *in)
{
    struct api_input_check *check = &in->check;
    int64_t end = api_clock_ms() + STEP_MS;
    size_t at = 0;
    bool ok = true;

    while (ok && api_clock_ms() < end) {
        char *stop = at < in->text_len
                         ? memchr(in->text + at, '\n', in->text_len - at)
                         : NULL;
        size_t len;

        if (!stop && !in->at_end) {
            text_drop(in, at);
            at = 0;
            if (!text_fill(in)) {
                batch_fail(in, "input_unreadable",
                           "the input file cannot be read", 0);
                return;
            }
            continue;
        }
        if (!stop && at == in->text_len)
            break;
        len = stop ? (size_t)(stop - in->text) - at : in->text_len - at;
        ok = api_input_check_line(check, in->text + at, len);
        at += len + (stop ? 1 : 0);
    }
    text_drop(in, at);
    if (ok && in->at_end && in->text_len == 0) {
        ok = api_input_check_end(check);
        if (ok) {
            check_end(in);
            return;
        }
    }
    if (!ok)
        batch_fail(in, check->code, check->why, check->n_lines);
    else if (api_clock_ms() - in->renewed_ms < RENEW_MS)
        turn_soon(in, 0);
    else if (sched_batch_add(in->server->store, &in->job, NULL, 0,
                             in->job.cursor, TTL_MS, on_renewed, in))
        turn_soon(in, RETRY_MS);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct reader *in = arg;
    enum err err = ERR_OK;

    (void)fd, (void)what;
    if (in->fd < 0) {
        batch_fail(in, "input_missing", "the input file cannot be read", 0);
        return;
    }
    if (in->no_model) {
        batch_fail(in, "model_not_found",
                   "the batch's model is not served here any more", 0);
        return;
    }
    if (in->check.code) { // the store was not there to be told
        batch_fail(in, in->check.code, in->check.why, in->check.n_lines);
        return;
    }
    if (in->checking) {
        check_turn(in);
        return;
    }
    if (in->n_lines == 0)
        err = lines_read(in);
    if (err == ERR_IO) {
        lines_drop(in);
        batch_fail(in, "input_unreadable", "the input file cannot be read", 0);
        return;
    }
    if (err) { // no memory: later
        lines_drop(in);
        step_again(in, err);
        return;
    }
    if (in->n_lines > 0 || in->cursor_to > in->job.cursor) {
        lines_add(in);
        return;
    }
    err = sched_batch_lines_done(in->server->store, &in->job, on_ended, in);
    if (err)
        step_again(in, err);
}

// Was its input uploaded? Inline requests are in a file of the batch's own.
static bool is_upload(const struct sched_batch *batch)
{
    size_t len = strlen(batch->id);

    return strncmp(batch->input_file, batch->id, len) != 0 ||
           batch->input_file[len] != '.';
}

// We hold a job: open its file.
static void on_batch(enum err err, const struct sched_batch *batch, void *ctx)
{
    struct reader *in = ctx;

    if (err) { // the lease passes, and it is taken again
        job_end(in);
        return;
    }
    in->rules.models = &in->server->models;
    in->rules.model = api_models_find(&in->server->models, batch->model);
    in->no_model = *batch->model && !in->rules.model;
    in->rules.chat = strcmp(batch->endpoint, API_ENDPOINT_CHAT) == 0;
    in->rules.wrapped = is_upload(batch);
    in->text_at = in->job.cursor;
    in->checking = in->rules.wrapped && in->job.cursor == 0;
    in->renewed_ms = api_clock_ms();
    if (in->checking && api_input_check_init(&in->check, batch->endpoint)) {
        job_end(in);
        return;
    }
    in->fd =
        openat(in->server->files_fd, batch->input_file, O_RDONLY | O_CLOEXEC);
    turn_soon(in, 0);
}

static void on_job(enum err err, const struct sched_job *job, void *ctx)
{
    struct reader *in = ctx;
    struct api_ingest *ingest = in->ingest;
    bool again = ingest->again;

    ingest->taking = false;
    ingest->again = false;
    in->busy = false;
    if (!err) {
        in->job = *job;
        in->busy = true;
        in->holding = true;
        in->since_ms = api_clock_ms();
        if (sched_batch_get(in->server->store, job->batch, NULL, on_batch, in))
            job_end(in);
    }
    if ((!err || again) && !ingest->taking) // there may be more
        api_ingest_look(ingest);
}

void api_ingest_look(struct api_ingest *ingest)
{
    struct reader *in = NULL;

    ingest->again = ingest->taking;
    for (size_t i = 0; i < READERS && !in; i++)
        if (!ingest->readers[i].busy)
            in = &ingest->readers[i];
    if (ingest->taking || !in || ingest->server->draining ||
        !ingest->server->store)
        return;
    in->busy = true;
    ingest->taking = true;
    if (sched_job_take(ingest->server->store, SCHED_JOB_INGEST, TTL_MS, on_job,
                       in)) {
        in->busy = false;
        ingest->taking = false;
    }
}

enum err api_ingest_new(struct api_server *server, struct api_ingest **out)
{
    struct api_ingest *ingest = calloc(1, sizeof *ingest);

    if (!ingest)
        return ERR_NOMEM;
    ingest->server = server;
    for (size_t i = 0; i < READERS; i++) {
        struct reader *in = &ingest->readers[i];

        in->ingest = ingest;
        in->server = server;
        in->fd = -1;
        in->turn = event_new(server->base, -1, 0, on_turn, in);
        if (!in->turn) {
            api_ingest_free(ingest);
            return ERR_NOMEM;
        }
    }
    *out = ingest;
    return ERR_OK;
}

void api_ingest_free(struct api_ingest *ingest)
{
    if (!ingest)
        return;
    ingest->taking = true; // no more looks
    for (size_t i = 0; i < READERS; i++) {
        struct reader *in = &ingest->readers[i];

        job_end(in);
        if (in->turn)
            event_free(in->turn);
    }
    free(ingest);
}
