#include "tokenizer/bpe.h"

#include <stdlib.h>

struct bpe_symbol {
    uint32_t id;        // BPE_NO_ID once it was joined to the one before
    int32_t prev, next; // neighbours, or -1
};

struct bpe_pair {
    uint32_t rank, pos; // pos: the left symbol
    uint32_t id;        // what the two would become
};

static uint32_t pair_hash(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * UINT64_C(0x9e3779b97f4a7c15);

    return (uint32_t)(h >> 32) ^ (uint32_t)(h >> 50);
}

enum err bpe_init_merges(struct bpe *bpe, size_t n)
{
    uint32_t n_slots = 16;

    if (n > BPE_MERGES_MAX)
        return ERR_RANGE;
    while (n_slots < n * 2)
        n_slots *= 2;
    bpe->merges = malloc(n_slots * sizeof *bpe->merges);
    if (!bpe->merges)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < n_slots; i++)
        bpe->merges[i].left = BPE_NO_ID;
    bpe->n_slots = n_slots;
    return ERR_OK;
}

// The slot of a pair, or the empty one where it would go.
static struct bpe_merge *merge_slot(const struct bpe *bpe, uint32_t left,
                                    uint32_t right)
{
    uint32_t i = pair_hash(left, right) & (bpe->n_slots - 1);

    for (;; i = (i + 1) & (bpe->n_slots - 1)) {
        struct bpe_merge *m = &bpe->merges[i];

        if (m->left == BPE_NO_ID || (m->left == left && m->right == right))
            return m;
    }
}

void bpe_merge(struct bpe *bpe, uint32_t left, uint32_t right, uint32_t rank,
               uint32_t id)
{
    *merge_slot(bpe, left, right) = (struct bpe_merge){left, right, rank, id};
}

void bpe_index(struct bpe *bpe)
{
    static const char digits[] = "0123456789ABCDEF";

    for (unsigned i = 0; i < 256; i++) {
        char name[] = {'<', '0', 'x', digits[i >> 4], digits[i & 15], '>'};

        if (!vocab_find(&bpe->vocab, name, sizeof name, &bpe->bytes[i]))
            bpe->bytes[i] = BPE_NO_ID;
    }
    for (uint32_t cp = 0; cp < BPE_CHARS; cp++) {
        char buf[4];

        if (!vocab_find(&bpe->vocab, buf, utf8_write(cp, buf), &bpe->chars[cp]))
            bpe->chars[cp] = BPE_NO_ID;
    }
}

void bpe_release(struct bpe *bpe)
{
    free(bpe->merges);
    vocab_release(&bpe->vocab);
    *bpe = (struct bpe){0};
}

void bpe_scratch_release(struct bpe_scratch *scratch)
{
    free(scratch->symbols);
    free(scratch->heap);
    *scratch = (struct bpe_scratch){0};
}

// Room for a word of len bytes. A merge takes one pair off the heap and adds at
// most two, and there are fewer merges than bytes.
static enum err scratch_reserve(struct bpe_scratch *s, size_t len)
{
    size_t cap = s->cap_symbols ? s->cap_symbols : 64;

    if (len > INT32_MAX / 4)
        return ERR_NOMEM;
    while (cap < len)
        cap *= 2;
    if (cap != s->cap_symbols) {
        struct bpe_symbol *p = realloc(s->symbols, cap * sizeof *p);
        if (!p)
            return ERR_NOMEM;
        s->symbols = p;

        struct bpe_pair *q = realloc(s->heap, 2 * cap * sizeof *q);
        if (!q)
            return ERR_NOMEM;
        s->heap = q;
        s->cap_symbols = cap;
        s->cap_heap = 2 * cap;
    }
    return ERR_OK;
}

static bool pair_before(const struct bpe_pair *a, const struct bpe_pair *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->pos < b->pos;
}

static void heap_push(struct bpe_pair *heap, size_t *n, struct bpe_pair pair)
{
    size_t i = (*n)++;

    while (i > 0 && pair_before(&pair, &heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = pair;
}

static struct bpe_pair heap_pop(struct bpe_pair *heap, size_t *n)
{
    struct bpe_pair top = heap[0], last = heap[--*n];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= *n)
            break;
        if (child + 1 < *n && pair_before(&heap[child + 1], &heap[child]))
            child++;
        if (!pair_before(&heap[child], &last))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

static void symbol_put(struct bpe_symbol *symbols, size_t *n, uint32_t id)
{
    symbols[*n] = (struct bpe_symbol){id, (int32_t)*n - 1, (int32_t)*n + 1};
    ++*n;
}

// The ids of a character's bytes; false if a byte has none.
static bool put_bytes(const struct bpe *bpe, const char *p, size_t len,
                      struct bpe_symbol *symbols, size_t *n)
{
    for (size_t i = 0; i < len; i++)
        if (bpe->bytes[(uint8_t)p[i]] == BPE_NO_ID)
            return false;
    for (size_t i = 0; i < len; i++)
        symbol_put(symbols, n, bpe->bytes[(uint8_t)p[i]]);
    return true;
}

// The word as symbols, one a character (or byte, or unknown run).
static size_t word_split(const struct bpe *bpe, const char *word, size_t len,
                         struct bpe_symbol *symbols)
{
    size_t n = 0;
    bool unknown = false; // one unk is still to be written

    for (size_t i = 0; i < len;) {
        uint32_t cp = 0, id = BPE_NO_ID;
        int step = utf8_next(word + i, len - i, &cp);
        size_t size = step > 0 ? (size_t)step : 1;
        const char *p = word + i;

        i += size;
        if (cp < BPE_CHARS)
            id = bpe->chars[cp];
        else if (!vocab_find(&bpe->vocab, p, size, &id))
            id = BPE_NO_ID;
        if (id != BPE_NO_ID) {
            if (unknown)
                symbol_put(symbols, &n, bpe->unk);
            unknown = false;
            symbol_put(symbols, &n, id);
            continue;
        }
        // As in the original, bytes do not end a run of unknown characters.
        if (bpe->byte_fallback && put_bytes(bpe, p, size, symbols, &n))
            continue;
        if (bpe->unk == BPE_NO_ID)
            continue;
        if (unknown && !bpe->fuse_unk)
            symbol_put(symbols, &n, bpe->unk);
        unknown = true;
    }
    if (unknown)
        symbol_put(symbols, &n, bpe->unk);
    if (n)
        symbols[n - 1].next = -1;
    return n;
}

static void push_pair(const struct bpe *bpe, struct bpe_scratch *s,
                      size_t *n_heap, int32_t left)
{
    int32_t right = left < 0 ? -1 : s->symbols[left].next;

    if (right < 0)
        return;
    const struct bpe_merge *m =
        merge_slot(bpe, s->symbols[left].id, s->symbols[right].id);
    if (m->left != BPE_NO_ID)
        heap_push(s->heap, n_heap,
                  (struct bpe_pair){m->rank, (uint32_t)left, m->id});
}

static void word_merge(const struct bpe *bpe, struct bpe_scratch *s, size_t n)
{
    struct bpe_symbol *symbols = s->symbols;
    size_t n_heap = 0;

    for (size_t i = 0; i + 1 < n; i++)
        push_pair(bpe, s, &n_heap, (int32_t)i);
    while (n_heap) {
        struct bpe_pair top = heap_pop(s->heap, &n_heap);
        struct bpe_symbol *left = &symbols[top.pos];

        if (left->id == BPE_NO_ID || left->next < 0)
            continue;
        struct bpe_symbol *right = &symbols[left->next];
        const struct bpe_merge *m = merge_slot(bpe, left->id, right->id);
        if (m->left == BPE_NO_ID || m->id != top.id)
            continue; // one of the two was joined elsewhere meanwhile

        left->id = top.id;
        left->next = right->next;
        right->id = BPE_NO_ID;
        if (left->next >= 0)
            symbols[left->next].prev = (int32_t)top.pos;
        push_pair(bpe, s, &n_heap, left->prev);
        push_pair(bpe, s, &n_heap, (int32_t)top.pos);
    }
}

enum err bpe_encode(const struct bpe *bpe, const char *word, size_t len,
                    struct bpe_scratch *scratch, struct token_ids *out)
{
    uint32_t id;

    if (bpe->ignore_merges && vocab_find(&bpe->vocab, word, len, &id))
        return token_ids_put(out, id);

    // One more than the bytes: a run of unknown characters can end late.
    enum err err = scratch_reserve(scratch, len + 1);
    if (err)
        return err;

    size_t n = word_split(bpe, word, len, scratch->symbols);
    word_merge(bpe, scratch, n);
    for (int32_t i = n ? 0 : -1; i >= 0 && !err; i = scratch->symbols[i].next)
        err = token_ids_put(out, scratch->symbols[i].id);
    return err;
}
