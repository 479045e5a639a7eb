// file.h - files of clients: records of what lies in --files, each owned by an
// API key. Only records: whoever writes the bytes does so before, and whoever
// removes them does so before sched_file_delete.
#ifndef SCHED_FILE_H
#define SCHED_FILE_H

#include "scheduler/store.h"

enum {
    SCHED_FILE_NAME_MAX = 255,   // bytes of a name, and of a path
    SCHED_FILES_MAX = 10000,     // files in one page
    SCHED_FILES_EXPIRED_MAX = 50 // in one sched_file_expired
};

struct sched_file_new {
    const char *id;      // drawn by the caller, 1 .. SCHED_ID_MAX
    const char *key;     // id of the API key
    const char *path;    // name in --files, written and synced
    const char *name;    // the client's name for it
    const char *purpose; // 1 .. SCHED_ID_MAX
    uint64_t bytes, lines;
    int64_t keep_ms;     // it goes so long after now; 0: policy.keep_ms
    uint64_t stored_max; // bytes stored for this key, cap where it has no quota
                         // (0: none)
};

// Keep a record. Repeating it with the same id changes nothing (ERR_OK).
// Errors: ERR_FULL (the key's quota of bytes, or stored_max, would be passed).
MUST_USE enum err sched_file_create(struct sched_store *store,
                                    const struct sched_file_new *file,
                                    sched_done_fn *fn, void *ctx);

struct sched_file {
    const char *id, *path, *name, *purpose;
    uint64_t bytes, lines;
    int64_t created_ms, expires_ms;
};

typedef void sched_file_fn(enum err err, const struct sched_file *file,
                           void *ctx);

// Errors: ERR_NOT_FOUND (also when it belongs to another key, or has expired).
MUST_USE enum err sched_file_get(struct sched_store *store, const char *id,
                                 const char *key, sched_file_fn *fn, void *ctx);

struct sched_file_query {
    const char *key;
    const char *after;   // id of a file; "": from the start
    const char *purpose; // "": any
    uint32_t limit;      // 1 .. SCHED_FILES_MAX
    bool oldest_first;
};

typedef void sched_files_fn(enum err err, const struct sched_file *files,
                            size_t n, bool more, void *ctx);

// The key's files. ERR_NOT_FOUND: after is unknown.
MUST_USE enum err sched_file_list(struct sched_store *store,
                                  const struct sched_file_query *query,
                                  sched_files_fn *fn, void *ctx);

// Forget a record, its bytes being gone. key NULL: any. ERR_NOT_FOUND.
MUST_USE enum err sched_file_delete(struct sched_store *store, const char *id,
                                    const char *key, sched_done_fn *fn,
                                    void *ctx);

// Files whose time is up, only id and path set: remove the bytes and delete
// the record. sched_job_watch's on_job also runs for these.
MUST_USE enum err sched_file_expired(struct sched_store *store,
                                     sched_files_fn *fn, void *ctx);

#endif
