#include "native/models.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "native/account.h"
#include "native/pool.h"
#include "native/probe.h"
#include "splitter/file_map.h"
#include "splitter/manifest.h"
#include "splitter/shard.h"

enum { SEQS_MAX = 64 }; // sequences held by one engine, at most

struct mapped {
    struct file_map map;
    struct tensor *tensors;
};

struct entry {
    struct native_model model;
    struct manifest manifest;
    struct mapped *shards; // manifest.n_shards
    struct native_pool *pool;
    uint64_t n_bytes; // of the budget, KV included
};

struct native_models {
    struct native_models_config config;
    const struct engine_kernels *kernels;
    struct entry *entries[NATIVE_MODELS_MAX];
    atomic_size_t n_entries; // raised once the entry is ready
    uint64_t n_bytes;        // of the budget taken
};

static uint64_t clock_us(void *ctx)
{
    struct timespec ts;

    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

enum err native_models_new(const struct native_models_config *config,
                           struct native_models **out)
{
    const struct engine_kernels *kernels = engine_kernels_pick(config->isa);
    struct native_models *models;

    if (!kernels)
        return ERR_UNSUPPORTED;
    models = calloc(1, sizeof *models);
    if (!models)
        return ERR_NOMEM;
    models->config = *config;
    models->kernels = kernels;
    *out = models;
    return ERR_OK;
}

static void entry_free(struct entry *entry)
{
    if (!entry)
        return;
    engine_free(entry->model.engine);
    native_pool_free(entry->pool);
    for (uint32_t i = 0; entry->shards && i < entry->manifest.n_shards; i++) {
        free(entry->shards[i].tensors);
        file_map_release(&entry->shards[i].map);
    }
    free(entry->shards);
    manifest_release(&entry->manifest);
    free(entry);
}

void native_models_free(struct native_models *models)
{
    if (!models)
        return;
    for (size_t i = 0; i < atomic_load(&models->n_entries); i++)
        entry_free(models->entries[i]);
    free(models);
}

static enum err manifest_read(struct entry *entry, const char *folder,
                              struct why why)
{
    struct file_map map = {0};
    uint8_t digest[SHA256_LEN];
    enum err err = file_map_init(&map, folder, MANIFEST_FILE, why);

    if (err)
        return err;
    err = manifest_parse(map.data, map.len, why, &entry->manifest);
    sha256(map.data, map.len, digest);
    memcpy(entry->model.id, digest, SYN1_ID_LEN);
    file_map_release(&map);
    return err;
}

// Map the shards and give out the views that an engine binds.
static enum err shards_map(struct entry *entry, const char *folder,
                           struct engine_shard *views, struct why why)
{
    for (uint32_t i = 0; i < entry->manifest.n_shards; i++) {
        const struct manifest_file *file = &entry->manifest.shards[i].file;
        struct mapped *s = &entry->shards[i];
        enum err err = file_map_init(&s->map, folder, file->name, why);

        if (err)
            return err;
        if (s->map.len != file->n_bytes)
            return why_fail(why, ERR_TRUNCATED, "%s/%s: has the wrong size",
                            folder, file->name);
        err = shard_parse(s->map.data, s->map.len, file->name, why, &s->tensors,
                          &views[i].n_tensors);
        if (err)
            return err;
        views[i].tensors = s->tensors;
        entry->model.n_bytes += s->map.len;
    }
    return ERR_OK;
}

// Bytes of KV that a sequence of the full context takes.
static uint64_t kv_bytes_each(const struct arch *arch)
{
    uint64_t pages = (arch->n_ctx + KV_PAGE - 1) / KV_PAGE;

    return pages * KV_PAGE * arch->n_layers * arch->n_kv_heads *
           (2 * (uint64_t)kv_width(arch->head_dim) + 2);
}

// Share out what memory is left: how many sequences, and their KV.
static enum err slots_fit(const struct native_models *models,
                          struct entry *entry, size_t *kv_bytes, struct why why)
{
    uint64_t each = kv_bytes_each(&entry->manifest.arch);
    uint64_t left = native_models_memory(models);
    uint64_t n;

    if (left < entry->model.n_bytes + each)
        return why_fail(why, ERR_FULL,
                        "%s needs %llu MB and a sequence %llu MB, %llu MB are "
                        "allowed; see --memory",
                        entry->manifest.name,
                        (unsigned long long)(entry->model.n_bytes >> 20),
                        (unsigned long long)(each >> 20),
                        (unsigned long long)(left >> 20));
    // Half of the rest, so that another model may still find room.
    n = (left - entry->model.n_bytes) / 2 / each;
    n = n < 1 ? 1 : n > SEQS_MAX ? SEQS_MAX : n;
    if (models->config.n_seqs && n > models->config.n_seqs)
        n = models->config.n_seqs;
    entry->model.n_slots = (uint32_t)n;
    *kv_bytes = (size_t)(n * each);
    entry->n_bytes = entry->model.n_bytes + n * each;
    return ERR_OK;
}

static enum err engine_bind(const struct native_models *models,
                            struct entry *entry,
                            const struct engine_shard *views, struct why why)
{
    struct engine_options options = {
        .kernels = models->kernels,
        .parallel = native_pool_run,
        .n_workers = models->config.n_threads,
        .step = models->config.step,
        .step_ctx = models->config.step_ctx,
        .now_us = clock_us,
    };
    enum err err = slots_fit(models, entry, &options.kv_bytes, why);

    if (err)
        return err;
    err = native_pool_new(models->config.n_threads, &entry->pool);
    if (err)
        return why_fail(why, err, "%u threads: %s", models->config.n_threads,
                        err_text(err));
    options.parallel_ctx = entry->pool;
    memcpy(options.model, entry->model.id, SYN1_ID_LEN);
    options.n_slots = entry->model.n_slots;
    err = engine_new(views, entry->manifest.n_shards, &options,
                     &entry->model.engine, why.text, why.len);
    if (err)
        return err;
    entry->model.span_first = (uint16_t)engine_span_first(entry->model.engine);
    entry->model.span_end = (uint16_t)engine_span_end(entry->model.engine);
    return ERR_OK;
}

static enum err entry_open(const struct native_models *models,
                           struct entry *entry, const char *folder,
                           struct why why)
{
    struct engine_shard *views;
    enum err err = manifest_read(entry, folder, why);

    if (err)
        return err;
    for (size_t i = 0; i < native_models_count(models); i++)
        if (memcmp(native_models_at(models, i)->id, entry->model.id,
                   SYN1_ID_LEN) == 0)
            return why_fail(why, ERR_EXISTS, "%s: open already", folder);
    views = calloc(entry->manifest.n_shards, sizeof *views);
    entry->shards = calloc(entry->manifest.n_shards, sizeof *entry->shards);
    if (!views || !entry->shards)
        err = why_fail(why, ERR_NOMEM, "out of memory");
    if (!err)
        err = shards_map(entry, folder, views, why);
    if (!err)
        err = engine_bind(models, entry, views, why);
    free(views);
    if (err)
        return err;
    snprintf(entry->model.name, sizeof entry->model.name, "%s",
             entry->manifest.name);
    err = native_probe(entry->model.engine, entry->model.id,
                       &entry->model.prefill_rows_s,
                       &entry->model.decode_tokens_s);
    return err ? why_fail(why, err, "%s: the first unit failed: %s", folder,
                          err_text(err))
               : ERR_OK;
}

enum err native_models_open(struct native_models *models, const char *folder,
                            char *why, size_t why_len)
{
    size_t n = atomic_load(&models->n_entries);
    struct entry *entry;
    enum err err;

    if (n == NATIVE_MODELS_MAX) {
        snprintf(why, why_len, "%s: %d models are open already", folder,
                 NATIVE_MODELS_MAX);
        return ERR_FULL;
    }
    entry = calloc(1, sizeof *entry);
    if (!entry) {
        snprintf(why, why_len, "out of memory");
        return ERR_NOMEM;
    }
    err = entry_open(models, entry, folder, (struct why){why, why_len});
    if (err) {
        entry_free(entry);
        return err;
    }
    models->n_bytes += entry->n_bytes;
    models->entries[n] = entry;
    atomic_store(&models->n_entries, n + 1);
    return ERR_OK;
}

// Whether folder holds a manifest.
static bool is_model(const char *folder)
{
    struct file_map map = {0};
    bool is =
        !file_map_init(&map, folder, MANIFEST_FILE, (struct why){NULL, 0});

    file_map_release(&map);
    return is;
}

enum err native_models_open_all(struct native_models *models,
                                const char *folder, char *why, size_t why_len)
{
    char path[NATIVE_PATH_MAX];
    struct dirent *leaf;
    enum err err = ERR_OK;
    DIR *dir;

    if (is_model(folder))
        return native_models_open(models, folder, why, why_len);
    dir = opendir(folder);
    if (!dir) {
        snprintf(why, why_len, "%s: %s", folder, strerror(errno));
        return ERR_IO;
    }
    while (!err && (leaf = readdir(dir)) != NULL) {
        int n = snprintf(path, sizeof path, "%s/%s", folder, leaf->d_name);

        if (leaf->d_name[0] == '.' || n < 0 || n >= (int)sizeof path ||
            !is_model(path))
            continue;
        err = native_models_open(models, path, why, why_len);
        if (err == ERR_EXISTS)
            err = ERR_OK;
    }
    closedir(dir);
    return err;
}

struct native_model *native_models_find(struct native_models *models,
                                        const uint8_t id[SYN1_ID_LEN],
                                        uint16_t span_first, uint16_t span_end)
{
    for (size_t i = 0; i < atomic_load(&models->n_entries); i++) {
        struct native_model *model = &models->entries[i]->model;

        if (memcmp(model->id, id, SYN1_ID_LEN) == 0 &&
            model->span_first == span_first && model->span_end == span_end)
            return model;
    }
    return NULL;
}

size_t native_models_count(const struct native_models *models)
{
    return atomic_load(&models->n_entries);
}

const struct native_model *native_models_at(const struct native_models *models,
                                            size_t i)
{
    return &models->entries[i]->model;
}

uint64_t native_models_memory(const struct native_models *models)
{
    return models->config.memory > models->n_bytes
               ? models->config.memory - models->n_bytes
               : 0;
}

const char *native_models_isa(const struct native_models *models)
{
    return models->kernels->name;
}
