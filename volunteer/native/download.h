// download.h - one file from a server into a folder: resumed where a former
// try ended, and under its name only once its SHA-256 was right. The name
// with ".part" after it holds what came so far. Main thread only.
#ifndef NATIVE_DOWNLOAD_H
#define NATIVE_DOWNLOAD_H

#include "base/sha256.h"
#include "native/net.h"

struct native_download {
    struct native_net *net; // borrowed, like all here
    const char *url;
    const char *path;
    uint64_t n_bytes; // what it must be long
    const uint8_t *sha256;
    // Told of what is in the file, at the start and about every second. May be
    // NULL.
    void (*on_progress)(uint64_t have, void *ctx);
    void *ctx;
};

// Make the file complete. One that is there already is hashed, and kept if it
// is right. Goes on after network errors until nothing came in several tries.
// why gets a line on failure. ERR_IO (network or disk; what came is kept),
// ERR_CHECKSUM (the bytes are wrong; they are deleted), ERR_NOT_FOUND (status
// 404), ERR_GONE (stopped), ERR_NOMEM, ERR_RANGE (the path is too long).
MUST_USE enum err native_download(const struct native_download *download,
                                  char *why, size_t why_len);

// Write data to a new file beside path, sync it, and rename it to path.
// ERR_IO, ERR_RANGE; errno says more.
MUST_USE enum err native_file_put(const char *path, const void *data,
                                  size_t len);

#endif
