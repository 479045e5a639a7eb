#include "native/models.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/class_f32.h"
#include "engine/fit.h"
#include "native/account.h"
#include "native/pool.h"
#include "native/probe.h"
#include "splitter/file_map.h"
#include "splitter/manifest.h"
#include "splitter/shard.h"

enum {
    SEQS_MAX = 64, // sequences held by one engine, at most
    SEQS_MIN = 4,  // with less room than for these, the oldest span makes way
    FOLDERS_MAX = 64,
};

struct mapped {
    struct file_map map;
    struct tensor *tensors;
};

struct entry {
    struct native_model model;
    struct manifest manifest;
    struct mapped *shards; // n
    uint32_t n;
    struct engine_need need;
    uint64_t used; // turn in which it was used last
};

struct folder {
    uint8_t id[SYN1_ID_LEN];
    char *path;
};

struct native_models {
    struct native_models_config config;
    const struct engine_kernels *kernels;
    struct engine_kernels f32;
    struct native_pool *pool;
    struct entry *entries[NATIVE_MODELS_MAX]; // in the order they were opened
    size_t n_entries;
    struct folder folders[FOLDERS_MAX];
    size_t n_folders;
    uint64_t told_max; // the bound as it is told
    uint64_t turn;     // counts uses
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
    const struct engine_kernels *kernels =
        config->f32 ? NULL : engine_kernels_pick(config->isa);
    struct native_models *models;
    enum err err;

    if (!kernels && !config->f32)
        return ERR_UNSUPPORTED;
    models = calloc(1, sizeof *models);
    if (!models)
        return ERR_NOMEM;
    models->config = *config;
    models->f32 = engine_kernels_f32();
    models->kernels = kernels ? kernels : &models->f32;
    models->told_max = config->memory;
    err = native_pool_new(config->n_threads, &models->pool);
    if (err) {
        free(models);
        return err;
    }
    *out = models;
    return ERR_OK;
}

static void entry_free(struct entry *entry)
{
    if (!entry)
        return;
    engine_free(entry->model.engine);
    for (uint32_t i = 0; entry->shards && i < entry->n; i++) {
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
    for (size_t i = 0; i < models->n_entries; i++)
        entry_free(models->entries[i]);
    for (size_t i = 0; i < models->n_folders; i++)
        free(models->folders[i].path);
    native_pool_free(models->pool);
    free(models);
}

static enum err manifest_read(const char *folder, uint8_t id[SYN1_ID_LEN],
                              struct manifest *out, struct why why)
{
    struct file_map map = {0};
    uint8_t digest[SHA256_LEN];
    enum err err = file_map_init(&map, folder, MANIFEST_FILE, why);

    if (err)
        return err;
    err = manifest_parse(map.data, map.len, why, out);
    sha256(map.data, map.len, digest);
    memcpy(id, digest, SYN1_ID_LEN);
    file_map_release(&map);
    return err;
}

// Map the shards of the span. Until they are read they take no memory.
static enum err shards_map(struct entry *entry, const char *folder,
                           struct why why)
{
    for (uint32_t i = 0; i < entry->n; i++) {
        const struct manifest_file *file =
            &entry->manifest.shards[entry->model.span_first + i].file;
        struct mapped *s = &entry->shards[i];
        enum err err = file_map_init(&s->map, folder, file->name, why);

        if (err)
            return err;
        if (s->map.len != file->n_bytes)
            return why_fail(why, ERR_TRUNCATED, "%s/%s: has the wrong size",
                            folder, file->name);
    }
    return ERR_OK;
}

// Give out the views that an engine binds. Loading moves them.
static enum err shards_view(struct entry *entry, struct engine_shard *views,
                            struct why why)
{
    for (uint32_t i = 0; i < entry->n; i++) {
        const struct manifest_file *file =
            &entry->manifest.shards[entry->model.span_first + i].file;
        struct mapped *s = &entry->shards[i];
        enum err err;

        free(s->tensors);
        s->tensors = NULL;
        err = shard_parse(s->map.data, s->map.len, file->name, why, &s->tensors,
                          &views[i].n_tensors);
        if (err)
            return err;
        views[i].tensors = s->tensors;
    }
    return ERR_OK;
}

static uint32_t seqs_max(const struct native_models *models)
{
    uint32_t n = models->config.n_seqs;

    return n && n < SEQS_MAX ? n : SEQS_MAX;
}

// What a span takes with the KV of n sequences.
static uint64_t entry_bytes(const struct entry *entry, uint64_t n)
{
    return entry->model.n_bytes + entry->need.fixed + n * entry->need.kv_each;
}

// What all open spans take, each with the KV of n sequences.
static uint64_t open_bytes(const struct native_models *models, uint64_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < models->n_entries; i++)
        sum += entry_bytes(models->entries[i], n);
    return sum;
}

// Find options with which the span fits beside `others` bytes. ERR_FULL.
static enum err options_fit(const struct native_models *models,
                            struct entry *entry,
                            const struct engine_shard *views, uint64_t others,
                            struct engine_options *options, struct why why)
{
    uint64_t taken = others + entry->model.n_bytes;
    uint64_t left = models->config.memory;

    *options = (struct engine_options){
        .n_slots = seqs_max(models),
        .kernels = models->kernels,
        .parallel = native_pool_run,
        .parallel_ctx = models->pool,
        .n_workers = models->config.n_threads,
        .step = models->config.step,
        .step_ctx = models->config.step_ctx,
        .now_us = clock_us,
    };
    memcpy(options->model, entry->model.id, SYN1_ID_LEN);
    return engine_fit(views, entry->n, taken < left ? left - taken : 0, options,
                      &entry->need, why.text, why.len);
}

// Give each span the KV of as many sequences as all can have. next, if not
// NULL, is about to be opened.
static void kv_share(struct native_models *models, struct entry *next)
{
    uint64_t fixed = next ? entry_bytes(next, 0) : 0;
    uint64_t each = next ? next->need.kv_each : 0, n;

    for (size_t i = 0; i < models->n_entries; i++) {
        fixed += entry_bytes(models->entries[i], 0);
        each += models->entries[i]->need.kv_each;
    }
    if (!each)
        return;
    n = (models->config.memory - fixed) / each; // 1 at least: it was made so
    n = n < seqs_max(models) ? n : seqs_max(models);
    for (size_t i = 0; i < models->n_entries; i++) {
        struct entry *entry = models->entries[i];

        entry->model.n_slots = (uint32_t)n;
        engine_limit_kv(entry->model.engine, n * entry->need.kv_each);
    }
    if (next)
        next->model.n_slots = (uint32_t)n;
}

static void oldest_close(struct native_models *models)
{
    size_t oldest = 0;

    for (size_t i = 1; i < models->n_entries; i++)
        if (models->entries[i]->used < models->entries[oldest]->used)
            oldest = i;
    entry_free(models->entries[oldest]);
    models->n_entries--;
    for (size_t i = oldest; i < models->n_entries; i++)
        models->entries[i] = models->entries[i + 1];
}

// Would the span, beside those that are open, leave too little room for KV?
static bool is_cramped(const struct native_models *models,
                       const struct entry *entry)
{
    uint64_t n = seqs_max(models) < SEQS_MIN ? seqs_max(models) : SEQS_MIN;

    return models->n_entries && open_bytes(models, n) + entry_bytes(entry, n) >
                                    models->config.memory;
}

// Make room for the span, closing others if need be, and say how its engine is
// to be.
static enum err room_make(struct native_models *models, struct entry *entry,
                          const struct engine_shard *views,
                          struct engine_options *options, struct why why)
{
    enum err err = options_fit(models, entry, views, 0, options, why);

    if (err == ERR_FULL) {
        if (models->told_max >= entry->model.n_bytes)
            models->told_max = entry->model.n_bytes - 1;
        return why_fail(why, err,
                        "shards %u to %u of %s need %llu MB, %llu MB are "
                        "allowed; see --memory",
                        entry->model.span_first + 1U,
                        (unsigned)entry->model.span_end, entry->manifest.name,
                        (unsigned long long)(entry_bytes(entry, 1) >> 20),
                        (unsigned long long)(models->config.memory >> 20));
    }
    if (err)
        return err;
    do {
        err = models->n_entries < NATIVE_MODELS_MAX
                  ? options_fit(models, entry, views, open_bytes(models, 1),
                                options, why)
                  : ERR_FULL;
        if (err && err != ERR_FULL)
            return err;
        if (err || is_cramped(models, entry)) {
            oldest_close(models);
            err = ERR_FULL;
        }
    } while (err);
    kv_share(models, entry);
    options->kv_bytes = entry->model.n_slots * entry->need.kv_each;
    return ERR_OK;
}

// Read what the folder says of the span, and whether it is new.
static enum err entry_read(struct native_models *models, struct entry *entry,
                           const char *folder, uint16_t span_first,
                           uint16_t span_end, struct why why)
{
    struct native_model *model = &entry->model;
    enum err err = manifest_read(folder, model->id, &entry->manifest, why);

    if (err)
        return err;
    if (span_end == 0)
        span_end = (uint16_t)entry->manifest.n_shards;
    if (span_first >= span_end || span_end > entry->manifest.n_shards)
        return why_fail(why, ERR_RANGE, "%s: has %u shards, not %u", folder,
                        (unsigned)entry->manifest.n_shards, (unsigned)span_end);
    if (native_models_find(models, model->id, span_first, span_end))
        return why_fail(why, ERR_EXISTS, "%s: open already", folder);
    model->span_first = span_first;
    model->span_end = span_end;
    model->n_shards = (uint16_t)entry->manifest.n_shards;
    entry->n = (uint32_t)span_end - span_first;
    for (uint32_t i = span_first; i < span_end; i++)
        model->n_bytes += entry->manifest.shards[i].file.n_bytes;
    snprintf(model->name, sizeof model->name, "%s", entry->manifest.name);
    return ERR_OK;
}

// Bind the span's engine, once there is room for it.
static enum err engine_bind(struct native_models *models, struct entry *entry,
                            struct engine_shard *views, struct why why)
{
    struct engine_options options;
    enum err err = room_make(models, entry, views, &options, why);

    if (!err && models->config.load && file_map_fits(entry->model.n_bytes)) {
        for (uint32_t i = 0; i < entry->n; i++)
            file_map_load(&entry->shards[i].map);
        err = shards_view(entry, views, why);
    }
    if (err)
        return err;
    return engine_new(views, entry->n, &options, &entry->model.engine, why.text,
                      why.len);
}

static enum err entry_open(struct native_models *models, struct entry *entry,
                           const char *folder, struct why why)
{
    struct engine_shard *views = calloc(entry->n, sizeof *views);
    enum err err = ERR_OK;

    entry->shards = calloc(entry->n, sizeof *entry->shards);
    if (!views || !entry->shards)
        err = why_fail(why, ERR_NOMEM, "out of memory");
    if (!err)
        err = shards_map(entry, folder, why);
    if (!err)
        err = shards_view(entry, views, why);
    if (!err)
        err = engine_bind(models, entry, views, why);
    free(views);
    if (err)
        return err;
    err = native_probe(
        entry->model.engine, entry->n == entry->manifest.n_shards,
        &entry->model.prefill_rows_s, &entry->model.decode_tokens_s);
    return err ? why_fail(why, err, "%s: the first unit failed: %s", folder,
                          err_text(err))
               : ERR_OK;
}

enum err native_models_open(struct native_models *models, const char *folder,
                            uint16_t span_first, uint16_t span_end, char *why,
                            size_t why_len)
{
    struct entry *entry = calloc(1, sizeof *entry);
    struct why line = {why, why_len};
    enum err err;

    if (!entry)
        return why_fail(line, ERR_NOMEM, "out of memory");
    err = entry_read(models, entry, folder, span_first, span_end, line);
    if (!err)
        err = entry_open(models, entry, folder, line);
    if (err) {
        entry_free(entry);
        kv_share(models, NULL);
        return err;
    }
    entry->used = ++models->turn;
    models->entries[models->n_entries++] = entry;
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

static enum err folder_add(struct native_models *models, const char *folder,
                           struct why why)
{
    struct folder *next = &models->folders[models->n_folders];
    struct manifest manifest;
    enum err err;

    if (models->n_folders == FOLDERS_MAX)
        return why_fail(why, ERR_FULL, "%s: %d models are enough", folder,
                        FOLDERS_MAX);
    err = manifest_read(folder, next->id, &manifest, why);
    if (err)
        return err;
    manifest_release(&manifest);
    next->path = strdup(folder);
    if (!next->path)
        return why_fail(why, ERR_NOMEM, "out of memory");
    models->n_folders++;
    return ERR_OK;
}

enum err native_models_add(struct native_models *models, const char *folder,
                           char *why, size_t why_len)
{
    char path[NATIVE_PATH_MAX];
    struct dirent *leaf;
    enum err err = ERR_OK;
    DIR *dir;

    if (is_model(folder))
        return folder_add(models, folder, (struct why){why, why_len});
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
        err = folder_add(models, path, (struct why){why, why_len});
    }
    closedir(dir);
    return err;
}

const char *native_models_folder(const struct native_models *models, size_t i)
{
    return i < models->n_folders ? models->folders[i].path : NULL;
}

const char *native_models_folder_of(const struct native_models *models,
                                    const uint8_t id[SYN1_ID_LEN])
{
    for (size_t i = 0; i < models->n_folders; i++)
        if (memcmp(models->folders[i].id, id, SYN1_ID_LEN) == 0)
            return models->folders[i].path;
    return NULL;
}

struct native_model *native_models_find(struct native_models *models,
                                        const uint8_t id[SYN1_ID_LEN],
                                        uint16_t span_first, uint16_t span_end)
{
    for (size_t i = 0; i < models->n_entries; i++) {
        struct native_model *model = &models->entries[i]->model;

        if (memcmp(model->id, id, SYN1_ID_LEN) != 0 ||
            model->span_first != span_first || model->span_end != span_end)
            continue;
        models->entries[i]->used = ++models->turn;
        return model;
    }
    return NULL;
}

size_t native_models_count(const struct native_models *models)
{
    return models->n_entries;
}

const struct native_model *native_models_at(const struct native_models *models,
                                            size_t i)
{
    return &models->entries[i]->model;
}

uint64_t native_models_bound(const struct native_models *models)
{
    return models->told_max;
}

uint64_t native_models_memory(const struct native_models *models)
{
    uint64_t shards = 0;

    for (size_t i = 0; i < models->n_entries; i++)
        shards += models->entries[i]->model.n_bytes;
    return models->told_max > shards ? models->told_max - shards : 0;
}

uint64_t native_models_taken(const struct native_models *models)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < models->n_entries; i++)
        sum +=
            entry_bytes(models->entries[i], models->entries[i]->model.n_slots);
    return sum;
}

uint64_t native_models_bytes(const struct native_models *models)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < models->n_entries; i++)
        sum += models->entries[i]->model.n_bytes +
               engine_bytes(models->entries[i]->model.engine);
    return sum;
}

const char *native_models_isa(const struct native_models *models)
{
    return models->kernels->name;
}
