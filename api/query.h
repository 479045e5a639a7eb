// query.h - the small texts of a request, parsed totally: numbers, ranges,
// hex, header lists. Pure functions; they allocate nothing.
#ifndef API_QUERY_H
#define API_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/address.h"
#include "base/err.h"

// Digits only, the whole text. False if it is anything else or over 2^64 - 1.
MUST_USE bool api_query_number(const char *text, uint64_t *out);

// Exactly n_bytes bytes as lower or upper case hex.
MUST_USE bool api_query_hex(const char *text, uint8_t *out, size_t n_bytes);

// n_bytes bytes as lower case hex, NUL-terminated (2 * n_bytes + 1 chars).
void api_query_hex_put(const uint8_t *bytes, size_t n_bytes, char *out);

// A Range header against a body of size bytes. ERR_OK: send *first .. *last;
// ERR_NOT_FOUND: there is no single byte range in it (send all); ERR_RANGE:
// it lies outside the body (416).
MUST_USE enum err api_query_range(const char *text, uint64_t size,
                                  uint64_t *first, uint64_t *last);

// Does the If-None-Match list name this entity tag (given without quotes)?
bool api_query_etag_match(const char *list, const char *tag);

// Walk X-Forwarded-For from its end while the address so far is a trusted
// proxy. text may be NULL. *addr starts as the peer.
void api_query_forwarded(const char *text, const struct api_cidr *trusted,
                         size_t n_trusted, struct api_address *addr);

// The length of the UTF-8 text in characters; -1 if it is malformed or holds
// control characters.
long api_query_name_len(const char *text);

#endif
