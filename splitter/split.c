#define _XOPEN_SOURCE 700 // realpath
#include "splitter/split.h"

#include <assert.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "splitter/file_map.h"
#include "splitter/manifest.h"
#include "splitter/out_dir.h"
#include "splitter/quantise.h"
#include "splitter/shard.h"
#include "splitter/source.h"
#include "splitter/split_files.h"

const char *const split_copied[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    NULL,
};

// What quantise_sink's callbacks work on.
struct split {
    const struct split_options *options;
    struct why why;
    split_progress_fn *on_progress;
    void *progress_ctx;
    uint64_t done, total; // bytes of tensors
    struct source *source;
    struct quantise *quantise;
    struct manifest manifest;
    struct shard_writer *writer; // of the shard at hand
};

static enum err on_declare(void *ctx, const char *name, enum tensor_dtype dtype,
                           uint32_t n_dims, const uint32_t *dims)
{
    struct split *s = ctx;

    return shard_writer_declare(s->writer, name, dtype, n_dims, dims);
}

static enum err on_begin(void *ctx)
{
    struct split *s = ctx;

    return shard_writer_begin(s->writer);
}

static enum err on_write(void *ctx, const void *data, size_t n_bytes)
{
    struct split *s = ctx;
    enum err err = shard_writer_write(s->writer, data, n_bytes);

    s->done += n_bytes;
    if (s->on_progress)
        s->on_progress(s->progress_ctx, s->done, s->total);
    return err;
}

static enum err quantise_make(struct split *s, uint32_t n_shards)
{
    struct quantise_options options = {n_shards, s->options->equalise};

    quantise_free(s->quantise);
    s->quantise = NULL;
    return quantise_new(s->source, &options, &s->quantise, s->why.text,
                        s->why.len);
}

static uint64_t largest_shard(const struct split *s, uint32_t n_shards)
{
    uint64_t max = 0;

    for (uint32_t i = 0; i < n_shards; i++) {
        uint64_t n = quantise_shard_bytes(s->quantise, i);

        max = n > max ? n : max;
    }
    return max;
}

// The least number of shards, each of which keeps to the limit.
static enum err shards_fit(struct split *s, uint32_t *n_shards)
{
    uint64_t limit = s->options->max_shard_bytes;
    uint32_t n_layers = source_arch(s->source)->n_layers;
    uint32_t n = 1;
    enum err err = quantise_make(s, n);

    while (!err && limit && largest_shard(s, n) > limit) {
        uint64_t largest = largest_shard(s, n);
        uint64_t next = n == 1 ? largest / limit + 1 : n + UINT64_C(1);

        if (n == n_layers)
            return why_fail(s->why, ERR_RANGE,
                            "a shard of one layer has %" PRIu64
                            " bytes, more than the limit of %" PRIu64,
                            largest, limit);
        n = next < n_layers ? (uint32_t)next : n_layers;
        err = quantise_make(s, n);
    }
    *n_shards = n;
    return err;
}

static enum err required_check(const struct split *s)
{
    struct file_map map = {0};
    enum err err =
        file_map_init(&map, s->options->hf_dir, split_copied[0], s->why);

    file_map_release(&map);
    return err;
}

static enum err plan(struct split *s)
{
    const struct arch *arch = source_arch(s->source);
    uint32_t n = s->options->n_shards; // 0: not said
    enum err err;

    // Better told now than after hours.
    err = required_check(s);
    if (err)
        return err;
    if (n > arch->n_layers)
        return why_fail(s->why, ERR_RANGE,
                        "%" PRIu32 " shards of a model of %" PRIu32 " layers",
                        n, arch->n_layers);
    err = n ? quantise_make(s, n) : shards_fit(s, &n);
    if (err)
        return err;
    s->manifest.arch = *arch;
    s->manifest.n_shards = n;
    assert(n > 0);
    s->manifest.shards = calloc(n, sizeof *s->manifest.shards);
    if (!s->manifest.shards)
        return why_fail(s->why, ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < n; i++)
        s->total += quantise_shard_bytes(s->quantise, i);
    return ERR_OK;
}

static void shard_describe(const struct split *s, uint32_t i,
                           struct manifest_shard *shard)
{
    struct format_config config;

    quantise_config(s->quantise, i, &config);
    (void)snprintf(shard->file.name, sizeof shard->file.name,
                   SPLIT_SHARD_START "%05" PRIu32
                                     "-of-%05" PRIu32 SPLIT_SHARD_END,
                   i + 1, s->manifest.n_shards);
    shard->layer_first = config.layer_first;
    shard->layer_end = config.layer_end;
    shard->n_params = manifest_params(&s->manifest.arch, config.layer_first,
                                      config.layer_end);
    // A value of 1.0 then has the mantissa 64.
    shard->exponent = config.residual_q > 6 ? config.residual_q - 6 : 0;
}

static enum err notes_put(const struct split *s, uint32_t i)
{
    char shard[32], arithmetic[16];
    enum err err;

    (void)snprintf(shard, sizeof shard, "%" PRIu32 " of %" PRIu32, i + 1,
                   s->manifest.n_shards);
    (void)snprintf(arithmetic, sizeof arithmetic, "%d", FORMAT_ARITHMETIC);
    err = shard_writer_note(s->writer, "format", "synapse");
    if (!err)
        err = shard_writer_note(s->writer, "arithmetic", arithmetic);
    if (!err)
        err = shard_writer_note(s->writer, "model", s->manifest.name);
    if (!err)
        err = shard_writer_note(s->writer, "shard", shard);
    return err;
}

static enum err shard_write(struct split *s, uint32_t i)
{
    struct quantise_sink sink = {s, on_declare, on_begin, on_write};
    struct manifest_shard *shard = &s->manifest.shards[i];
    enum err err;

    shard_describe(s, i, shard);
    err = shard_writer_new(s->options->out_dir, shard->file.name, s->why,
                           &s->writer);
    if (err)
        return err;
    err = notes_put(s, i);
    if (!err)
        err = quantise_shard(s->quantise, i, &sink, s->why.text, s->why.len);
    if (!err)
        err = shard_writer_finish(s->writer, &shard->file.n_bytes,
                                  shard->file.sha256);
    shard_writer_free(s->writer);
    s->writer = NULL;
    return err;
}

static enum err files_copy(struct split *s)
{
    struct manifest *m = &s->manifest;

    for (size_t i = 0; split_copied[i]; i++) {
        enum err err =
            out_dir_copy(s->options->out_dir, s->options->hf_dir,
                         split_copied[i], &m->files[m->n_files], s->why);

        if (err == ERR_NOT_FOUND && i > 0)
            continue;
        if (err)
            return err;
        m->n_files++;
    }
    return ERR_OK;
}

static enum err manifest_write(struct split *s)
{
    const char *dir = s->options->out_dir;
    char *text = manifest_text(&s->manifest);
    struct manifest check;
    enum err err;

    if (!text)
        return why_fail(s->why, ERR_NOMEM, "out of memory");
    // What cannot be read back must not be left behind.
    err = manifest_parse(text, strlen(text), s->why, &check);
    if (err)
        goto done;
    manifest_release(&check);
    err = out_dir_sync(dir, s->why);
    if (!err)
        err = out_dir_put(dir, MANIFEST_FILE, text, strlen(text), s->why);
    if (!err)
        err = out_dir_sync(dir, s->why);

done:
    free(text);
    return err;
}

// The model's name: as given, or made of the folder's.
static enum err name_choose(struct split *s)
{
    char *name = s->manifest.name;
    char *path = NULL;

    if (s->options->name) {
        if (!manifest_name_ok(s->options->name))
            return why_fail(s->why, ERR_RANGE,
                            "%s: not a name for a model: up to %d letters, "
                            "digits, '.', '_' and '-'",
                            s->options->name, MANIFEST_NAME_MAX);
        memcpy(name, s->options->name, strlen(s->options->name) + 1);
        return ERR_OK;
    }
    path = realpath(s->options->hf_dir, NULL);
    if (!path)
        return why_fail(s->why, ERR_NOT_FOUND, "%s: no such folder",
                        s->options->hf_dir);
    (void)snprintf(name, MANIFEST_NAME_MAX + 1, "%s", basename(path));
    free(path);
    for (char *p = name; *p; p++) {
        char one[] = {'a', *p, '\0'}; // a name if *p may stand in one

        if (!manifest_name_ok(one))
            *p = '-';
    }
    if (!manifest_name_ok(name))
        return why_fail(s->why, ERR_RANGE,
                        "%s: cannot name a model after this folder: use "
                        "--name",
                        s->options->hf_dir);
    return ERR_OK;
}

enum err split_run(const struct split_options *options, split_progress_fn *fn,
                   void *ctx, char *why, size_t why_len)
{
    struct split s = {.options = options,
                      .why = {why, why_len},
                      .on_progress = fn,
                      .progress_ctx = ctx};
    enum err err = name_choose(&s);

    if (!err)
        err = source_open(options->hf_dir, &s.source, why, why_len);
    if (!err)
        err = plan(&s);
    if (!err)
        err = out_dir_prepare(options->out_dir, s.why);
    for (uint32_t i = 0; !err && i < s.manifest.n_shards; i++)
        err = shard_write(&s, i);
    if (!err)
        err = files_copy(&s);
    if (!err)
        err = manifest_write(&s);
    manifest_release(&s.manifest);
    quantise_free(s.quantise);
    source_free(s.source);
    return err;
}
