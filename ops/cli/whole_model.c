#include "whole_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/sha256.h"
#include "cli.h"

bool whole_model_isa(const char *name, enum engine_isa *out)
{
    static const struct {
        const char *name;
        enum engine_isa isa;
    } names[] = {
        {"best", ENGINE_ISA_BEST},       {"ref", ENGINE_ISA_REF},
        {"avx2", ENGINE_ISA_AVX2},       {"vnni", ENGINE_ISA_VNNI},
        {"vnni512", ENGINE_ISA_VNNI512},
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i].name, name) == 0) {
            *out = names[i].isa;
            return true;
        }
    }
    return false;
}

bool whole_model_threads(const char *text, uint32_t *out)
{
    uint64_t n;

    if (!cli_u64(text, 1, ENGINE_WORKERS_MAX, &n))
        return false;
    *out = (uint32_t)n;
    return true;
}

static uint64_t clock_us(void *ctx)
{
    struct timespec now;

    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static enum err tokenizer_open(struct whole_model *m, char *why, size_t why_len)
{
    char path[4096];
    int n =
        snprintf(path, sizeof path, "%s/tokenizer.json", model_dir(m->model));

    if (n < 0 || (size_t)n >= sizeof path) {
        snprintf(why, why_len, "the folder's name is too long");
        return ERR_RANGE;
    }
    return tokenizer_load(path, &m->tokenizer, why, why_len);
}

static enum err engine_open(const struct whole_model_options *options,
                            struct whole_model *m, char *why, size_t why_len)
{
    enum err err = ERR_OK;
    uint32_t n_shards = m->manifest->n_shards;
    struct engine_shard *shards = calloc(n_shards, sizeof *shards);
    struct engine_options o = {
        .n_slots = options->n_slots ? options->n_slots : 1,
        .kernels = engine_kernels_pick(options->isa),
        .now_us = clock_us,
    };

    if (!shards)
        return ERR_NOMEM;
    if (!o.kernels) {
        snprintf(why, why_len, "this machine cannot run that isa");
        err = ERR_UNSUPPORTED;
    }
    if (options->n_threads > 1 && !err) {
        err = native_pool_new(options->n_threads, &m->pool);
        o.parallel = native_pool_run;
        o.parallel_ctx = m->pool;
        o.n_workers = options->n_threads;
    }
    memcpy(o.model, model_id(m->model), sizeof o.model);
    for (uint32_t i = 0; i < n_shards && !err; i++)
        err = model_shard_map(m->model, i, &shards[i].tensors,
                              &shards[i].n_tensors, why, why_len);
    if (!err)
        err = engine_new(shards, n_shards, &o, &m->engine, why, why_len);
    free(shards);
    return err;
}

enum err whole_model_open(const struct whole_model_options *options,
                          struct whole_model *out, char *why, size_t why_len)
{
    struct whole_model m = {0};
    enum err err;

    snprintf(why, why_len, "%s", err_text(ERR_NOMEM)); // unless said otherwise
    err = model_open(options->dir, &m.model, why, why_len);
    if (err)
        return err;
    m.manifest = model_manifest(m.model);
    err = tokenizer_open(&m, why, why_len);
    if (!err)
        err = engine_open(options, &m, why, why_len);
    if (err) {
        whole_model_release(&m);
        return err;
    }
    *out = m;
    return ERR_OK;
}

void whole_model_release(struct whole_model *m)
{
    engine_free(m->engine);
    native_pool_free(m->pool);
    tokenizer_free(m->tokenizer);
    model_free(m->model);
    *m = (struct whole_model){0};
}
