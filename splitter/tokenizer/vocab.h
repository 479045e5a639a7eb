// vocab.h - the strings of token ids, and the ids of the model's strings.
#ifndef TOKENIZER_VOCAB_H
#define TOKENIZER_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tokenizer/text.h"

enum {
    VOCAB_IDS_MAX = 1 << 20,   // ids are below this
    VOCAB_TOKEN_MAX = 1 << 16, // bytes of one token
};

struct vocab_token {
    size_t off; // into bytes
    uint32_t len;
    bool there; // ids may have holes
};

struct vocab {
    struct vocab_token *tokens; // by id
    uint32_t n_ids;             // one past the highest id
    uint32_t cap;
    struct text bytes;
    uint32_t *slots;  // open addressing: id + 1, or 0
    uint32_t n_slots; // a power of two
};

// Room to find n_tokens strings. Errors: ERR_NOMEM, ERR_RANGE (over
// VOCAB_IDS_MAX).
MUST_USE enum err vocab_init(struct vocab *vocab, size_t n_tokens);

void vocab_release(struct vocab *vocab);

// Give id its string (copied). vocab_find knows it if findable, which may be
// said for at most n_tokens strings. Errors: ERR_RANGE (id or length),
// ERR_EXISTS (the id has a string), ERR_NOMEM.
MUST_USE enum err vocab_add(struct vocab *vocab, uint32_t id, const char *ptr,
                            size_t len, bool findable);

// The id of a findable string. False if there is none.
bool vocab_find(const struct vocab *vocab, const char *ptr, size_t len,
                uint32_t *id);

// The string of an id, valid until the next vocab_add. False for ids that have
// none.
bool vocab_string(const struct vocab *vocab, uint32_t id, const char **ptr,
                  size_t *len);

#endif
