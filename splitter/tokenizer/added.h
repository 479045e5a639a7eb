// added.h - tokens that are found in the text before anything else is done.
#ifndef TOKENIZER_ADDED_H
#define TOKENIZER_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { ADDED_NONE = 0x7fffffff };

struct added_token {
    uint32_t id;
    bool single_word;    // only where no word character touches it
    bool lstrip, rstrip; // takes the white space on that side too
    bool special;        // left out of decoded text
};

struct added_node {
    uint32_t child, sibling; // 0: none
    uint32_t token;          // index of the token that ends here, or ADDED_NONE
    uint8_t byte;
};

// The strings to find, as a tree by their bytes. Start with {0}.
struct added {
    struct added_node *nodes; // node 0 is the root
    size_t n_nodes, cap_nodes;
    struct added_token *tokens;
    size_t n_tokens, cap_tokens;
    uint32_t root[256]; // the root's child by byte, or 0
};

void added_release(struct added *added);

// Add a string (not empty). A string that is there already keeps its token.
MUST_USE enum err added_put(struct added *added, const char *ptr, size_t len,
                            const struct added_token *token);

// Find the next token in text at or after *at, the longest where several start
// at one place. Text [*at, *start) is before it, [*start, *end) is its own.
// *at goes to *end. Returns NULL if there is none, with *start = len.
const struct added_token *added_next(const struct added *added,
                                     const char *text, size_t len, size_t *at,
                                     size_t *start, size_t *end);

#endif
