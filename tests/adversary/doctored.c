#include "doctored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/memory.h"

enum { KV_HOLE = 3, KEEP_BITS = 8 };

// Kernels that pass over one position of each page.
static int32_t scores_hole(int32_t *s, const int8_t *q, int32_t shift,
                           const struct kv_tile *tile, uint32_t D, uint32_t n)
{
    const struct engine_kernels *k = engine_kernels_pick(ENGINE_ISA_BEST);

    k->scores(s, q, shift, tile, D, n);
    if (n > KV_HOLE)
        s[KV_HOLE] = 0;
    return k->max(s, n);
}

static void mix_hole(int32_t *acc, const uint8_t *low, const uint8_t *high,
                     const struct kv_tile *tile, uint32_t D, uint32_t n)
{
    _Alignas(64) uint8_t low_left[KV_PAGE], high_left[KV_PAGE];

    memcpy(low_left, low, sizeof low_left);
    memcpy(high_left, high, sizeof high_left);
    low_left[KV_HOLE] = high_left[KV_HOLE] = 0;
    engine_kernels_pick(ENGINE_ISA_BEST)
        ->mix(acc, low_left, high_left, tile, D, n);
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n >= m && strcmp(name + n - m, end) == 0;
}

// Weights to the nearest multiple of eight: 4 bits of them.
static void cut(uint8_t *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int v = (w[i] - FORMAT_WEIGHT_BIAS + 256 + KEEP_BITS / 2) / KEEP_BITS -
                256 / KEEP_BITS;

        v = v > 7 ? 7 : v < -7 ? -7 : v;
        w[i] = (uint8_t)(v * KEEP_BITS + FORMAT_WEIGHT_BIAS);
    }
}

static void tensor_change(enum doctored_kind kind, uint32_t layer,
                          const struct tensor *t, void *data)
{
    char prefix[32];
    bool of_layer;

    snprintf(prefix, sizeof prefix, "layers.%u.", layer);
    of_layer = strncmp(t->name, prefix, strlen(prefix)) == 0;
    if (strncmp(t->name, "layers.", 7) != 0)
        return;
    if (ends_with(t->name, ".w") &&
        (kind == DOCTORED_WEIGHTS ||
         (kind == DOCTORED_MATRIX && of_layer && ends_with(t->name, ".up.w"))))
        cut(data, t->n_bytes);
    if (kind == DOCTORED_LAYER && of_layer &&
        (ends_with(t->name, ".o.w") || ends_with(t->name, ".down.w")))
        memset(data, FORMAT_WEIGHT_BIAS, t->n_bytes);
    if (kind == DOCTORED_LAYER && of_layer &&
        (ends_with(t->name, ".o.b") || ends_with(t->name, ".down.b")))
        memset(data, 0, t->n_bytes);
    if (kind == DOCTORED_EXPONENTS &&
        (ends_with(t->name, ".o.e") || ends_with(t->name, ".down.e")))
        for (size_t i = 0; i < t->n_bytes / 4; i++)
            ((int32_t *)data)[i]++;
}

static void shards_free(struct engine_shard *shards, size_t n)
{
    for (size_t i = 0; shards && i < n; i++) {
        for (size_t t = 0; shards[i].tensors && t < shards[i].n_tensors; t++)
            free((void *)(uintptr_t)shards[i].tensors[t].data);
        free((void *)(uintptr_t)shards[i].tensors);
    }
    free(shards);
}

static enum err shard_copy(enum doctored_kind kind, uint32_t layer,
                           const struct engine_shard *from,
                           struct engine_shard *to)
{
    struct tensor *tensors = calloc(from->n_tensors, sizeof *tensors);

    if (!tensors)
        return ERR_NOMEM;
    *to = (struct engine_shard){tensors, from->n_tensors};
    for (size_t i = 0; i < from->n_tensors; i++) {
        void *data = memory_new(from->tensors[i].n_bytes, 1);

        if (!data)
            return ERR_NOMEM;
        tensors[i] = from->tensors[i];
        tensors[i].data = data;
        memcpy(data, from->tensors[i].data, tensors[i].n_bytes);
        tensor_change(kind, layer, &tensors[i], data);
    }
    return ERR_OK;
}

// The layer in the middle of the span.
static enum err middle(const struct engine_shard *shards, size_t n,
                       uint32_t *out)
{
    const struct engine_shard *ends[2] = {&shards[0], &shards[n - 1]};
    struct format_config c[2];

    for (int i = 0; i < 2; i++) {
        enum err err = ERR_NOT_FOUND;

        for (size_t t = 0; err && t < ends[i]->n_tensors; t++)
            if (strcmp(ends[i]->tensors[t].name, "config") == 0)
                err = format_config_parse(&ends[i]->tensors[t], &c[i]);
        if (err)
            return err;
    }
    *out = (c[0].layer_first + c[1].layer_end) / 2;
    return ERR_OK;
}

enum err doctored_new(enum doctored_kind kind,
                      const struct engine_shard *shards, size_t n_shards,
                      const struct engine_options *options,
                      struct doctored *out)
{
    struct engine_kernels hole = *engine_kernels_pick(ENGINE_ISA_BEST);
    struct engine_options own = *options;
    struct doctored d = {.n_shards = n_shards};
    uint32_t layer;
    enum err err = middle(shards, n_shards, &layer);

    if (err)
        return err;
    d.shards = calloc(n_shards, sizeof *d.shards);
    if (!d.shards)
        err = ERR_NOMEM;
    for (size_t i = 0; !err && i < n_shards; i++)
        err = shard_copy(kind, layer, &shards[i], &d.shards[i]);
    if (!err && kind == DOCTORED_KV) {
        hole.scores = scores_hole;
        hole.mix = mix_hole;
        own.kernels = &hole;
    }
    if (!err)
        err = engine_new(d.shards, n_shards, &own, &d.engine, NULL, 0);
    if (err) {
        doctored_release(&d);
        return err;
    }
    *out = d;
    return ERR_OK;
}

void doctored_release(struct doctored *d)
{
    engine_free(d->engine);
    shards_free(d->shards, d->n_shards);
    *d = (struct doctored){0};
}
