// sha256.h - SHA-256 (FIPS 180-4), streaming. It names models and shards; the
// WASM engine needs its own, because pages without a secure context have no
// crypto.subtle.
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_LEN = 32, SHA256_BLOCK_LEN = 64 };

struct sha256 {
    uint32_t h[8];
    uint64_t len; // bytes so far; the last len % 64 of them wait in buf
    uint8_t buf[SHA256_BLOCK_LEN];
};

void sha256_init(struct sha256 *s);

// Add the next len bytes (buf may be NULL if len is 0).
void sha256_update(struct sha256 *s, const void *buf, size_t len);

// Write the digest. After this s must be initialised again.
void sha256_final(struct sha256 *s, uint8_t out[SHA256_LEN]);

// The digest of one buffer.
void sha256(const void *buf, size_t len, uint8_t out[SHA256_LEN]);

#endif
