// text.h - bytes that grow, lists of token ids that grow, and UTF-8.
#ifndef TOKENIZER_TEXT_H
#define TOKENIZER_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

// Start with {0}. ptr is heap memory, not NUL-terminated; clear by len = 0.
struct text {
    char *ptr;
    size_t len, cap;
};

struct token_ids {
    uint32_t *ptr;
    size_t len, cap;
};

// Append n bytes, or one id. ERR_NOMEM changes nothing.
MUST_USE enum err text_put(struct text *text, const void *src, size_t n);
MUST_USE enum err token_ids_put(struct token_ids *ids, uint32_t id);

// Free the memory; the struct is {0} again.
void text_release(struct text *text);
void token_ids_release(struct token_ids *ids);

// Look at the character that starts at p (len >= 1 bytes are there). Returns
// its length 1..4 with *cp set; 0 if all len bytes are the beginning of a
// character that is cut off; -k if the first k bytes (1..3) are no UTF-8 and
// nothing that follows can make them so.
int utf8_next(const char *p, size_t len, uint32_t *cp);

// Write cp (at most 0x10FFFF) as UTF-8 to out; returns its length 1..4.
size_t utf8_write(uint32_t cp, char out[4]);

// Append bytes as valid UTF-8. What is not UTF-8 becomes U+FFFD, one for each
// maximal part that could have begun a character. If held is not NULL, a
// cut-off character at the end is not written: its length goes to *held.
MUST_USE enum err text_put_utf8(struct text *text, const char *src, size_t n,
                                size_t *held);

#endif
