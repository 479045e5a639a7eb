// pretok.h - the pre-tokeniser: cuts normal text into the words that BPE sees.
#ifndef TOKENIZER_PRETOK_H
#define TOKENIZER_PRETOK_H

#include "tokenizer/pattern.h"
#include "tokenizer/text.h"

enum pretok_kind {
    PRETOK_SPLIT,      // cut at the matches of pattern
    PRETOK_BYTE_LEVEL, // cut at pattern if there is one; bytes to characters
    PRETOK_METASPACE,  // spaces become content; cut before each if split
};

// What becomes of a match when cutting there.
enum pretok_behaviour {
    PRETOK_REMOVED,
    PRETOK_ISOLATED,
    PRETOK_MERGED_WITH_PREVIOUS,
    PRETOK_MERGED_WITH_NEXT,
    PRETOK_CONTIGUOUS, // neighbouring matches are one
};

// When a word gets a space (or the content of Metaspace) in front that it has
// not got already.
enum pretok_prefix { PRETOK_NEVER, PRETOK_FIRST, PRETOK_ALWAYS };

enum { PRETOK_STEPS_MAX = 16 };

struct pretok_step {
    enum pretok_kind kind;
    struct pattern *pattern; // owned; NULL: do not cut
    enum pretok_behaviour behaviour;
    bool invert; // what is between the matches counts as the match
    enum pretok_prefix prefix;
    struct text content; // Metaspace's character; owned
};

struct pretok {
    struct pretok_step steps[PRETOK_STEPS_MAX];
    size_t n_steps;
};

// The pattern of ByteLevel with use_regex, which GPT-2 was trained with.
extern const char PRETOK_GPT2[];

// The character that stands for a byte in byte-level vocabularies: the byte
// itself where it is printable, else one from U+0100 on.
uint32_t pretok_byte_char(uint8_t byte);

// The byte that a character stands for, or -1.
int pretok_char_byte(uint32_t cp);

// Called with each word, which is valid UTF-8 and not empty.
typedef enum err pretok_fn(const char *word, size_t len, void *ctx);

// Memory of one call after the other. Start with {0}.
struct pretok_scratch {
    struct text changed[PRETOK_STEPS_MAX]; // a step's input, with its prefix
    struct text word[PRETOK_STEPS_MAX];    // its output, where bytes are mapped
};

void pretok_release(struct pretok *pretok);
void pretok_scratch_release(struct pretok_scratch *scratch);

// Call fn with the words of a text. first: the text starts where the whole
// input does. Errors: fn's, ERR_NOMEM, ERR_FULL (see pattern_walk_next).
MUST_USE enum err pretok_apply(const struct pretok *pretok, const char *ptr,
                               size_t len, bool first,
                               struct pretok_scratch *scratch, pretok_fn *fn,
                               void *ctx);

#endif
