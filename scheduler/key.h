// key.h - API keys, stored as hashes.
#ifndef SCHED_KEY_H
#define SCHED_KEY_H

#include "base/bytes.h"
#include "scheduler/store.h"

enum sched_scope {
    SCHED_SUBMIT = 1,  // files, batches and requests: make, cancel, delete
    SCHED_READ = 2,    // and look at
    SCHED_OPERATE = 4, // what concerns the whole grid
};

enum {
    SCHED_SCOPES = SCHED_SUBMIT | SCHED_READ | SCHED_OPERATE,
    SCHED_PRIORITY = 10, // of a key that names none
    SCHED_PRIORITY_MAX = 100,
};

// What a key may do. 0 in a quota: none.
struct sched_rights {
    unsigned scopes;   // a set of enum sched_scope
    uint32_t priority; // 1 .. SCHED_PRIORITY_MAX: its share beside other keys
    uint64_t requests; // quota: accepted and not final
    uint64_t bytes;    // quota: stored, of its files and results
    uint64_t tokens;   // quota: of prompts and answers in a day (UTC)
};

struct sched_key {
    const char *id; // "key_...", not secret
    const char *name;
    const char *hint; // the last characters of the key, for people
    int64_t created_ms;
    int64_t revoked_ms; // 0: valid
    struct bytes hash;  // SHA-256 of the key's text
    struct sched_rights rights;
    uint64_t requests, bytes, tokens; // used of each quota
    int64_t bytes_ms; // until the oldest of its files goes; 0: it has none
    int64_t day_ms;   // until the next day begins
};

typedef void sched_key_fn(enum err err, const struct sched_key *key, void *ctx);
typedef void sched_keys_fn(enum err err, const struct sched_key *keys, size_t n,
                           void *ctx);

// Keep a new key. id is drawn by the caller, hash is the SHA-256 of the whole
// key text. ERR_EXISTS: that id or hash is known. ERR_RANGE: no such scope or
// priority.
MUST_USE enum err sched_key_create(struct sched_store *store, const char *id,
                                   const uint8_t hash[SCHED_HASH_LEN],
                                   const char *name, const char *hint,
                                   const struct sched_rights *rights,
                                   sched_done_fn *fn, void *ctx);

// The valid key with that hash. ERR_NOT_FOUND: unknown or revoked.
MUST_USE enum err sched_key_find(struct sched_store *store,
                                 const uint8_t hash[SCHED_HASH_LEN],
                                 sched_key_fn *fn, void *ctx);

// The key of that id, valid or revoked. ERR_NOT_FOUND: unknown.
MUST_USE enum err sched_key_get(struct sched_store *store, const char *id,
                                sched_key_fn *fn, void *ctx);

// All keys, oldest first.
MUST_USE enum err sched_key_list(struct sched_store *store, sched_keys_fn *fn,
                                 void *ctx);

// ERR_NOT_FOUND: unknown. Revoking again is ERR_OK.
MUST_USE enum err sched_key_revoke(struct sched_store *store, const char *id,
                                   sched_done_fn *fn, void *ctx);

typedef void sched_signing_key_fn(enum err err,
                                  const uint8_t secret[SCHED_HASH_LEN],
                                  void *ctx);

// The secret Ed25519 key with which this grid signs receipts. fresh: drawn by
// the caller, kept if there is none yet.
MUST_USE enum err sched_signing_key(struct sched_store *store,
                                    const uint8_t fresh[SCHED_HASH_LEN],
                                    sched_signing_key_fn *fn, void *ctx);

#endif
