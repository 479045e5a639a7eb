#include "scheduler/model.h"

#include "base/syn1.h"
#include "redundancy/credit.h"
#include "scheduler/state.h"

static void put_u32s(struct sched_args *args, const uint32_t *v, size_t n)
{
    sched_args_put(args, "", 0);
    for (size_t i = 0; i < n; i++) {
        uint8_t b[4] = {(uint8_t)v[i], (uint8_t)(v[i] >> 8),
                        (uint8_t)(v[i] >> 16), (uint8_t)(v[i] >> 24)};

        sched_args_append(args, b, sizeof b);
    }
}

static void put_shards(struct sched_args *args, const struct sched_model *model)
{
    sched_args_put(args, "", 0);
    for (size_t i = 0; model->dim && i < model->n_shards; i++) {
        uint8_t b[24];
        struct bytes_out out = {b, sizeof b, 0, false};

        bytes_put_u64(&out, model->shards[i].n_bytes);
        bytes_put_u64(&out, model->shards[i].kv_bytes);
        bytes_put_u64(&out, model->shards[i].scratch_bytes);
        sched_args_append(args, b, sizeof b);
    }
}

// Credit of 1000 rows of the shards before each boundary; at the last it is the
// model's. Nothing if the shards' parameters are not known.
static void put_credit(struct sched_args *args, const struct sched_model *model)
{
    uint64_t sum = 0, before = 0;

    for (size_t i = 0; model->dim && i < model->n_shards; i++)
        sum += model->shards[i].n_params;
    sched_args_put(args, "", 0);
    for (size_t i = 0; sum && i <= model->n_shards; i++) {
        uint8_t b[8];
        struct bytes_out out = {b, sizeof b, 0, false};

        bytes_put_u64(&out, before ? redun_credit_1000(before) : 0);
        sched_args_append(args, b, sizeof b);
        before += i < model->n_shards ? model->shards[i].n_params : 0;
    }
}

static void put_layers(struct sched_args *args, const struct sched_model *model)
{
    sched_args_put(args, "", 0);
    for (size_t i = 0; model->dim && i < model->n_shards; i++) {
        uint8_t b[4];
        struct bytes_out out = {b, sizeof b, 0, false};

        bytes_put_u32(&out, model->shards[i].n_layers);
        sched_args_append(args, b, sizeof b);
    }
}

enum err sched_model_put(struct sched_store *store,
                         const struct sched_model *model, sched_done_fn *fn,
                         void *ctx)
{
    struct sched_args args = {0};

    if (!sched_text_fits(model->name, 1, SCHED_MODEL_NAME_MAX) ||
        !model->n_shards || model->n_ends > SCHED_ENDS_MAX ||
        model->context < 2 || !model->n_vocab || model->dim > SYN1_DIM_MAX)
        return ERR_RANGE;
    sched_args_put(&args, model->id, sizeof model->id);
    sched_args_text(&args, model->name);
    sched_args_u64(&args, model->n_shards);
    sched_args_u64(&args, model->n_vocab);
    sched_args_u64(&args, model->context);
    put_u32s(&args, model->ends, model->n_ends);
    sched_args_u64(&args, redun_credit_1000(model->n_params));
    sched_args_u64(&args, model->dim);
    put_shards(&args, model);
    put_credit(&args, model);
    put_layers(&args, model);
    return sched_call_done(store, "model_put", &args, fn, ctx);
}
