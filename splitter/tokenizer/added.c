#include "tokenizer/added.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "tokenizer/text.h"

void added_release(struct added *added)
{
    free(added->nodes);
    free(added->tokens);
    *added = (struct added){0};
}

static enum err node_new(struct added *added, uint8_t byte, uint32_t *out)
{
    if (added->n_nodes == added->cap_nodes) {
        size_t cap = added->cap_nodes ? added->cap_nodes * 2 : 64;
        struct added_node *p = realloc(added->nodes, cap * sizeof *p);

        if (!p)
            return ERR_NOMEM;
        added->nodes = p;
        added->cap_nodes = cap;
    }
    added->nodes[added->n_nodes] =
        (struct added_node){.token = ADDED_NONE, .byte = byte};
    *out = (uint32_t)added->n_nodes++;
    return ERR_OK;
}

static uint32_t node_child(const struct added *added, uint32_t node,
                           uint8_t byte)
{
    if (node == 0)
        return added->root[byte];
    for (node = added->nodes[node].child; node;
         node = added->nodes[node].sibling)
        if (added->nodes[node].byte == byte)
            return node;
    return 0;
}

static enum err node_descend(struct added *added, uint32_t node, uint8_t byte,
                             uint32_t *out)
{
    uint32_t child = node_child(added, node, byte);
    enum err err = ERR_OK;

    if (!child) {
        err = node_new(added, byte, &child);
        if (err)
            return err;
        if (node == 0) {
            added->root[byte] = child;
        } else {
            added->nodes[child].sibling = added->nodes[node].child;
            added->nodes[node].child = child;
        }
    }
    *out = child;
    return ERR_OK;
}

enum err added_put(struct added *added, const char *ptr, size_t len,
                   const struct added_token *token)
{
    enum err err = ERR_OK;
    uint32_t node = 0;

    if (added->n_nodes == 0)
        err = node_new(added, 0, &node);
    if (!err && added->n_tokens == added->cap_tokens) {
        size_t cap = added->cap_tokens ? added->cap_tokens * 2 : 16;
        struct added_token *p = realloc(added->tokens, cap * sizeof *p);

        if (!p)
            return ERR_NOMEM;
        added->tokens = p;
        added->cap_tokens = cap;
    }
    for (size_t i = 0; i < len && !err; i++)
        err = node_descend(added, node, (uint8_t)ptr[i], &node);
    if (err || added->nodes[node].token != ADDED_NONE)
        return err;
    added->nodes[node].token = (uint32_t)added->n_tokens;
    added->tokens[added->n_tokens++] = *token;
    return ERR_OK;
}

static bool is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 || cp == 0xa0 ||
           cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static bool is_word(uint32_t cp)
{
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: // the joiners count as part of words
        return cp == 0x200c || cp == 0x200d;
    }
}

// The character before position i > 0, and where it starts.
static uint32_t char_before(const char *text, size_t i, size_t *start)
{
    uint32_t cp = 0;
    size_t end = i;

    do {
        i--;
    } while (i > 0 && ((uint8_t)text[i] & 0xC0) == 0x80);
    *start = i;
    (void)utf8_next(text + i, end - i, &cp);
    return cp;
}

static bool stands_alone(const char *text, size_t len, size_t start, size_t end)
{
    uint32_t cp = 0;
    size_t before;

    if (start > 0 && is_word(char_before(text, start, &before)))
        return false;
    return end == len || utf8_next(text + end, len - end, &cp) <= 0 ||
           !is_word(cp);
}

// The longest token that starts at text[i], or NULL; *end is where it ends.
static const struct added_token *token_at(const struct added *added,
                                          const char *text, size_t len,
                                          size_t i, size_t *end)
{
    const struct added_token *best = NULL;
    uint32_t node = 0;

    while (i < len && (node = node_child(added, node, (uint8_t)text[i]))) {
        i++;
        if (added->nodes[node].token != ADDED_NONE) {
            best = &added->tokens[added->nodes[node].token];
            *end = i;
        }
    }
    return best;
}

const struct added_token *added_next(const struct added *added,
                                     const char *text, size_t len, size_t *at,
                                     size_t *start, size_t *end)
{
    size_t floor = *at; // what is before belongs to others

    for (size_t i = *at, stop = 0, before; i < len;) {
        const struct added_token *t = token_at(added, text, len, i, &stop);
        uint32_t cp;

        if (!t) {
            i++;
            continue;
        }
        if (t->single_word && !stands_alone(text, len, i, stop)) {
            i = stop;
            continue;
        }
        while (t->lstrip && i > floor &&
               is_space(char_before(text, i, &before)))
            i = before;
        for (int n; t->rstrip && stop < len; stop += (size_t)n) {
            n = utf8_next(text + stop, len - stop, &cp);
            if (n <= 0 || !is_space(cp))
                break;
        }
        *start = i;
        *end = *at = stop;
        return t;
    }
    *start = *end = *at = len;
    return NULL;
}
