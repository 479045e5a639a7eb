#include "engine/kv.h"

#include "engine/memory.h"
#include "splitter/format.h"

struct page {
    struct page *next; // in the free list
    uint32_t tokens[KV_PAGE];
    int8_t *data; // tiles
};

struct kv_slot {
    bool used;
    uint64_t id;
    uint32_t epoch;
    uint32_t n_rows;
    uint64_t round; // last used
    uint32_t n_pages;
    struct page **pages; // room for n_ctx rows
};

struct kv {
    struct kv_shape shape;
    size_t tile_bytes, page_bytes;
    uint32_t slot_pages; // pages of n_ctx rows
    uint32_t n_pages, n_pages_max;
    struct page *free;
    uint32_t n_slots;
    struct kv_slot *slots;
};

// Two planes of int8 and two rows of exponents.
static size_t tile_bytes(const struct kv_shape *shape)
{
    return (size_t)KV_PAGE * kv_width(shape->head_dim) * 2 + 2 * KV_PAGE;
}

static uint32_t slot_pages(const struct kv_shape *shape)
{
    return (shape->n_ctx + KV_PAGE - 1) / KV_PAGE;
}

// What one page takes of the allocator.
static size_t page_cost(size_t page_bytes)
{
    return page_bytes + MEMORY_ALIGN + sizeof(struct page);
}

static uint32_t pages_within(const struct kv *kv, size_t max_bytes)
{
    uint64_t all = (uint64_t)kv->slot_pages * kv->n_slots;
    uint64_t fit = max_bytes / page_cost(kv->page_bytes);

    if (max_bytes == 0 || fit > all)
        fit = all;
    return fit < 1 ? 1 : fit > UINT32_MAX ? UINT32_MAX : (uint32_t)fit;
}

size_t kv_seq_bytes(const struct kv_shape *shape)
{
    return slot_pages(shape) *
           page_cost(tile_bytes(shape) * shape->n_layers * shape->n_kv_heads);
}

size_t kv_slot_bytes(const struct kv_shape *shape, uint32_t n_slots)
{
    return n_slots *
           (sizeof(struct kv_slot) + slot_pages(shape) * sizeof(struct page *));
}

enum err kv_new(const struct kv_shape *shape, size_t max_bytes,
                uint32_t n_slots, struct kv **out)
{
    struct kv *kv = NULL;
    enum err err = ERR_OK;

    // With these the products below stay within 32 bits: 2^10 layers of 2^11
    // heads of 2^14 bytes would not, so the width is bounded too.
    if (shape->n_layers < 1 || shape->n_layers > ARCH_LAYERS_MAX ||
        shape->n_kv_heads < 1 || shape->head_dim < 1 ||
        shape->head_dim > ARCH_HEAD_MAX || shape->n_ctx < 1 ||
        shape->n_ctx > ARCH_CTX_MAX || n_slots < 1 ||
        shape->n_kv_heads > ARCH_WIDTH_MAX / shape->head_dim)
        return ERR_RANGE;
    uint64_t page_bytes =
        (uint64_t)tile_bytes(shape) * shape->n_layers * shape->n_kv_heads;
    if (page_bytes > SIZE_MAX / 2)
        return ERR_RANGE;

    kv = calloc(1, sizeof *kv);
    if (!kv)
        return ERR_NOMEM;
    kv->shape = *shape;
    kv->tile_bytes = tile_bytes(shape);
    kv->page_bytes = (size_t)page_bytes;
    kv->slot_pages = slot_pages(shape);
    kv->n_slots = n_slots;
    kv->n_pages_max = pages_within(kv, max_bytes);
    kv->slots = calloc(n_slots, sizeof *kv->slots);
    if (!kv->slots)
        err = ERR_NOMEM;
    for (uint32_t i = 0; i < n_slots && !err; i++) {
        kv->slots[i].pages = calloc(kv->slot_pages, sizeof(struct page *));
        if (!kv->slots[i].pages)
            err = ERR_NOMEM;
    }
    if (err) {
        kv_free(kv);
        return err;
    }
    *out = kv;
    return ERR_OK;
}

// Give all pages from `keep` on back to the pool.
static void slot_trim(struct kv *kv, struct kv_slot *slot, uint32_t keep)
{
    while (slot->n_pages > keep) {
        struct page *page = slot->pages[--slot->n_pages];

        page->next = kv->free;
        kv->free = page;
    }
}

static void slot_clear(struct kv *kv, struct kv_slot *slot)
{
    slot_trim(kv, slot, 0);
    slot->used = false;
    slot->n_rows = 0;
}

// Give a page of the free list back to the allocator.
static void page_free(struct kv *kv)
{
    struct page *page = kv->free;

    kv->free = page->next;
    kv->n_pages--;
    free(page->data);
    free(page);
}

void kv_free(struct kv *kv)
{
    if (!kv)
        return;
    for (uint32_t i = 0; kv->slots && i < kv->n_slots; i++) {
        if (kv->slots[i].pages)
            slot_clear(kv, &kv->slots[i]);
        free(kv->slots[i].pages);
    }
    while (kv->free)
        page_free(kv);
    free(kv->slots);
    free(kv);
}

static struct kv_slot *slot_find(struct kv *kv, uint64_t id)
{
    for (uint32_t i = 0; i < kv->n_slots; i++)
        if (kv->slots[i].used && kv->slots[i].id == id)
            return &kv->slots[i];
    return NULL;
}

// The used slot that was not needed for longest, before this round.
static struct kv_slot *slot_oldest(struct kv *kv, uint64_t round)
{
    struct kv_slot *oldest = NULL;

    for (uint32_t i = 0; i < kv->n_slots; i++) {
        struct kv_slot *slot = &kv->slots[i];

        if (slot->used && slot->round < round &&
            (!oldest || slot->round < oldest->round))
            oldest = slot;
    }
    return oldest;
}

static struct kv_slot *slot_take(struct kv *kv, uint64_t round)
{
    for (uint32_t i = 0; i < kv->n_slots; i++)
        if (!kv->slots[i].used)
            return &kv->slots[i];

    struct kv_slot *slot = slot_oldest(kv, round);

    if (slot)
        slot_clear(kv, slot);
    return slot;
}

enum err kv_open(struct kv *kv, uint64_t id, uint32_t epoch, uint32_t first,
                 uint32_t kv_valid, uint64_t round, struct kv_slot **out)
{
    struct kv_slot *slot = slot_find(kv, id);

    if (slot) {
        uint32_t rows = slot->n_rows;

        if (slot->epoch > epoch)
            return ERR_KV_MISSING;
        if (slot->epoch < epoch && rows > kv_valid)
            rows = kv_valid;
        if (rows < first)
            return ERR_KV_MISSING;
    } else {
        if (first > 0)
            return ERR_KV_MISSING;
        slot = slot_take(kv, round);
        if (!slot)
            return ERR_FULL;
        slot->used = true;
        slot->id = id;
    }
    slot->epoch = epoch;
    slot->n_rows = first;
    slot->round = round;
    slot_trim(kv, slot, (first + KV_PAGE - 1) / KV_PAGE);
    *out = slot;
    return ERR_OK;
}

static enum err page_new(struct kv *kv, struct page **out)
{
    struct page *page = calloc(1, sizeof *page);

    if (page)
        page->data = memory_new(kv->page_bytes, 1);
    if (!page || !page->data) {
        free(page);
        return ERR_NOMEM;
    }
    kv->n_pages++;
    *out = page;
    return ERR_OK;
}

static enum err page_take(struct kv *kv, uint64_t round, struct page **out)
{
    if (!kv->free && kv->n_pages < kv->n_pages_max)
        return page_new(kv, out);
    while (!kv->free) {
        struct kv_slot *slot = slot_oldest(kv, round);

        if (!slot)
            return ERR_FULL;
        slot_clear(kv, slot);
    }
    *out = kv->free;
    kv->free = kv->free->next;
    return ERR_OK;
}

enum err kv_reserve(struct kv *kv, struct kv_slot *slot, uint32_t n_rows,
                    uint64_t round)
{
    uint32_t want = (n_rows + KV_PAGE - 1) / KV_PAGE;
    uint32_t had = slot->n_pages;

    if (want > kv->slot_pages)
        return ERR_FULL;
    while (slot->n_pages < want) {
        enum err err = page_take(kv, round, &slot->pages[slot->n_pages]);

        if (err) {
            slot_trim(kv, slot, had);
            return err;
        }
        slot->n_pages++;
    }
    return ERR_OK;
}

void kv_limit(struct kv *kv, size_t max_bytes)
{
    kv->n_pages_max = pages_within(kv, max_bytes);
    while (kv->n_pages > kv->n_pages_max) {
        struct kv_slot *slot = NULL;

        if (kv->free) {
            page_free(kv);
            continue;
        }
        slot = slot_oldest(kv, UINT64_MAX);
        if (!slot) // pages are free or in slots
            return;
        slot_clear(kv, slot);
    }
}

void kv_drop(struct kv *kv, uint64_t id)
{
    struct kv_slot *slot = slot_find(kv, id);

    if (slot)
        slot_clear(kv, slot);
}

uint32_t kv_rows(const struct kv_slot *slot)
{
    return slot->n_rows;
}

void kv_set_rows(struct kv_slot *slot, uint32_t n_rows)
{
    slot->n_rows = n_rows;
}

uint32_t kv_token(const struct kv_slot *slot, uint32_t position)
{
    return slot->pages[position / KV_PAGE]->tokens[position % KV_PAGE];
}

void kv_set_token(struct kv_slot *slot, uint32_t position, uint32_t token)
{
    slot->pages[position / KV_PAGE]->tokens[position % KV_PAGE] = token;
}

struct kv_tile kv_tile(const struct kv *kv, const struct kv_slot *slot,
                       uint32_t page, uint32_t layer, uint32_t head)
{
    size_t plane = (size_t)KV_PAGE * kv_width(kv->shape.head_dim);
    int8_t *data =
        slot->pages[page]->data +
        ((size_t)layer * kv->shape.n_kv_heads + head) * kv->tile_bytes;
    uint8_t *exps = (uint8_t *)(data + 2 * plane);

    return (struct kv_tile){data, data + plane, exps, exps + KV_PAGE};
}

uint32_t kv_free_slots(const struct kv *kv)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < kv->n_slots; i++)
        n += !kv->slots[i].used;
    return n;
}

size_t kv_bytes(const struct kv *kv)
{
    return kv->n_pages * page_cost(kv->page_bytes) +
           kv_slot_bytes(&kv->shape, kv->n_slots);
}
