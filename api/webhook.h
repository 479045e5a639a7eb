// webhook.h - callbacks as Standard Webhooks prescribes: their addresses, their
// secrets, their signatures. Pure but for the randomness of new secrets.
#ifndef API_WEBHOOK_H
#define API_WEBHOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    API_WEBHOOK_URL_MAX = 2048,
    API_WEBHOOK_SECRET_MAX = 128, // bytes of its text
    API_WEBHOOK_KEY_MIN = 24,     // bytes of the key that it encodes
    API_WEBHOOK_KEY_MAX = 64,
    API_WEBHOOK_SIGNATURE_MAX = 64,
    API_WEBHOOK_ENDPOINT_MAX = 255,
};

// Whether url may be called: https with a host (http too if private ones are
// allowed), no user name in it, no literal private address. Returns NULL, or
// what is wrong with it in words. What its name resolves to is checked when it
// is called.
const char *api_webhook_url_check(const char *url, bool allow_private);

// Where a url that is fine goes, "host:port" in lower case; a longer one is
// cut.
void api_webhook_endpoint(const char *url,
                          char out[API_WEBHOOK_ENDPOINT_MAX + 1]);

// What a secret is, for those who sent something else.
#define API_WEBHOOK_SECRET_SHAPE \
    "must be whsec_ and the base64 of 24 to 64 bytes"

// "whsec_" and base64 of 24 .. 64 bytes?
bool api_webhook_secret_ok(const char *secret);

// A new secret of 32 bytes. ERR_IO: no randomness.
MUST_USE enum err api_webhook_secret_make(char out[API_WEBHOOK_SECRET_MAX + 1]);

// The header webhook-signature, "v1,<base64>", of a message with this id, unix
// time and body. ERR_FORMAT: the secret is none.
MUST_USE enum err api_webhook_sign(const char *secret, const char *id,
                                   int64_t unix_s, const char *body, size_t len,
                                   char out[API_WEBHOOK_SIGNATURE_MAX + 1]);

#endif
