// inside.h - what a struct tokenizer consists of; for this folder only.
#ifndef TOKENIZER_INSIDE_H
#define TOKENIZER_INSIDE_H

#include "tokenizer/added.h"
#include "tokenizer/bpe.h"
#include "tokenizer/decoder.h"
#include "tokenizer/norm.h"
#include "tokenizer/pretok.h"

struct tokenizer {
    struct bpe bpe;      // its vocab has the strings of the added tokens, too,
    struct vocab names;  // but finds only the model's; names finds the added
    uint8_t *special;    // by id: 1 for special tokens
    struct added raw;    // found in the text as it came
    struct added normal; // found in normal text, by their normal form
    struct norm norm;
    struct pretok pretok;
    struct decoder decoder;
    struct token_ids before, after; // the template around a text
};

#endif
