#include "native/bring.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct native_bring {
    struct native_bring_config config;
    struct native_net *net; // the thread's own
    int stop[2];            // a pipe: written to, it ends the thread's net
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; // guards what follows
    struct native_bring_news news;
    bool fresh; // not looked at yet
};

static void on_progress(const char *name, uint64_t have, uint64_t total,
                        void *ctx)
{
    struct native_bring *bring = ctx;

    pthread_mutex_lock(&bring->lock);
    snprintf(bring->news.name, sizeof bring->news.name, "%s", name);
    bring->news.have = have;
    bring->news.total = total;
    bring->fresh = true;
    pthread_mutex_unlock(&bring->lock);
    native_net_wake(bring->config.net);
}

static void *bring_main(void *arg)
{
    struct native_bring *bring = arg;
    char folder[NATIVE_PATH_MAX] = "", why[NATIVE_WHY_MAX] = "";
    enum err err =
        native_fetch_model(&(struct native_fetch){.net = bring->net,
                                                  .url = bring->config.url,
                                                  .cache = bring->config.cache,
                                                  .on_progress = on_progress,
                                                  .ctx = bring},
                           bring->config.model, bring->config.span_first,
                           bring->config.span_end, folder, why, sizeof why);

    pthread_mutex_lock(&bring->lock);
    bring->news.done = true;
    bring->news.err = err;
    memcpy(bring->news.folder, folder, sizeof folder);
    memcpy(bring->news.why, why, sizeof why);
    bring->fresh = true;
    pthread_mutex_unlock(&bring->lock);
    native_net_wake(bring->config.net);
    return NULL;
}

enum err native_bring_new(const struct native_bring_config *config,
                          struct native_bring **out)
{
    struct native_bring *bring = calloc(1, sizeof *bring);
    enum err err;

    if (!bring)
        return ERR_NOMEM;
    bring->config = *config;
    pthread_mutex_init(&bring->lock, NULL);
    if (pipe(bring->stop)) {
        bring->stop[0] = bring->stop[1] = -1;
        err = ERR_IO;
        goto done;
    }
    err = native_net_new(&(struct native_net_config){.cacert = config->cacert,
                                                     .stop_fd = bring->stop[0]},
                         &bring->net);
    if (err)
        goto done;
    if (pthread_create(&bring->thread, NULL, bring_main, bring)) {
        err = ERR_NOMEM;
        goto done;
    }
    bring->started = true;
    *out = bring;
    bring = NULL;

done:
    native_bring_free(bring);
    return err;
}

void native_bring_free(struct native_bring *bring)
{
    if (!bring)
        return;
    if (bring->started) {
        while (write(bring->stop[1], "", 1) < 0 && errno == EINTR)
            continue;
        pthread_join(bring->thread, NULL);
    }
    native_net_free(bring->net);
    for (int i = 0; i < 2; i++)
        if (bring->stop[i] >= 0)
            close(bring->stop[i]);
    pthread_mutex_destroy(&bring->lock);
    free(bring);
}

bool native_bring_look(struct native_bring *bring,
                       struct native_bring_news *out)
{
    bool fresh;

    pthread_mutex_lock(&bring->lock);
    fresh = bring->fresh;
    bring->fresh = false;
    *out = bring->news;
    pthread_mutex_unlock(&bring->lock);
    return fresh;
}
