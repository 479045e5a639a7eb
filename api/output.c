#include "api/output.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/files.h"
#include "api/log.h"
#include "api/result_line.h"
#include "api/secret.h"
#include "api/server.h"
#include "scheduler/job.h"

enum { TTL_MS = 15000, PAGE = 100, RETRY_MS = 300 };

struct api_output {
    struct api_server *server;
    struct event *retry;
    bool busy, again;
    struct sched_job job;
    struct api_file all;       // every result line
    struct api_file good, bad; // the answers and the errors, each alone
    struct sched_batch_files files;
    char good_id[API_ID_MAX + 1], bad_id[API_ID_MAX + 1];
    uint64_t after; // results written
    uint64_t n_good;
    char event[API_ID_MAX + 1];
};

static void job_end(struct api_output *o)
{
    api_file_release(&o->all);
    api_file_release(&o->good);
    api_file_release(&o->bad);
    o->busy = false;
    if (o->again)
        api_output_look(o);
}

// Give the job back, to be done from its beginning in a while.
static void on_given_back(enum err err, void *ctx)
{
    (void)err;
    job_end(ctx);
}

static void job_drop(struct api_output *o, enum err err)
{
    api_log(err == ERR_STORE ? API_LOG_WARN : API_LOG_ERROR, "output",
            "batch=%s error=\"%s\"", o->job.batch, err_text(err));
    o->again = false;
    if (sched_job_give_back(o->server->store, &o->job, 1000, on_given_back, o))
        job_end(o);
}

static void on_completed(enum err err, void *ctx)
{
    struct api_output *o = ctx;
    struct timeval tv = {0, RETRY_MS * 1000L};

    if (err == ERR_STORE || err == ERR_BUSY) {
        event_add(o->retry, &tv);
        return;
    }
    if (!err)
        api_log(API_LOG_INFO, "batch_completed", "batch=%s lines=%" PRIu64,
                o->job.batch, o->after);
    else if (err != ERR_GONE)
        api_log(API_LOG_ERROR, "output", "batch=%s error=\"%s\"", o->job.batch,
                err_text(err));
    job_end(o);
}

// The file is there: record it. Safe to repeat.
static void record(struct api_output *o)
{
    enum err err = sched_batch_output(o->server->store, &o->job, &o->files,
                                      o->event, on_completed, o);

    if (err)
        on_completed(err, o);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    record(arg);
}

static enum err line_write(struct api_file *file, const char *line)
{
    enum err err = api_file_write(file, line, strlen(line));

    return err ? err : api_file_write(file, "\n", 1);
}

static enum err results_write(struct api_output *o,
                              const struct sched_result *results, size_t n)
{
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < n; i++) {
        char *line = NULL;

        err = api_result_line(&o->server->models, o->server->signer,
                              o->job.batch, &results[i], &line);
        if (!err)
            err = line_write(&o->all, line);
        if (!err)
            err =
                line_write(results[i].error.len > 0 ? &o->bad : &o->good, line);
        if (!err && results[i].error.len == 0)
            o->n_good++;
        free(line);
    }
    return err;
}

// Where all lines are of one kind, the file of that kind is the file of all.
static struct sched_batch_file file_of(const struct api_output *o,
                                       const struct api_file *file,
                                       const char *id, uint64_t n_lines)
{
    struct sched_batch_file out = {0};

    if (n_lines > 0) {
        out.id = id;
        out.path = n_lines == o->after ? o->all.name : file->name;
        out.bytes = file->n_bytes;
        out.lines = n_lines;
    }
    return out;
}

static enum err files_finish(struct api_output *o)
{
    const char *id = strchr(o->job.batch, '_');
    bool mixed = o->n_good > 0 && o->n_good < o->after;
    enum err err = api_file_finish(&o->all);

    id = id ? id + 1 : o->job.batch;
    snprintf(o->good_id, sizeof o->good_id, "file-out-%.48s", id);
    snprintf(o->bad_id, sizeof o->bad_id, "file-err-%.48s", id);
    o->files.results = o->all.name;
    o->files.results_bytes = o->all.n_bytes;
    o->files.output = file_of(o, &o->good, o->good_id, o->n_good);
    o->files.error = file_of(o, &o->bad, o->bad_id, o->after - o->n_good);
    if (!err && mixed)
        err = api_file_finish(&o->good);
    if (!err && mixed)
        err = api_file_finish(&o->bad);
    return err;
}

static void page_get(struct api_output *o);

static void on_results(enum err err, const struct sched_result *results,
                       size_t n, uint64_t next, bool more, void *ctx)
{
    struct api_output *o = ctx;

    if (err == ERR_GONE || err == ERR_NOT_FOUND) { // someone else was faster
        job_end(o);
        return;
    }
    if (!err)
        err = results_write(o, results, n);
    if (err) {
        job_drop(o, err);
        return;
    }
    o->after = next;
    if (more) {
        page_get(o);
        return;
    }
    err = files_finish(o);
    if (!err)
        err = api_secret_id("evt_", o->event);
    if (err)
        job_drop(o, err);
    else
        record(o);
}

static void page_get(struct api_output *o)
{
    enum err err = sched_batch_results(o->server->store, o->job.batch, NULL,
                                       o->after, PAGE, on_results, o);

    if (err)
        job_drop(o, err);
}

static enum err file_begin(struct api_output *o, const char *what,
                           struct api_file *file)
{
    char name[API_FILE_NAME_MAX + 1];

    snprintf(name, sizeof name, "%s.%s.jsonl", o->job.batch, what);
    return api_file_create(o->server->files_fd, name, file);
}

static void on_job(enum err err, const struct sched_job *job, void *ctx)
{
    struct api_output *o = ctx;

    if (err) {
        o->again = false;
        o->busy = false;
        return;
    }
    o->job = *job;
    o->again = true;
    o->after = 0;
    o->n_good = 0;
    err = file_begin(o, "out", &o->all);
    if (!err)
        err = file_begin(o, "good", &o->good);
    if (!err)
        err = file_begin(o, "bad", &o->bad);
    if (err)
        job_drop(o, err);
    else
        page_get(o);
}

void api_output_look(struct api_output *o)
{
    if (o->busy) {
        o->again = true;
        return;
    }
    o->again = false;
    o->busy = true;
    if (o->server->draining ||
        sched_job_take(o->server->store, SCHED_JOB_OUTPUT, TTL_MS, on_job, o))
        o->busy = false;
}

enum err api_output_new(struct api_server *server, struct api_output **out)
{
    struct api_output *o = calloc(1, sizeof *o);

    if (!o)
        return ERR_NOMEM;
    o->server = server;
    o->all.fd = o->good.fd = o->bad.fd = -1;
    o->retry = event_new(server->base, -1, 0, on_retry, o);
    if (!o->retry) {
        free(o);
        return ERR_NOMEM;
    }
    *out = o;
    return ERR_OK;
}

void api_output_free(struct api_output *o)
{
    if (!o)
        return;
    o->again = false;
    job_end(o);
    event_free(o->retry);
    free(o);
}
