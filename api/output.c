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
    struct api_file file;
    uint64_t after; // results written
    uint64_t n_bytes;
    char event[API_ID_MAX + 1];
};

static void job_end(struct api_output *o)
{
    api_file_release(&o->file);
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
    enum err err = sched_batch_output(o->server->store, &o->job, o->file.name,
                                      o->n_bytes, o->event, on_completed, o);

    if (err)
        on_completed(err, o);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    record(arg);
}

static enum err results_write(struct api_output *o,
                              const struct sched_result *results, size_t n)
{
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < n; i++) {
        char *line = NULL;

        err = api_result_line(&o->server->models, o->job.batch, &results[i],
                              &line);
        if (!err)
            err = api_file_write(&o->file, line, strlen(line));
        if (!err)
            err = api_file_write(&o->file, "\n", 1);
        free(line);
    }
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
    o->n_bytes = o->file.n_bytes;
    err = api_file_finish(&o->file);
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

static void on_job(enum err err, const struct sched_job *job, void *ctx)
{
    struct api_output *o = ctx;
    char name[API_FILE_NAME_MAX + 1];

    if (err) {
        o->again = false;
        o->busy = false;
        return;
    }
    o->job = *job;
    o->again = true;
    o->after = 0;
    snprintf(name, sizeof name, "%s.out.jsonl", job->batch);
    err = api_file_create(o->server->files_fd, name, &o->file);
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
    o->file.fd = -1;
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
