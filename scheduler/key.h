// key.h - API keys, stored as hashes.
#ifndef SCHED_KEY_H
#define SCHED_KEY_H

#include "scheduler/store.h"

struct sched_key {
    const char *id; // "key_...", not secret
    const char *name;
    const char *hint; // the last characters of the key, for people
    int64_t created_ms;
    int64_t revoked_ms; // 0: valid
    uint64_t stored_bytes;
};

typedef void sched_key_fn(enum err err, const struct sched_key *key, void *ctx);
typedef void sched_keys_fn(enum err err, const struct sched_key *keys, size_t n,
                           void *ctx);

// Keep a new key. id is drawn by the caller, hash is the SHA-256 of the whole
// key text. ERR_EXISTS: that id or hash is known.
MUST_USE enum err sched_key_create(struct sched_store *store, const char *id,
                                   const uint8_t hash[SCHED_HASH_LEN],
                                   const char *name, const char *hint,
                                   sched_done_fn *fn, void *ctx);

// The valid key with that hash. ERR_NOT_FOUND: unknown or revoked.
MUST_USE enum err sched_key_find(struct sched_store *store,
                                 const uint8_t hash[SCHED_HASH_LEN],
                                 sched_key_fn *fn, void *ctx);

// All keys, oldest first.
MUST_USE enum err sched_key_list(struct sched_store *store, sched_keys_fn *fn,
                                 void *ctx);

// ERR_NOT_FOUND: unknown. Revoking again is ERR_OK.
MUST_USE enum err sched_key_revoke(struct sched_store *store, const char *id,
                                   sched_done_fn *fn, void *ctx);

#endif
