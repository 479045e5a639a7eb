// fetch.h - model folders from the server into the cache: <cache>/<model id>/
// with the manifest and those of its shards that were asked for, each under
// its name only once its SHA-256 was right. Downloads resume. Programs may
// share a cache. On the thread of its net only.
#ifndef NATIVE_FETCH_H
#define NATIVE_FETCH_H

#include "base/syn1.h"
#include "native/account.h"
#include "native/net.h"

struct native_fetch {
    struct native_net *net; // borrowed
    const char *url;        // the server's, without a last "/"
    const char *cache;      // folder, made if missing
    // Told at the start of each shard and about every second: bytes of the
    // span so far, and in all. May be NULL.
    void (*on_progress)(const char *name, uint64_t have, uint64_t total,
                        void *ctx);
    void *ctx;
};

// Make the shards span_first .. span_end-1 of the model whose id begins with
// the 16 bytes at model complete in the cache, and write its folder's path to
// out. Files that are there already are hashed again. why gets a line on
// failure. ERR_NOT_FOUND (the server has no such model), ERR_IO (network or
// disk; what came is kept), ERR_CHECKSUM (the server's bytes are wrong),
// ERR_FORMAT (its list or manifest is), ERR_GONE (stopped), ERR_NOMEM,
// ERR_RANGE (the path is too long, or the model has not so many shards).
MUST_USE enum err native_fetch_model(const struct native_fetch *fetch,
                                     const uint8_t model[SYN1_ID_LEN],
                                     uint16_t span_first, uint16_t span_end,
                                     char out[NATIVE_PATH_MAX], char *why,
                                     size_t why_len);

#endif
