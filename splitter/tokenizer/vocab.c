#include "tokenizer/vocab.h"

#include <stdlib.h>
#include <string.h>

// FNV-1a, then mixed so that the low bits depend on all.
static uint32_t hash(const char *ptr, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++) {
        h ^= (uint8_t)ptr[i];
        h *= UINT64_C(0x100000001b3);
    }
    h ^= h >> 32;
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32);
}

enum err vocab_init(struct vocab *vocab, size_t n_tokens)
{
    uint32_t n_slots = 16;

    if (n_tokens > VOCAB_IDS_MAX)
        return ERR_RANGE;
    while (n_slots < n_tokens * 2)
        n_slots *= 2;
    *vocab = (struct vocab){0};
    vocab->slots = calloc(n_slots, sizeof *vocab->slots);
    if (!vocab->slots)
        return ERR_NOMEM;
    vocab->n_slots = n_slots;
    return ERR_OK;
}

void vocab_release(struct vocab *vocab)
{
    free(vocab->slots);
    free(vocab->tokens);
    text_release(&vocab->bytes);
    *vocab = (struct vocab){0};
}

static enum err reserve(struct vocab *vocab, uint32_t id)
{
    uint32_t cap = vocab->cap ? vocab->cap : 256;

    while (cap <= id)
        cap *= 2;
    if (cap == vocab->cap)
        return ERR_OK;

    struct vocab_token *p = realloc(vocab->tokens, cap * sizeof *p);
    if (!p)
        return ERR_NOMEM;
    memset(p + vocab->cap, 0, (cap - vocab->cap) * sizeof *p);
    vocab->tokens = p;
    vocab->cap = cap;
    return ERR_OK;
}

enum err vocab_add(struct vocab *vocab, uint32_t id, const char *ptr,
                   size_t len, bool findable)
{
    if (id >= VOCAB_IDS_MAX || len > VOCAB_TOKEN_MAX)
        return ERR_RANGE;

    enum err err = reserve(vocab, id);
    if (err)
        return err;
    if (vocab->tokens[id].there)
        return ERR_EXISTS;

    size_t off = vocab->bytes.len;
    err = text_put(&vocab->bytes, ptr, len);
    if (err)
        return err;
    vocab->tokens[id] = (struct vocab_token){off, (uint32_t)len, true};
    if (id >= vocab->n_ids)
        vocab->n_ids = id + 1;
    if (findable) {
        uint32_t slot = hash(ptr, len) & (vocab->n_slots - 1);
        while (vocab->slots[slot])
            slot = (slot + 1) & (vocab->n_slots - 1);
        vocab->slots[slot] = id + 1;
    }
    return ERR_OK;
}

bool vocab_string(const struct vocab *vocab, uint32_t id, const char **ptr,
                  size_t *len)
{
    if (id >= vocab->n_ids || !vocab->tokens[id].there)
        return false;
    *ptr = vocab->bytes.ptr + vocab->tokens[id].off;
    *len = vocab->tokens[id].len;
    return true;
}

bool vocab_find(const struct vocab *vocab, const char *ptr, size_t len,
                uint32_t *id)
{
    uint32_t slot = hash(ptr, len) & (vocab->n_slots - 1);

    for (; vocab->slots[slot]; slot = (slot + 1) & (vocab->n_slots - 1)) {
        const struct vocab_token *t = &vocab->tokens[vocab->slots[slot] - 1];

        if (t->len == len &&
            (len == 0 || !memcmp(vocab->bytes.ptr + t->off, ptr, len))) {
            *id = vocab->slots[slot] - 1;
            return true;
        }
    }
    return false;
}
