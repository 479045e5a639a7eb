// decoder.h - from token ids back to bytes. What each token gives is worked out
// once at load; only the first token of a text may give less.
#ifndef TOKENIZER_DECODER_H
#define TOKENIZER_DECODER_H

#include "tokenizer/text.h"
#include "tokenizer/vocab.h"

enum decoder_kind {
    DECODER_BYTE_LEVEL,    // characters to bytes; a token with others stays
    DECODER_BYTE_FALLBACK, // <0xHH> to that byte
    DECODER_REPLACE,       // from becomes to
    DECODER_STRIP,     // up to start times from off the front, stop off the end
    DECODER_METASPACE, // from becomes a space; in the first token it goes
};

enum { DECODER_STEPS_MAX = 16 };

struct decoder_step {
    enum decoder_kind kind;
    struct text from, to; // owned
    size_t start, stop;
};

struct decoder {
    struct decoder_step steps[DECODER_STEPS_MAX];
    size_t n_steps;
    bool first_differs; // a Metaspace step that drops from in the first token
    char strip_char;    // off the front of the whole text,
    size_t strip_max;   // up to so many times
    struct text bytes;  // what the tokens give, one after the other
    size_t *offs;       // of each id, and one more; NULL before the index
};

void decoder_release(struct decoder *decoder);

// Work out what every id of vocab gives. Errors: ERR_NOMEM.
MUST_USE enum err decoder_index(struct decoder *decoder,
                                const struct vocab *vocab);

// Append what a token gives. *stripped (0 at the start of a text) counts what
// was taken off the front; SIZE_MAX says that nothing more will be.
MUST_USE enum err decoder_put(const struct decoder *decoder,
                              const struct vocab *vocab, uint32_t id,
                              bool first, size_t *stripped, struct text *out);

#endif
