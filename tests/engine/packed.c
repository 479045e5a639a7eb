#include "packed.h"

#include <string.h>

#include "check.h"
#include "engine/memory.h"

enum { TENSORS_MAX = 16 * 1024, WHY_LEN = 256 };

struct memory_sink {
    struct tensor *tensors;
    size_t n, at, filled;
};

static enum err on_declare(void *ctx, const char *name, enum tensor_dtype dtype,
                           uint32_t n_dims, const uint32_t *dims)
{
    struct memory_sink *s = ctx;
    struct tensor *t = &s->tensors[s->n++];

    CHECK(s->n <= TENSORS_MAX);
    CHECK(strlen(name) <= TENSOR_NAME_MAX);
    memcpy(t->name, name, strlen(name) + 1);
    t->dtype = dtype;
    t->n_dims = n_dims;
    t->n_bytes = format_dtype_size(dtype);
    for (uint32_t i = 0; i < n_dims; i++) {
        t->dims[i] = dims[i];
        t->n_bytes *= dims[i];
    }
    t->data = memory_new(t->n_bytes, 1);
    CHECK(t->data);
    return ERR_OK;
}

static enum err on_begin(void *ctx)
{
    (void)ctx;
    return ERR_OK;
}

static enum err on_write(void *ctx, const void *data, size_t n)
{
    struct memory_sink *s = ctx;

    if (s->filled == s->tensors[s->at].n_bytes) {
        s->at++;
        s->filled = 0;
    }
    struct tensor *t = &s->tensors[s->at];

    CHECK(s->at < s->n && n <= t->n_bytes - s->filled);
    memcpy((uint8_t *)(uintptr_t)t->data + s->filled, data, n);
    s->filled += n;
    return ERR_OK;
}

struct packed packed_from(const char *hf_dir, uint32_t n_shards, bool equalise)
{
    struct quantise_options options = {n_shards, equalise};
    struct packed p = {n_shards, calloc(n_shards, sizeof *p.shards)};
    struct source *src;
    struct quantise *q;
    char why[WHY_LEN] = "";

    CHECK(p.shards);
    if (source_open(hf_dir, &src, why, sizeof why) ||
        quantise_new(src, &options, &q, why, sizeof why)) {
        fprintf(stderr, "%s: %s\n", hf_dir, why);
        exit(1);
    }
    for (uint32_t i = 0; i < n_shards; i++) {
        struct memory_sink s = {calloc(TENSORS_MAX, sizeof(struct tensor)), 0,
                                0, 0};
        struct quantise_sink sink = {&s, on_declare, on_begin, on_write};
        uint64_t n_bytes = 0;

        CHECK(s.tensors);
        CHECK_EQ(quantise_shard(q, i, &sink, why, sizeof why), ERR_OK);
        CHECK_EQ(s.at, s.n - 1);
        for (size_t t = 0; t < s.n; t++)
            n_bytes += s.tensors[t].n_bytes;
        CHECK_EQ(n_bytes, quantise_shard_bytes(q, i));
        p.shards[i] = (struct engine_shard){s.tensors, s.n};
    }
    quantise_free(q);
    source_free(src);
    return p;
}

void packed_release(struct packed *p)
{
    for (uint32_t i = 0; i < p->n_shards; i++) {
        for (size_t t = 0; t < p->shards[i].n_tensors; t++)
            free((void *)(uintptr_t)p->shards[i].tensors[t].data);
        free((void *)(uintptr_t)p->shards[i].tensors);
    }
    free(p->shards);
}

struct engine *packed_engine(const struct packed *p, uint32_t first,
                             uint32_t end, const struct engine_options *options)
{
    struct engine *engine;
    char why[WHY_LEN] = "";

    if (engine_new(p->shards + first, end - first, options, &engine, why,
                   sizeof why)) {
        fprintf(stderr, "engine_new: %s\n", why);
        exit(1);
    }
    return engine;
}

struct tensor *packed_find(const struct packed *p, uint32_t shard,
                           const char *name)
{
    for (size_t i = 0; i < p->shards[shard].n_tensors; i++) {
        const struct tensor *t = &p->shards[shard].tensors[i];

        if (strcmp(t->name, name) == 0)
            return (struct tensor *)(uintptr_t)t;
    }
    fprintf(stderr, "no tensor %s\n", name);
    exit(1);
}
