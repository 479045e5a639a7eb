// bpe.h - byte-pair encoding of one word: split into characters, then join the
// neighbours that come first in the list of merges until none is left.
#ifndef TOKENIZER_BPE_H
#define TOKENIZER_BPE_H

#include "tokenizer/text.h"
#include "tokenizer/vocab.h"

enum {
    BPE_MERGES_MAX = 1 << 21,
    BPE_CHARS = 512, // code points looked up by table
    BPE_NO_ID = 0x7fffffff,
};

struct bpe_merge {
    uint32_t left, right; // ids; left is BPE_NO_ID in an empty slot
    uint32_t rank, id;    // its place in the list, what the two become
};

struct bpe {
    struct vocab vocab;
    struct bpe_merge *merges; // open addressing
    uint32_t n_slots;         // a power of two
    uint32_t unk;             // for unknown characters, or BPE_NO_ID: drop them
    bool fuse_unk;            // neighbouring unknown characters become one
    bool byte_fallback;       // unknown characters become bytes, <0x00>..<0xFF>
    bool ignore_merges;       // a word that is a token is that token
    uint32_t bytes[256];      // ids of <0x00>..<0xFF>, or BPE_NO_ID
    uint32_t chars[BPE_CHARS]; // ids of the first code points, or BPE_NO_ID
};

// Room for n merges. Errors: ERR_NOMEM, ERR_RANGE (over BPE_MERGES_MAX).
MUST_USE enum err bpe_init_merges(struct bpe *bpe, size_t n);

// Set a merge; for a pair that was set before the new rank counts.
void bpe_merge(struct bpe *bpe, uint32_t left, uint32_t right, uint32_t rank,
               uint32_t id);

// Fill bytes and chars once the vocabulary is complete.
void bpe_index(struct bpe *bpe);

void bpe_release(struct bpe *bpe);

// Memory that words use one after the other. Start with {0}.
struct bpe_scratch {
    struct bpe_symbol *symbols;
    struct bpe_pair *heap;
    size_t cap_symbols, cap_heap; // elements
};

void bpe_scratch_release(struct bpe_scratch *scratch);

// Append the ids of a word, which is valid UTF-8. Time grows as n log n with
// its length. Error: ERR_NOMEM.
MUST_USE enum err bpe_encode(const struct bpe *bpe, const char *word,
                             size_t len, struct bpe_scratch *scratch,
                             struct token_ids *out);

#endif
