// tokenizer.h - text to token ids and back, as a Hugging Face tokenizer.json
// says: byte-level BPE (GPT-2, Llama 3, Qwen2) and BPE of the SentencePiece
// kind (Llama 2).
//
// Supported: models of type BPE; normalisers NFC, NFD, NFKC, NFKD, Prepend,
// Replace, Sequence; pre-tokenisers ByteLevel, Split, Metaspace, Digits,
// Sequence; post-processors ByteLevel, TemplateProcessing, Sequence; decoders
// ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence; added
// tokens with all their flags. Anything else is refused by name. The file's
// truncation and padding are ignored: they are the caller's business.
//
// A struct tokenizer never changes after it was loaded, so several threads may
// use one at once.
#ifndef TOKENIZER_TOKENIZER_H
#define TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tokenizer/text.h"

enum {
    TOKENIZER_FILE_MAX = 128 << 20, // bytes of tokenizer.json
    TOKENIZER_TEXT_MAX = 64 << 20,  // bytes of one text to encode
};

enum { // flags of tokenizer_encode and tokenizer_decode
    // encode: put the tokens of the post-processor's template (such as the
    // beginning-of-text token) around the text's. GPT-2 has none.
    TOKENIZER_ADD_SPECIAL = 1,
    // encode: special tokens that are spelled out in the text are plain text.
    TOKENIZER_PLAIN = 2,
    // decode: leave out special tokens.
    TOKENIZER_SKIP_SPECIAL = 4,
};

struct tokenizer;

// Load a tokenizer.json from a file or from memory. On error *why (a caller's
// buffer of why_len >= 1 bytes) says in one line what was wrong and where.
// Errors: ERR_IO and ERR_NOT_FOUND (the file), ERR_FORMAT, ERR_RANGE,
// ERR_UNSUPPORTED, ERR_EXISTS (an id or token is there twice), ERR_NOMEM.
MUST_USE enum err tokenizer_load(const char *path, struct tokenizer **out,
                                 char *why, size_t why_len);
MUST_USE enum err tokenizer_parse(const char *json, size_t len,
                                  struct tokenizer **out, char *why,
                                  size_t why_len);

void tokenizer_free(struct tokenizer *t);

// One past the highest token id. A model's vocabulary may be larger (padded).
uint32_t tokenizer_n_ids(const struct tokenizer *t);

// The id of a token by its exact string, such as "<|endoftext|>". False if
// there is none.
bool tokenizer_find(const struct tokenizer *t, const char *token, uint32_t *id);

// Whether id is a special token.
bool tokenizer_is_special(const struct tokenizer *t, uint32_t id);

// Append the ids of a text. What is not UTF-8 in it is read as U+FFFD, so any
// bytes can be encoded. On error out may have got some of the ids. Errors:
// ERR_RANGE (longer than TOKENIZER_TEXT_MAX), ERR_FULL (a regular expression
// of the file backtracks without end), ERR_NOMEM.
MUST_USE enum err tokenizer_encode(const struct tokenizer *t, const char *text,
                                   size_t len, int flags,
                                   struct token_ids *out);

// Append the bytes of n ids. They are the bytes that the tokens stand for, so
// they are UTF-8 only as far as the tokens made it so: text_put_utf8 repairs
// that. Ids without a token give nothing. Error: ERR_NOMEM.
MUST_USE enum err tokenizer_decode(const struct tokenizer *t,
                                   const uint32_t *ids, size_t n, int flags,
                                   struct text *out);

// The same as text: valid UTF-8, with U+FFFD for what is not (also for a
// character that is cut off at the end).
MUST_USE enum err tokenizer_decode_text(const struct tokenizer *t,
                                        const uint32_t *ids, size_t n,
                                        int flags, struct text *out);

// Decoding a token at a time. What put and end append is, together, what
// tokenizer_decode_text would give; characters that are cut off wait in held.
struct tokenizer_stream {
    const struct tokenizer *tokenizer; // borrowed
    int flags;
    bool begun;      // a token was put
    size_t stripped; // see decoder_put
    char held[4];
    size_t n_held;
};

void tokenizer_stream_init(struct tokenizer_stream *stream,
                           const struct tokenizer *t, int flags);

// Append the text that id completes, which may be empty. Error: ERR_NOMEM.
MUST_USE enum err tokenizer_stream_put(struct tokenizer_stream *stream,
                                       uint32_t id, struct text *out);

// Append U+FFFD if a character was left unfinished. Error: ERR_NOMEM.
MUST_USE enum err tokenizer_stream_end(struct tokenizer_stream *stream,
                                       struct text *out);

#endif
