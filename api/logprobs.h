// logprobs.h - log-probabilities of an answer's tokens, as the JSON that the
// client gets.
//
//   a completion: {"tokens": [text], "token_logprobs": [number],
//                  "top_logprobs": [{text: number}], "text_offset": [number]}
//   a chat: {"content": [{"token", "logprob", "bytes", "top_logprobs":
//            [{"token", "logprob", "bytes"}]}], "refusal": null}
//
// A token that is no UTF-8 by itself is told in completions as
// "bytes:\xe2\x82"; in chats its text is repaired and bytes tells all.
#ifndef API_LOGPROBS_H
#define API_LOGPROBS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/sha256.h"
#include "tokenizer/tokenizer.h"

struct api_logprobs {
    const struct tokenizer *tokenizer;
    const uint32_t *ids;
    size_t n;
    struct bytes raw; // of each token as in SYN1
    size_t n_top;
    struct text text; // of all tokens, a cut-off character left out
    size_t *starts;   // where each token's text begins in it, bytes
};

// Everything is borrowed but for text and starts: release it in any case. raw
// is n times the same length, 4 + 8 * n_top, or empty: then only text and
// starts are there. Error: ERR_NOMEM.
MUST_USE enum err api_logprobs_init(struct api_logprobs *p,
                                    const struct tokenizer *tokenizer,
                                    const uint32_t *ids, size_t n,
                                    struct bytes raw);
void api_logprobs_release(struct api_logprobs *p);

// How many tokens begin before byte len of the text.
size_t api_logprobs_within(const struct api_logprobs *p, size_t len);

// Those of tokens from .. to - 1; NULL: no memory.
json_t *api_logprobs_json(const struct api_logprobs *p, size_t from, size_t to,
                          bool chat);

// The hash of such JSON by which a receipt vouches for it, however its numbers
// were written: SHA-256 of compact JSON, members sorted by name, each number n
// written as the integer 65536 n. ERR_FORMAT: one of them is none, so it is no
// such JSON. ERR_NOMEM.
MUST_USE enum err api_logprobs_hash(const json_t *logprobs,
                                    uint8_t out[SHA256_LEN]);

#endif
