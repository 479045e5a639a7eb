#include "web/wasm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "base/toll.h"
#include "engine/engine.h"
#include "engine/fit.h"
#include "engine/memory.h"
#include "web/trial.h"

enum {
    SHARDS_MAX = FORMAT_SHARDS_MAX,
    TENSORS_MAX = 65536,
    WHY_LEN = 256,
    SLOTS = 64
};

struct host {
    struct sha256 sha256;
    uint8_t digest[SHA256_LEN];
    struct tensor *tensors; // of all shards, in order
    size_t n_tensors, cap_tensors;
    size_t shard_end[SHARDS_MAX]; // where each shard's tensors end
    size_t n_shards;
    struct engine *engine; // NULL before host_bind
    engine_parallel_fn *parallel;
    void *parallel_ctx;
    uint32_t n_workers;
    const char *kernels;
    const uint8_t *out;
    size_t out_len;
    char why[WHY_LEN];
};

#define IMPORT(name) \
    __attribute__((import_module("env"), import_name(name))) extern
#define EXPORT(name) __attribute__((export_name(name)))

IMPORT("now_ms") double import_now_ms(void);
IMPORT("step") int import_step(uint32_t done, uint32_t all);

static uint64_t now_us(void *ctx)
{
    (void)ctx;
    return (uint64_t)(import_now_ms() * 1000);
}

static bool on_step(void *ctx, uint32_t done, uint32_t all)
{
    (void)ctx;
    return import_step(done, all) != 0;
}

static enum err fail(struct host *host, enum err err, const char *why)
{
    snprintf(host->why, sizeof host->why, "%s", why);
    return err;
}

EXPORT("host_new") struct host *host_new(void)
{
    return calloc(1, sizeof(struct host));
}

EXPORT("host_free") void host_free(struct host *host)
{
    if (!host)
        return;
    engine_free(host->engine);
    free(host->tensors);
    free(host);
}

EXPORT("host_alloc") void *host_alloc(uint32_t len)
{
    if (len > UINT32_MAX - MEMORY_ALIGN)
        return NULL;
    return aligned_alloc(MEMORY_ALIGN,
                         (len + MEMORY_ALIGN) / MEMORY_ALIGN * MEMORY_ALIGN);
}

EXPORT("host_dealloc") void host_dealloc(void *ptr)
{
    free(ptr);
}

EXPORT("host_sha256_start") void host_sha256_start(struct host *host)
{
    sha256_init(&host->sha256);
}

EXPORT("host_sha256_add")
void host_sha256_add(struct host *host, const uint8_t *ptr, uint32_t len)
{
    sha256_update(&host->sha256, ptr, len);
}

EXPORT("host_sha256_end") const uint8_t *host_sha256_end(struct host *host)
{
    sha256_final(&host->sha256, host->digest);
    return host->digest;
}

EXPORT("host_toll_begin")
void host_toll_begin(const uint8_t *challenge, uint32_t len, uint8_t *toll)
{
    toll_begin(challenge, len, toll);
}

EXPORT("host_toll_search")
uint32_t host_toll_search(uint8_t *toll, uint32_t tries, uint32_t bits)
{
    return toll_search(toll, tries, bits);
}

EXPORT("host_shard") enum err host_shard(struct host *host)
{
    if (host->engine || host->n_shards == SHARDS_MAX)
        return fail(host, ERR_FULL, "no more shards are taken");
    host->shard_end[host->n_shards++] = host->n_tensors;
    return ERR_OK;
}

static enum err tensors_grow(struct host *host)
{
    if (host->n_tensors < host->cap_tensors)
        return ERR_OK;

    size_t cap = host->cap_tensors ? 2 * host->cap_tensors : 256;
    struct tensor *more = realloc(host->tensors, cap * sizeof *more);

    if (!more)
        return fail(host, ERR_NOMEM, "no memory for the list of tensors");
    host->tensors = more;
    host->cap_tensors = cap;
    return ERR_OK;
}

EXPORT("host_tensor")
enum err host_tensor(struct host *host, const char *name, uint32_t name_len,
                     uint32_t dtype, uint32_t n_dims, const uint32_t *dims,
                     const void *data, uint32_t n_bytes)
{
    struct tensor t = {.dtype = (enum tensor_dtype)dtype,
                       .n_dims = n_dims,
                       .data = data,
                       .n_bytes = n_bytes};
    uint64_t want = format_dtype_size(t.dtype);

    if (host->engine || host->n_shards == 0 || host->n_tensors == TENSORS_MAX)
        return fail(host, ERR_FULL, "no tensor is taken here");
    if (name_len > TENSOR_NAME_MAX || n_dims < 1 || n_dims > TENSOR_DIMS_MAX)
        return fail(host, ERR_RANGE, "a tensor's name or shape is too long");
    if ((uintptr_t)data % TENSOR_ALIGN)
        return fail(host, ERR_RANGE, "a tensor's data is not aligned to 64");
    for (uint32_t i = 0; i < n_dims; i++) {
        t.dims[i] = dims[i];
        if (dims[i] && want > UINT32_MAX / dims[i])
            return fail(host, ERR_RANGE, "a tensor is too large");
        want *= dims[i];
    }
    if (want == 0 || want != n_bytes)
        return fail(host, ERR_FORMAT, "a tensor's bytes do not fit its shape");

    enum err err = tensors_grow(host);
    if (err)
        return err;
    memcpy(t.name, name, name_len);
    host->tensors[host->n_tensors++] = t;
    host->shard_end[host->n_shards - 1] = host->n_tensors;
    return ERR_OK;
}

EXPORT("host_parallel")
void host_parallel(struct host *host, engine_parallel_fn *parallel, void *ctx,
                   uint32_t n_workers)
{
    host->parallel = parallel;
    host->parallel_ctx = ctx;
    host->n_workers = n_workers;
}

// Keep to max_bytes, with the KV of as many sequences as fit.
static enum err within(struct host *host, const struct engine_shard *shards,
                       uint32_t max_bytes, struct engine_options *options)
{
    struct engine_need need;
    enum err err = engine_fit(shards, host->n_shards, max_bytes, options, &need,
                              host->why, sizeof host->why);

    if (err == ERR_FULL)
        snprintf(
            host->why, sizeof host->why,
            "it needs %lu MB more than there is room for",
            (unsigned long)((need.fixed + need.kv_each - max_bytes) / 1000000 +
                            1));
    if (err)
        return err;

    size_t n = (max_bytes - need.fixed) / need.kv_each;

    options->kv_bytes =
        (n < options->n_slots ? n : options->n_slots) * need.kv_each;
    return ERR_OK;
}

EXPORT("host_bind")
enum err host_bind(struct host *host, const uint8_t *model, uint32_t n_slots,
                   uint32_t max_bytes, uint32_t isa)
{
    struct engine_options options = {.n_slots = n_slots ? n_slots : SLOTS,
                                     .parallel = host->parallel,
                                     .parallel_ctx = host->parallel_ctx,
                                     .n_workers = host->n_workers,
                                     .now_us = now_us,
                                     .step = on_step};
    struct engine_shard *shards;
    size_t from = 0;

    if (host->engine || host->n_shards == 0)
        return fail(host, ERR_FORMAT, "there are no shards, or an engine");
    options.kernels = isa == ENGINE_ISA_BEST
                          ? trial_fastest(import_now_ms)
                          : engine_kernels_pick((enum engine_isa)isa);
    if (!options.kernels)
        return fail(host, ERR_UNSUPPORTED, "no such kernels in this module");
    memcpy(options.model, model, SYN1_ID_LEN);

    shards = calloc(host->n_shards, sizeof *shards);
    if (!shards)
        return fail(host, ERR_NOMEM, "no memory for the list of shards");
    for (size_t i = 0; i < host->n_shards; i++) {
        shards[i].tensors = host->tensors + from;
        shards[i].n_tensors = host->shard_end[i] - from;
        from = host->shard_end[i];
    }
    host->why[0] = '\0';
    enum err err =
        max_bytes ? within(host, shards, max_bytes, &options) : ERR_OK;
    if (!err)
        err = engine_new(shards, host->n_shards, &options, &host->engine,
                         host->why, sizeof host->why);
    free(shards);
    if (!err)
        host->kernels = options.kernels->name;
    return err;
}

EXPORT("host_run")
enum err host_run(struct host *host, const uint8_t *frame, uint32_t len)
{
    if (!host->engine)
        return fail(host, ERR_FORMAT, "there is no engine");

    enum err err =
        engine_run(host->engine, frame, len, &host->out, &host->out_len);
    return err ? fail(host, err, err_text(err)) : ERR_OK;
}

EXPORT("host_out") const uint8_t *host_out(const struct host *host)
{
    return host->out;
}

EXPORT("host_out_len") uint32_t host_out_len(const struct host *host)
{
    return (uint32_t)host->out_len;
}

EXPORT("host_drop")
void host_drop(struct host *host, uint32_t low, uint32_t high)
{
    if (host->engine)
        engine_drop(host->engine, (uint64_t)high << 32 | low);
}

EXPORT("host_free_slots") uint32_t host_free_slots(const struct host *host)
{
    return host->engine ? engine_free_slots(host->engine) : 0;
}

EXPORT("host_why") const char *host_why(const struct host *host)
{
    return host->why;
}

EXPORT("host_err_text") const char *host_err_text(uint32_t err)
{
    return err_text((enum err)err);
}

EXPORT("host_kernels") const char *host_kernels(const struct host *host)
{
    return host->kernels ? host->kernels : "";
}
