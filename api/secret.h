// secret.h - randomness, ids and hashes, from OpenSSL.
#ifndef API_SECRET_H
#define API_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sha256.h"

enum { API_ID_MAX = 63, API_TOKEN_LEN = 64 };

// Unpredictable bytes. ERR_IO: the system has none to give.
MUST_USE enum err api_secret_bytes(void *out, size_t len);

// prefix and 32 hex digits.
MUST_USE enum err api_secret_id(const char *prefix, char out[API_ID_MAX + 1]);

// 64 hex digits.
MUST_USE enum err api_secret_token(char out[API_TOKEN_LEN + 1]);

void api_secret_hash(const char *text, uint8_t out[SHA256_LEN]);

// Equal? In a time that depends on the lengths only.
bool api_secret_equal(const char *a, const char *b);

#endif
