// toll.h - challenges for the proof of work (base/toll.h) that new accounts of
// a busy address block pay (redundancy/entry.h). They are texts of hex digits,
// made and recognised with the grid's key and kept nowhere: any synapsed of the
// grid knows those of any other, also after restarts. Each is good for one
// account, from one block, for a few minutes; and once, because an account
// enters but once.
#ifndef API_TOLL_H
#define API_TOLL_H

#include <stdbool.h>
#include <stdint.h>

#include "api/server.h"
#include "base/err.h"
#include "base/sha256.h"
#include "base/toll.h"

enum {
    API_TOLL_RANDOM_LEN = 16,
    API_TOLL_BYTES = 1 + 8 + API_TOLL_RANDOM_LEN + SHA256_LEN,
    API_TOLL_TEXT = 2 * API_TOLL_BYTES, // characters of a challenge
    API_TOLL_MS = 300000,               // it is good for so long
};

// The key for challenges, from the grid's secret (scheduler/key.h).
void api_toll_key(const uint8_t secret[SHA256_LEN],
                  uint8_t out[API_TOLL_KEY_LEN]);

// To whom a challenge is given.
struct api_toll_payer {
    const uint8_t *account; // SHA-256 of the account, SHA256_LEN bytes
    const char *block;
};

struct api_toll {
    uint8_t bits;
    int64_t until_ms; // unix time, by Redis
};

// A fresh challenge that asks for toll. Errors: ERR_IO (no randomness).
MUST_USE enum err api_toll_make(const uint8_t key[API_TOLL_KEY_LEN],
                                const struct api_toll_payer *payer,
                                const struct api_toll *toll,
                                char out[API_TOLL_TEXT + 1]);

// What this challenge asked for. ERR_FORMAT: it is no challenge. ERR_DENIED: it
// was not given by this grid to this payer.
MUST_USE enum err api_toll_read(const uint8_t key[API_TOLL_KEY_LEN],
                                const struct api_toll_payer *payer,
                                const char *text, struct api_toll *out);

// Does this nonce pay what the challenge asks for?
bool api_toll_is_paid(const char *text, const uint8_t nonce[TOLL_NONCE_LEN],
                      unsigned bits);

#endif
