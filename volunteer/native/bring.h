// bring.h - one span on its way into the cache, on a thread of its own, so that
// work goes on meanwhile. Main thread only, but for what its own thread does.
#ifndef NATIVE_BRING_H
#define NATIVE_BRING_H

#include "native/fetch.h"

enum { NATIVE_BRING_NAME_MAX = 64 };

struct native_bring;

struct native_bring_config {
    struct native_net *net; // of the main thread: woken when there is news
    const char *cacert;     // as native_net_config
    const char *url;        // the server's, without a last "/"
    const char *cache;      // folder
    uint8_t model[SYN1_ID_LEN];
    uint16_t span_first, span_end;
};

// How far it is.
struct native_bring_news {
    bool done;
    enum err err; // of native_fetch_model, with done
    char folder[NATIVE_PATH_MAX];
    char why[NATIVE_WHY_MAX];
    char name[NATIVE_BRING_NAME_MAX + 1]; // the model's, "" while unknown
    uint64_t have, total;                 // bytes of the span
};

// Start. config's strings and net must outlive it. ERR_NOMEM, ERR_IO.
MUST_USE enum err native_bring_new(const struct native_bring_config *config,
                                   struct native_bring **out);

// Ends it wherever it is; what came stays in the cache. NULL is fine.
void native_bring_free(struct native_bring *bring);

// Fill in *out. True if it says more than the last time.
bool native_bring_look(struct native_bring *bring,
                       struct native_bring_news *out);

#endif
