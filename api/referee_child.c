#include "api/referee_child.h"

#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "api/child.h"
#include "api/clock.h"
#include "api/log.h"
#include "api/options.h"

enum {
    BACK_OFF_MIN_MS = 500,
    BACK_OFF_MAX_MS = 30000,
    STABLE_MS = 20000,
    STOP_MS = 3000,
    NICE = 10,
};

struct api_referee_child {
    struct event *again;
    char program[API_PATH_MAX + 16];
    char url[512], models[API_PATH_MAX];
    char account[API_PATH_MAX + 32], log[API_PATH_MAX + 32];
    char operator_key[128];
    pid_t pid; // 0: none
    int64_t started_ms;
    int back_off_ms;
    bool ending;
};

static enum err spawn(struct api_referee_child *child)
{
    const char *argv[] = {
        child->program,   "volunteer",    child->url, "--referee",
        "--name",         "referee",      "--models", child->models,
        "--account-file", child->account, "--quiet",  NULL,
    };
    struct api_child_spec spec = {
        .argv = argv,
        .env_name = "SYNAPSE_OPERATOR_KEY",
        .env_value = child->operator_key,
        .output = child->log,
        .keep_fd = -1,
        .nice = NICE,
        .with_parent = true,
    };

    child->started_ms = api_clock_ms();
    return api_child_start(&spec, &child->pid);
}

static void later(struct api_referee_child *child)
{
    struct timeval tv = {child->back_off_ms / 1000,
                         child->back_off_ms % 1000L * 1000};

    event_add(child->again, &tv);
    child->back_off_ms = child->back_off_ms * 2 < BACK_OFF_MAX_MS
                             ? child->back_off_ms * 2
                             : BACK_OFF_MAX_MS;
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    struct api_referee_child *child = arg;
    enum err err = spawn(child);

    (void)fd, (void)what;
    if (err) {
        api_log(API_LOG_ERROR, "referee_start", "error=\"%s\"", err_text(err));
        later(child);
        return;
    }
    api_log(API_LOG_INFO, "referee_started", "pid=%d", (int)child->pid);
}

void api_referee_child_look(struct api_referee_child *child)
{
    int status = 0;

    if (!child->pid || !api_child_ended(child->pid, &status))
        return;
    api_log(child->ending ? API_LOG_INFO : API_LOG_WARN, "referee_ended",
            "pid=%d status=%d", (int)child->pid, status);
    child->pid = 0;
    if (child->ending)
        return;
    if (api_clock_ms() - child->started_ms > STABLE_MS)
        child->back_off_ms = BACK_OFF_MIN_MS;
    later(child);
}

enum err api_referee_child_start(struct event_base *base,
                                 const struct api_referee_config *config,
                                 struct api_referee_child **out)
{
    struct api_referee_child *child = calloc(1, sizeof *child);
    enum err err;

    if (!child)
        return ERR_NOMEM;
    snprintf(child->program, sizeof child->program, "%s", config->program);
    snprintf(child->url, sizeof child->url, "%s", config->url);
    snprintf(child->models, sizeof child->models, "%s", config->models);
    snprintf(child->account, sizeof child->account, "%s/referee.account",
             config->data);
    snprintf(child->log, sizeof child->log, "%s/referee.log", config->data);
    snprintf(child->operator_key, sizeof child->operator_key, "%s",
             config->operator_key);
    child->back_off_ms = BACK_OFF_MIN_MS;
    child->again = event_new(base, -1, 0, on_again, child);
    err = child->again ? spawn(child) : ERR_NOMEM;
    if (err) {
        api_referee_child_stop(child);
        return err;
    }
    api_log(API_LOG_INFO, "referee_started", "pid=%d", (int)child->pid);
    *out = child;
    return ERR_OK;
}

void api_referee_child_end(struct api_referee_child *child)
{
    if (!child)
        return;
    child->ending = true;
    event_del(child->again);
    if (child->pid)
        kill(child->pid, SIGTERM);
}

bool api_referee_child_is_gone(const struct api_referee_child *child)
{
    return !child || child->pid == 0;
}

void api_referee_child_stop(struct api_referee_child *child)
{
    int64_t end = api_clock_ms() + STOP_MS;
    struct timespec pause = {0, 10 * 1000L * 1000};
    int status;

    if (!child)
        return;
    if (child->again)
        event_free(child->again);
    if (child->pid) {
        kill(child->pid, SIGTERM);
        while (!api_child_ended(child->pid, &status)) {
            if (api_clock_ms() >= end) {
                kill(child->pid, SIGKILL);
                waitpid(child->pid, &status, 0);
                break;
            }
            nanosleep(&pause, NULL);
        }
    }
    free(child);
}
