#include "engine/bind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What is being bound, and where to say what is wrong with it.
struct binder {
    const struct engine_shard *shard;
    const struct format_config *config;
    char *why;
    size_t why_len;
};

static enum err refuse(const struct binder *b, enum err err, const char *prefix,
                       const char *suffix, const char *what)
{
    if (b->why && b->why_len)
        snprintf(b->why, b->why_len, "%s%s%s: %s", prefix, suffix[0] ? "." : "",
                 suffix, what);
    return err;
}

// Look up "prefix.suffix", which must have exactly that dtype and shape.
static enum err find(const struct binder *b, const char *prefix,
                     const char *suffix, enum tensor_dtype dtype,
                     uint32_t n_dims, const uint32_t *dims, const void **out)
{
    char name[TENSOR_NAME_MAX + 1];
    uint64_t n_bytes = format_dtype_size(dtype);

    snprintf(name, sizeof name, "%s%s%s", prefix, suffix[0] ? "." : "", suffix);
    for (size_t i = 0; i < b->shard->n_tensors; i++) {
        const struct tensor *t = &b->shard->tensors[i];

        if (strcmp(t->name, name) != 0)
            continue;
        if (t->dtype != dtype || t->n_dims != n_dims)
            return refuse(b, ERR_FORMAT, prefix, suffix, "another dtype");
        for (uint32_t d = 0; d < n_dims; d++) {
            if (t->dims[d] != dims[d])
                return refuse(b, ERR_FORMAT, prefix, suffix, "another shape");
            n_bytes *= dims[d];
        }
        if (t->n_bytes != n_bytes || !t->data)
            return refuse(b, ERR_FORMAT, prefix, suffix, "another size");
        if ((uintptr_t)t->data % TENSOR_ALIGN != 0)
            return refuse(b, ERR_FORMAT, prefix, suffix, "not aligned");
        *out = t->data;
        return ERR_OK;
    }
    return refuse(b, ERR_NOT_FOUND, prefix, suffix, "no such tensor");
}

// As find, for n words of which each must be low .. high.
static enum err find_words(const struct binder *b, const char *prefix,
                           const char *suffix, uint32_t n, int32_t low,
                           int32_t high, const int32_t **out)
{
    const void *data;
    enum err err = find(b, prefix, suffix, TENSOR_I32, 1, &n, &data);
    const int32_t *words;

    if (err)
        return err;
    words = data;
    for (uint32_t i = 0; i < n; i++)
        if (words[i] < low || words[i] > high)
            return refuse(b, ERR_RANGE, prefix, suffix, "value out of range");
    *out = words;
    return ERR_OK;
}

static enum err find_values(const struct binder *b, const char *prefix,
                            const char *suffix, uint32_t n, const int32_t **out)
{
    return find_words(b, prefix, suffix, n, -FORMAT_VALUE_MAX, FORMAT_VALUE_MAX,
                      out);
}

static enum err bind_tiles(const struct binder *b, const char *prefix,
                           struct matmul_weight *m)
{
    uint32_t tiles[] = {m->n_blocks, m->n_groups, FORMAT_TILE};
    uint32_t mantissas[] = {m->n_blocks, m->n_groups, FORMAT_BLOCK};
    const void *data;
    enum err err = find(b, prefix, "w", TENSOR_I8, 3, tiles, &data);

    if (err)
        return err;
    m->w = data;
    err = find(b, prefix, "m", TENSOR_U8, 3, mantissas, &data);
    if (!err)
        m->m = data;
    return err;
}

static enum err bind_exps(const struct binder *b, const char *prefix,
                          struct matmul_weight *m)
{
    return find_words(b, prefix, "e", m->n_blocks * FORMAT_BLOCK,
                      -FORMAT_ROW_EXP_MAX, FORMAT_ROW_EXP_MAX, &m->e);
}

static struct matmul_weight shape(uint32_t n_rows, uint32_t n_cols)
{
    return (struct matmul_weight){.n_rows = n_rows,
                                  .n_cols = n_cols,
                                  .n_blocks = format_n_blocks(n_rows),
                                  .n_groups = format_n_groups(n_cols)};
}

static enum err bind_matrix(const struct binder *b, const char *prefix,
                            uint32_t n_rows, uint32_t n_cols,
                            struct matmul_weight *out)
{
    enum err err;

    *out = shape(n_rows, n_cols);
    err = bind_tiles(b, prefix, out);
    if (!err)
        err = bind_exps(b, prefix, out);
    if (!err)
        err =
            find_values(b, prefix, "b", out->n_blocks * FORMAT_BLOCK, &out->b);
    return err;
}

static enum err bind_norm(const struct binder *b, const char *prefix,
                          struct bind_norm *out)
{
    enum err err = find_values(b, prefix, "g", b->config->d_model, &out->gain);

    out->bias = NULL;
    if (!err && b->config->family == ARCH_GPT2)
        err = find_values(b, prefix, "b", b->config->d_model, &out->bias);
    return err;
}

static enum err bind_layer(const struct binder *b, uint32_t layer,
                           struct bind_layer *out)
{
    const struct format_config *c = b->config;
    uint32_t heads = c->n_heads * c->head_dim;
    uint32_t kv = c->n_kv_heads * c->head_dim;
    uint32_t ups = c->family == ARCH_GPT2 ? c->d_ff : 2 * c->d_ff;
    const int32_t *points;
    char name[TENSOR_NAME_MAX - 2];
    unsigned i = layer;
    enum err err;

    snprintf(name, sizeof name, "layers.%u.fixed", i);
    err = find_words(b, name, "", FORMAT_FIXED_LEN, 0, 24, &points);
    if (err)
        return err;
    out->score_shift = FORMAT_SCORE_Q - points[0] - points[1];
    snprintf(name, sizeof name, "layers.%u.norm1", i);
    err = bind_norm(b, name, &out->norm1);
    snprintf(name, sizeof name, "layers.%u.qkv", i);
    if (!err)
        err = bind_matrix(b, name, heads + 2 * kv, c->d_model, &out->qkv);
    snprintf(name, sizeof name, "layers.%u.o", i);
    if (!err)
        err = bind_matrix(b, name, c->d_model, heads, &out->o);
    snprintf(name, sizeof name, "layers.%u.norm2", i);
    if (!err)
        err = bind_norm(b, name, &out->norm2);
    snprintf(name, sizeof name, "layers.%u.up", i);
    if (!err)
        err = bind_matrix(b, name, ups, c->d_model, &out->up);
    snprintf(name, sizeof name, "layers.%u.down", i);
    if (!err)
        err = bind_matrix(b, name, c->d_model, c->d_ff, &out->down);
    return err;
}

static enum err bind_rope(const struct binder *b, const char *name,
                          uint32_t n_rows, const int16_t **out)
{
    uint32_t dims[] = {n_rows, b->config->head_dim};
    const int16_t *values;
    const void *data;
    enum err err = find(b, name, "", TENSOR_I16, 2, dims, &data);

    if (err)
        return err;
    values = data;
    for (size_t i = 0; i < (size_t)dims[0] * dims[1]; i++)
        if (values[i] < -(1 << FORMAT_ROPE_Q) || values[i] > 1 << FORMAT_ROPE_Q)
            return refuse(b, ERR_RANGE, name, "", "value out of range");
    *out = values;
    return ERR_OK;
}

// The tables that every shard has. With these ranges the interpolation of
// activation.c and the weights of attention.c stay inside 32 bits.
static enum err bind_tables(const struct binder *b, struct bind_model *out)
{
    const struct format_config *c = b->config;
    const int32_t one = (1 << 30) - (1 << 16), step_max = 1 << 21;
    enum err err;

    err = find_words(b, "exp2", "", FORMAT_EXP2_LEN, 1, one, &out->exp2);
    if (!err && out->exp2[0] != one)
        err = refuse(b, ERR_RANGE, "exp2", "", "does not start at 2^30 - 2^16");
    if (!err)
        err = find_words(b, "act", "", FORMAT_ACT_LEN, -(1 << 24), 1 << 24,
                         &out->act);
    for (uint32_t i = 1; i < FORMAT_ACT_LEN && !err; i++)
        if (out->act[i] - out->act[i - 1] > step_max ||
            out->act[i - 1] - out->act[i] > step_max)
            err = refuse(b, ERR_RANGE, "act", "", "a step is out of range");
    if (err || c->family == ARCH_GPT2)
        return err;
    err = bind_rope(b, "rope.low", FORMAT_ROPE_LOW, &out->rope_low);
    if (!err)
        err = bind_rope(b, "rope.high", 1 + (c->n_ctx - 1) / FORMAT_ROPE_LOW,
                        &out->rope_high);
    return err;
}

static enum err bind_first(const struct binder *b, struct bind_model *out)
{
    const struct format_config *c = b->config;
    uint32_t dims[] = {c->n_ctx, c->d_model};
    const int32_t *words;
    const void *data;
    enum err err;

    out->has_embed = true;
    out->embed = shape(c->n_vocab, c->d_model);
    err = bind_tiles(b, "embed", &out->embed);
    if (!err)
        err = bind_exps(b, "embed", &out->embed);
    if (err || c->family != ARCH_GPT2)
        return err;
    err = find(b, "position", "", TENSOR_I32, 2, dims, &data);
    if (err)
        return err;
    words = data;
    for (size_t i = 0; i < (size_t)dims[0] * dims[1]; i++)
        if (words[i] < -FORMAT_VALUE_MAX || words[i] > FORMAT_VALUE_MAX)
            return refuse(b, ERR_RANGE, "position", "", "value out of range");
    out->position = words;
    return ERR_OK;
}

static enum err bind_last(const struct binder *b, struct bind_model *out)
{
    const struct format_config *c = b->config;
    enum err err = bind_norm(b, "norm", &out->norm);

    out->has_head = true;
    out->head = shape(c->n_vocab, c->d_model);
    if (!err && c->tied_head && c->n_shards == 1) {
        out->head.w = out->embed.w;
        out->head.m = out->embed.m;
    } else if (!err) {
        err = bind_tiles(b, "head", &out->head);
    }
    if (!err)
        err = bind_exps(b, "head", &out->head);
    if (!err)
        err = find_values(b, "head", "b", out->head.n_blocks * FORMAT_BLOCK,
                          &out->head.b);
    if (!err)
        err = find_words(b, "log2", "", FORMAT_LOG2_LEN, 0, 1 << FORMAT_LOG_Q,
                         &out->log2);
    if (!err)
        err = find_words(b, "logh", "", FORMAT_LOGH_LEN, 0, 1 << FORMAT_LOG_Q,
                         &out->logh);
    return err;
}

static enum err read_config(const struct binder *b, struct format_config *out)
{
    uint32_t n = FORMAT_CONFIG_WORDS;
    struct tensor t = {.dtype = TENSOR_I32, .n_dims = 1};
    enum err err = find(b, "config", "", TENSOR_I32, 1, &n, &t.data);

    if (err)
        return err;
    t.dims[0] = n;
    t.n_bytes = n * sizeof(int32_t);
    err = format_config_parse(&t, out);
    return err ? refuse(b, err, "config", "", err_text(err)) : ERR_OK;
}

// Whether two shards are neighbours of one model: all numbers equal but those
// of the place.
static bool follows(const struct format_config *a,
                    const struct format_config *next)
{
    struct format_config moved = *next;
    int32_t words_a[FORMAT_CONFIG_WORDS], words_b[FORMAT_CONFIG_WORDS];

    if (next->shard != a->shard + 1)
        return false;
    moved.shard = a->shard;
    moved.layer_first = a->layer_first;
    moved.layer_end = a->layer_end;
    format_config_put(a, words_a);
    format_config_put(&moved, words_b);
    return memcmp(words_a, words_b, sizeof words_a) == 0;
}

static bool same_tables(const struct bind_model *a, const struct bind_model *b)
{
    size_t dim = a->config.head_dim,
           rows = 1 + (a->config.n_ctx - 1) / FORMAT_ROPE_LOW;

    return memcmp(a->exp2, b->exp2, FORMAT_EXP2_LEN * sizeof *a->exp2) == 0 &&
           memcmp(a->act, b->act, FORMAT_ACT_LEN * sizeof *a->act) == 0 &&
           (!a->rope_low ||
            (memcmp(a->rope_low, b->rope_low,
                    FORMAT_ROPE_LOW * dim * sizeof *a->rope_low) == 0 &&
             memcmp(a->rope_high, b->rope_high,
                    rows * dim * sizeof *a->rope_high) == 0));
}

// Bind one shard's layers and ends into model; config is the shard's.
static enum err bind_shard(const struct binder *b, struct bind_model *model)
{
    const struct format_config *c = b->config;
    struct bind_model tables = {0};
    enum err err = bind_tables(b, &tables);

    if (err)
        return err;
    if (c->shard == model->span_first) {
        model->exp2 = tables.exp2;
        model->act = tables.act;
        model->rope_low = tables.rope_low;
        model->rope_high = tables.rope_high;
    } else if (!same_tables(model, &tables)) {
        return refuse(b, ERR_FORMAT, "tables", "", "differ between shards");
    }
    if (c->shard == 0)
        err = bind_first(b, model);
    for (uint32_t i = c->layer_first; i < c->layer_end && !err; i++) {
        struct bind_layer *layer = &model->layers[model->n_layers++];

        err = bind_layer(b, i, layer);
        layer->boundary = i + 1 == c->layer_end && c->layer_end < c->n_layers;
    }
    if (!err && c->shard + 1 == c->n_shards)
        err = bind_last(b, model);
    return err;
}

enum err bind_model(const struct engine_shard *shards, size_t n_shards,
                    struct bind_model *out, char *why, size_t why_len)
{
    struct bind_model model = {0};
    struct format_config before = {0}, config;
    enum err err = ERR_OK;

    if (n_shards < 1 || n_shards > FORMAT_SHARDS_MAX)
        return ERR_RANGE;
    for (size_t i = 0; i < n_shards && !err; i++) {
        struct binder b = {&shards[i], &config, why, why_len};

        err = read_config(&b, &config);
        if (err)
            break;
        if (i == 0) {
            model.config = config;
            model.span_first = config.shard;
            model.layers = calloc(config.n_layers, sizeof *model.layers);
            if (!model.layers)
                err = ERR_NOMEM;
        } else if (!follows(&before, &config)) {
            err = refuse(&b, ERR_FORMAT, "config", "",
                         "not the shard after the one before");
        }
        if (!err)
            err = bind_shard(&b, &model);
        before = config;
    }
    if (err) {
        bind_release(&model);
        return err;
    }
    model.span_end = before.shard + 1;
    *out = model;
    return ERR_OK;
}

void bind_release(struct bind_model *model)
{
    free(model->layers);
    model->layers = NULL;
}
