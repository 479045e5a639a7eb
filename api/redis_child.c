#include "api/redis_child.h"

#include <event2/event.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "api/child.h"
#include "api/clock.h"
#include "api/log.h"
#include "api/options.h"

#define SOCKET_NAME "redis.sock"

enum {
    LOOK_MS = 250,
    BACK_OFF_MIN_MS = 250,
    BACK_OFF_MAX_MS = 8000,
    STABLE_MS = 10000, // lived so long: the next restart is prompt again
    STOP_MS = 8000,
};

struct api_redis_child {
    struct event *look;
    char data[API_PATH_MAX];
    char address[API_REDIS_ADDRESS_MAX];
    pid_t pid; // 0: adopted, or none
    int64_t started_ms, next_ms;
    int back_off_ms;
    bool adopted; // said so in the log
};

enum err api_redis_address(const char *data, char out[API_REDIS_ADDRESS_MAX])
{
    struct sockaddr_un sun;
    int fd;

    if (strlen(data) + sizeof "/" SOCKET_NAME <= sizeof sun.sun_path) {
        snprintf(out, API_REDIS_ADDRESS_MAX, "unix:%.107s/" SOCKET_NAME, data);
        return ERR_OK;
    }
    fd = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    snprintf(out, API_REDIS_ADDRESS_MAX, "unix:/proc/self/fd/%d/" SOCKET_NAME,
             fd);
    return ERR_OK;
}

// The lock's descriptor, or -1 if a Redis lives (ERR_BUSY) or on ERR_IO.
static enum err lock_take(const char *data, int *out)
{
    char path[API_PATH_MAX + 16];
    int fd;

    snprintf(path, sizeof path, "%s/redis.lock", data);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        return ERR_BUSY;
    }
    *out = fd;
    return ERR_OK;
}

static enum err spawn(struct api_redis_child *child, int lock)
{
    const char *argv[] = {
        "redis-server",
        "--port",
        "0",
        "--unixsocket",
        SOCKET_NAME,
        "--unixsocketperm",
        "700",
        "--dir",
        ".",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--save",
        "",
        "--daemonize",
        "no",
        "--maxmemory-policy",
        "noeviction",
        "--loglevel",
        "warning",
        "--set-proc-title",
        "no",
        NULL,
    };
    struct api_child_spec spec = {
        .argv = argv,
        .dir = child->data,
        .output = "redis.log",
        .keep_fd = lock,
    };
    char log[API_PATH_MAX + 16];

    snprintf(log, sizeof log, "%s/redis.log", child->data);
    spec.output = log;
    return api_child_start(&spec, &child->pid);
}

// If nobody holds the lock, Redis is dead: start it.
static enum err look(struct api_redis_child *child)
{
    int64_t now = api_clock_ms();
    int lock = -1, status = 0;
    enum err err;

    if (child->pid && api_child_ended(child->pid, &status)) {
        api_log(API_LOG_WARN, "redis_ended", "pid=%d status=%d",
                (int)child->pid, status);
        child->pid = 0;
        if (now - child->started_ms > STABLE_MS)
            child->back_off_ms = BACK_OFF_MIN_MS;
    }
    if (child->pid || now < child->next_ms)
        return ERR_OK;
    err = lock_take(child->data, &lock);
    if (err == ERR_BUSY) {
        if (!child->adopted)
            api_log(API_LOG_INFO, "redis_adopted", "data=\"%s\"", child->data);
        child->adopted = true;
        return ERR_OK;
    }
    if (err)
        return err;
    child->adopted = true; // by its lock, should we lose the child
    err = spawn(child, lock);
    close(lock); // the child has it now
    child->started_ms = now;
    child->next_ms = now + child->back_off_ms;
    child->back_off_ms = child->back_off_ms * 2 < BACK_OFF_MAX_MS
                             ? child->back_off_ms * 2
                             : BACK_OFF_MAX_MS;
    if (err == ERR_OK)
        api_log(API_LOG_INFO, "redis_started", "pid=%d", (int)child->pid);
    return err;
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct api_redis_child *child = arg;
    enum err err = look(child);

    (void)fd, (void)what;
    if (err) {
        child->next_ms = api_clock_ms() + child->back_off_ms;
        api_log(API_LOG_ERROR, "redis_start", "error=\"%s\"", err_text(err));
    }
}

void api_redis_child_look(struct api_redis_child *child)
{
    on_look(-1, 0, child);
}

enum err api_redis_child_start(struct event_base *base, const char *data,
                               struct api_redis_child **out)
{
    struct timeval every = {0, LOOK_MS * 1000L};
    struct api_redis_child *child = calloc(1, sizeof *child);
    enum err err = ERR_NOMEM;

    if (!child)
        return ERR_NOMEM;
    snprintf(child->data, sizeof child->data, "%.4000s", data);
    child->back_off_ms = BACK_OFF_MIN_MS;
    err = api_redis_address(data, child->address);
    if (err)
        goto done;
    err = look(child);
    if (err)
        goto done;
    child->look = event_new(base, -1, EV_PERSIST, on_look, child);
    if (!child->look || event_add(child->look, &every)) {
        err = ERR_NOMEM;
        goto done;
    }
    *out = child;
    child = NULL;

done:
    if (child)
        api_redis_child_stop(child);
    return err;
}

// Ask it to write all and end.
static void shutdown_ask(struct api_redis_child *child)
{
    struct timeval limit = {2, 0};
    redisContext *redis =
        redisConnectUnixWithTimeout(child->address + strlen("unix:"), limit);

    if (redis && !redis->err) {
        void *reply;

        (void)!redisSetTimeout(redis, limit);
        reply = redisCommand(redis, "SHUTDOWN NOSAVE"); // the log has it all
        if (reply)
            freeReplyObject(reply);
    } else if (child->pid) {
        kill(child->pid, SIGTERM);
    }
    if (redis)
        redisFree(redis);
}

void api_redis_child_stop(struct api_redis_child *child)
{
    int64_t end = api_clock_ms() + STOP_MS;
    struct timespec pause = {0, 10 * 1000L * 1000};
    int lock = -1, status;

    if (!child)
        return;
    if (child->look)
        event_free(child->look);
    shutdown_ask(child);
    while (api_clock_ms() < end) {
        if (child->pid && api_child_ended(child->pid, &status))
            child->pid = 0;
        if (lock_take(child->data, &lock) != ERR_BUSY)
            break;
        nanosleep(&pause, NULL);
    }
    if (lock >= 0)
        close(lock);
    else
        api_log(API_LOG_ERROR, "redis_stays", "pid=%d", (int)child->pid);
    free(child);
}
