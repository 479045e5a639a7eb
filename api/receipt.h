// receipt.h - a signed statement of how a line was computed, from which anyone
// can compute it again. A receipt is one JSON object:
//
//   version        2
//   batch, custom_id   which line
//   model          its name; model_id, the SHA-256 of its manifest in hex
//   arithmetic     FORMAT_ARITHMETIC of the model folder
//   class          "exact": the bytes are the same on every device; "f32":
//                  some of those who computed it did so in that class, and
//                  it cannot be computed again byte for byte
//   prompt_tokens  token ids; tokens, the generated ones
//   sampling       inv_temp_q16, top_p_q16, top_k, presence_q16, frequency_q16
//                  (SYN1's integers), seed (decimal, as text), ignore_end,
//                  logit_bias (pairs of token id and Q16), stop_tokens,
//                  logprobs (alternatives a token; null: none were wanted)
//   finish_reason  "stop" or "length"
//   text_sha256    of the delivered text, in hex
//   logprobs_sha256  of the delivered log-probabilities (logprobs.h says
//                  how), null if there are none
//   computed_by    backends; checked_by, {"backend", "referee"} of each
//                  recomputation of this line, with "span": [first, end) of
//                  its shards where only these were; what is not there was
//                  covered by later checks
//   final_at       unix seconds
//   key            the grid's Ed25519 public key, base64
//   signature      base64, over "synapse-receipt-v2\n" and the object without
//                  this member as compact JSON, members sorted by name,
//                  control characters without a short form as \u00XX
//
// Version 1 had nothing of log-probabilities and was signed over
// "synapse-receipt-v1\n"; it is still read.
#ifndef API_RECEIPT_H
#define API_RECEIPT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sha256.h"
#include "base/syn1.h"
#include "scheduler/batch.h"

enum {
    API_SIGN_SECRET_LEN = 32,
    API_SIGN_KEY_LEN = 32,
    API_SIGN_KEY_TEXT = 44, // base64 of the public key
    API_RECEIPT_VERSION = 2,
};

struct api_signer; // the grid's key pair

// Errors: ERR_NOMEM.
MUST_USE enum err api_signer_new(const uint8_t secret[API_SIGN_SECRET_LEN],
                                 struct api_signer **out);
void api_signer_free(struct api_signer *signer);

// The public key, in base64.
const char *api_signer_key(const struct api_signer *signer);

// What a receipt says besides the scheduler's result.
struct api_receipt_of {
    const char *batch;
    const char *model, *model_id; // the id in hex
    const char *finish_reason;
    const char *text; // delivered
    size_t text_len;
    const json_t *logprobs; // delivered, or null
};

// The receipt of a result that has a proof. Errors: ERR_NOMEM.
MUST_USE enum err api_receipt_make(const struct api_signer *signer,
                                   const struct sched_result *result,
                                   const struct api_receipt_of *of,
                                   json_t **out);

// A receipt that was read. Release it.
struct api_receipt {
    const char *batch, *custom_id, *model, *key; // the JSON's
    const char *finish_reason;
    uint8_t model_id[SHA256_LEN], text_hash[SHA256_LEN];
    uint32_t version, arithmetic;
    bool near; // of class f32, at least in part: it cannot be computed again
    struct syn1_sampling sampling; // log-probabilities wanted in flags, n_top
    uint8_t logprobs_hash[SHA256_LEN]; // if they are
    uint32_t n_prompt, n_tokens;
    uint16_t n_bias, n_stop;
    uint32_t *ids;       // n_prompt of the prompt, then n_tokens
    uint8_t *bias;       // n_bias * 8 bytes, as in SYN1
    uint8_t *stop_bytes; // n_stop * 4 bytes
};

// Read any JSON value, which must outlive *out. ERR_FORMAT: a member is
// missing or of another shape; ERR_RANGE: past SYN1's limits; ERR_VERSION;
// ERR_NOMEM. *why names the member, *out is untouched on error.
MUST_USE enum err api_receipt_read(const json_t *value, struct api_receipt *out,
                                   const char **why);
void api_receipt_release(struct api_receipt *receipt);

// Does its signature fit its content and its key? ERR_DENIED: no. Errors:
// ERR_FORMAT (key or signature are none), ERR_VERSION, ERR_NOMEM.
MUST_USE enum err api_receipt_check(const json_t *value);

#endif
