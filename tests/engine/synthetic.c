#include "synthetic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/memory.h"
#include "engine/philox.h"

static const struct format_config kinds[SYNTHETIC_KINDS] = {
    [SYNTHETIC_GPT2] = {.family = ARCH_GPT2,
                        .n_layers = 3,
                        .d_model = 84,
                        .n_heads = 2,
                        .n_kv_heads = 2,
                        .head_dim = 42,
                        .d_ff = 200,
                        .n_vocab = 203,
                        .n_ctx = 150,
                        .tied_head = true,
                        .residual_q = 14,
                        .eps = 2684,
                        .n_ends = 1,
                        .ends = {7}},
    [SYNTHETIC_LLAMA] = {.family = ARCH_LLAMA,
                         .n_layers = 3,
                         .d_model = 128,
                         .n_heads = 6,
                         .n_kv_heads = 2,
                         .head_dim = 32,
                         .d_ff = 150,
                         .n_vocab = 300,
                         .n_ctx = 300,
                         .residual_q = 12,
                         .eps = 168,
                         .n_ends = 2,
                         .ends = {3, 299}},
    [SYNTHETIC_QWEN2] = {.family = ARCH_QWEN2,
                         .n_layers = 3,
                         .d_model = 1040, // more than 16 groups
                         .n_heads = 3,
                         .n_kv_heads = 1,
                         .head_dim = 36,
                         .d_ff = 40,
                         .n_vocab = 65,
                         .n_ctx = 140,
                         .tied_head = true,
                         .residual_q = 15,
                         .eps = 1 << 12},
};

// What is being made. The tensors of a shard come one after the other; what
// they hold depends on their name alone.
struct maker {
    struct format_config config;
    struct tensor *tensors;
    size_t n;
    bool failed;
};

// Block i of the stream that a name has.
static void block(const struct tensor *t, size_t i, uint32_t out[4])
{
    uint32_t key[2] = {2166136261u, 1};
    uint32_t counter[4] = {(uint32_t)i, 0, 0, 0};

    for (const char *c = t->name; *c; c++)
        key[0] = (key[0] ^ (uint8_t)*c) * 16777619u;
    philox_words(counter, key, out);
}

static uint32_t word(const struct tensor *t, size_t i)
{
    uint32_t out[4];

    block(t, i, out);
    return out[0];
}

// About normal with a standard deviation of scale: the sum of 12 uniform bytes.
static int32_t normal(const struct tensor *t, size_t i, int32_t scale)
{
    uint32_t words[4];
    int32_t sum = 0;

    block(t, i, words);
    for (int w = 0; w < 3; w++)
        sum += (int32_t)((words[w] & 255) + (words[w] >> 8 & 255) +
                         (words[w] >> 16 & 255) + (words[w] >> 24));
    return (sum - 1530) * scale / 256;
}

static void *tensor_add(struct maker *m, const char *name,
                        enum tensor_dtype dtype, uint32_t n_dims,
                        const uint32_t *dims, struct tensor **out)
{
    struct tensor *t = &m->tensors[m->n];
    void *data;

    if (m->failed || m->n == SYNTHETIC_TENSORS_MAX) {
        m->failed = true;
        return NULL;
    }
    snprintf(t->name, sizeof t->name, "%s", name);
    t->dtype = dtype;
    t->n_dims = n_dims;
    t->n_bytes = format_dtype_size(dtype);
    for (uint32_t i = 0; i < n_dims; i++) {
        t->dims[i] = dims[i];
        t->n_bytes *= dims[i];
    }
    data = memory_new(t->n_bytes, 1);
    t->data = data;
    m->n++;
    m->failed = !data;
    *out = t;
    return data;
}

static int32_t *words_add(struct maker *m, const char *name, uint32_t n,
                          struct tensor **out)
{
    return tensor_add(m, name, TENSOR_I32, 1, &n, out);
}

// n words about mean, with a deviation.
static void random_words(struct maker *m, const char *name, uint32_t n,
                         int32_t mean, int32_t deviation)
{
    struct tensor *t;
    int32_t *words = words_add(m, name, n, &t);

    for (uint32_t i = 0; words && i < n; i++)
        words[i] = mean + normal(t, i, deviation);
}

static void tiles_add(struct maker *m, const char *name, uint32_t n_rows,
                      uint32_t n_cols)
{
    uint32_t n_blocks = format_n_blocks(n_rows);
    uint32_t n_groups = format_n_groups(n_cols);
    uint32_t dims[] = {n_blocks, n_groups, FORMAT_TILE};
    char full[TENSOR_NAME_MAX + 1];
    struct tensor *t;

    snprintf(full, sizeof full, "%s.w", name);
    uint8_t *w = tensor_add(m, full, TENSOR_I8, 3, dims, &t);
    if (w)
        memset(w, FORMAT_WEIGHT_BIAS, t->n_bytes);
    for (size_t i = 0; w && i < (size_t)n_rows * n_cols; i++) {
        size_t n = i / n_cols, k = i % n_cols;
        size_t tile = n / FORMAT_BLOCK * n_groups + k / FORMAT_GROUP;
        int32_t v = normal(t, i, 26);

        v = v > FORMAT_WEIGHT_MAX    ? FORMAT_WEIGHT_MAX
            : v < -FORMAT_WEIGHT_MAX ? -FORMAT_WEIGHT_MAX
                                     : v;
        w[tile * FORMAT_TILE + k % FORMAT_GROUP / 4 * 64 +
          n % FORMAT_BLOCK * 4 + k % 4] = (uint8_t)(v + FORMAT_WEIGHT_BIAS);
    }

    dims[2] = FORMAT_BLOCK;
    snprintf(full, sizeof full, "%s.m", name);
    uint8_t *mantissas = tensor_add(m, full, TENSOR_U8, 3, dims, &t);
    for (size_t i = 0; mantissas && i < t->n_bytes; i++)
        mantissas[i] = (uint8_t)(1 + word(t, i) % 255);
}

// Row exponents around e. One row in `rare` is a hundred times larger, so that
// exponents and saturation are put to work.
static void exps_add(struct maker *m, const char *name, uint32_t n_rows,
                     int32_t e, uint32_t rare)
{
    char full[TENSOR_NAME_MAX + 1];
    struct tensor *t;

    snprintf(full, sizeof full, "%s.e", name);
    int32_t *exps =
        words_add(m, full, format_n_blocks(n_rows) * FORMAT_BLOCK, &t);
    for (uint32_t i = 0; exps && i < n_rows; i++)
        exps[i] = e + (int32_t)(word(t, i) % 3) - 1 +
                  ((word(t, i) >> 8) % rare ? 0 : 7);
}

static void bias_add(struct maker *m, const char *name, uint32_t n_rows,
                     int32_t deviation)
{
    char full[TENSOR_NAME_MAX + 1];
    struct tensor *t;

    snprintf(full, sizeof full, "%s.b", name);
    int32_t *bias =
        words_add(m, full, format_n_blocks(n_rows) * FORMAT_BLOCK, &t);
    for (uint32_t i = 0; bias && i < n_rows; i++)
        bias[i] = normal(t, i, deviation);
}

static void matrix_add(struct maker *m, const char *name, uint32_t n_rows,
                       uint32_t n_cols, int32_t e, int32_t bias)
{
    tiles_add(m, name, n_rows, n_cols);
    exps_add(m, name, n_rows, e, 64);
    bias_add(m, name, n_rows, bias);
}

static void norm_add(struct maker *m, const char *name)
{
    char full[TENSOR_NAME_MAX + 1];

    snprintf(full, sizeof full, "%s.g", name);
    random_words(m, full, m->config.d_model, 1 << 16, 1 << 13);
    if (m->config.family != ARCH_GPT2)
        return;
    snprintf(full, sizeof full, "%s.b", name);
    random_words(m, full, m->config.d_model, 0, 1 << 12);
}

// Tables with the shape of the real ones, from lines and squares.
static void tables_add(struct maker *m, bool last)
{
    const int32_t one = (1 << 30) - (1 << 16);
    struct tensor *t;
    int32_t *v = words_add(m, "exp2", FORMAT_EXP2_LEN, &t);

    for (int32_t i = 0; v && i < FORMAT_EXP2_LEN; i++)
        v[i] = one -
               (int32_t)((int64_t)one * i * (3 * 4096 - i) / (4 * 4096 * 4096));
    v = words_add(m, "act", FORMAT_ACT_LEN, &t);
    for (int32_t i = 0; v && i < FORMAT_ACT_LEN; i++) {
        int32_t x = (i - 2048) * 512; // Q16, -16 .. 16

        v[i] = x < -(2 << 16) ? 0
               : x < 2 << 16  ? (x + (2 << 16)) / 512 * (x / 512) / 2
                              : x;
    }
    if (m->config.family != ARCH_GPT2) {
        uint32_t dims[] = {FORMAT_ROPE_LOW, m->config.head_dim};
        const char *names[] = {"rope.low", "rope.high"};

        for (int i = 0; i < 2; i++) {
            int16_t *r = tensor_add(m, names[i], TENSOR_I16, 2, dims, &t);

            for (size_t k = 0; r && k < (size_t)dims[0] * dims[1]; k++)
                r[k] = (int16_t)((int32_t)(word(t, k) % 32769) - 16384);
            dims[0] = 1 + (m->config.n_ctx - 1) / FORMAT_ROPE_LOW;
        }
    }
    if (!last)
        return;
    v = words_add(m, "log2", FORMAT_LOG2_LEN, &t);
    for (int32_t i = 0; v && i < FORMAT_LOG2_LEN; i++)
        v[i] = i * (1 << 14);
    v = words_add(m, "logh", FORMAT_LOGH_LEN, &t);
    for (int32_t i = 0; v && i < FORMAT_LOGH_LEN; i++)
        v[i] = i * 21000;
}

static void layer_add(struct maker *m, uint32_t layer)
{
    const struct format_config *c = &m->config;
    const int32_t residual = (int32_t)c->residual_q;
    uint32_t heads = c->n_heads * c->head_dim;
    uint32_t kv = c->n_kv_heads * c->head_dim;
    bool gpt2 = c->family == ARCH_GPT2;
    int32_t bias = c->family == ARCH_LLAMA ? 0 : 1 << 13;
    char name[TENSOR_NAME_MAX - 2];
    unsigned i = layer;
    struct tensor *t;

    snprintf(name, sizeof name, "layers.%u.fixed", i);
    int32_t *points = words_add(m, name, FORMAT_FIXED_LEN, &t);
    for (int k = 0; points && k < FORMAT_FIXED_LEN; k++)
        points[k] = 16;
    snprintf(name, sizeof name, "layers.%u.norm1", i);
    norm_add(m, name);
    snprintf(name, sizeof name, "layers.%u.qkv", i);
    matrix_add(m, name, heads + 2 * kv, c->d_model, -16, bias);
    snprintf(name, sizeof name, "layers.%u.o", i);
    matrix_add(m, name, c->d_model, heads, residual - 33, gpt2 ? 100 : 0);
    snprintf(name, sizeof name, "layers.%u.norm2", i);
    norm_add(m, name);
    snprintf(name, sizeof name, "layers.%u.up", i);
    matrix_add(m, name, gpt2 ? c->d_ff : 2 * c->d_ff, c->d_model, -16,
               gpt2 ? 1 << 13 : 0);
    snprintf(name, sizeof name, "layers.%u.down", i);
    matrix_add(m, name, c->d_model, c->d_ff, residual - 33, gpt2 ? 100 : 0);
}

static void first_add(struct maker *m)
{
    const struct format_config *c = &m->config;
    uint32_t dims[] = {c->n_ctx, c->d_model};
    struct tensor *t;

    tiles_add(m, "embed", c->n_vocab, c->d_model);
    exps_add(m, "embed", c->n_vocab, (int32_t)c->residual_q - 12, 64);
    if (c->family != ARCH_GPT2)
        return;
    int32_t *p = tensor_add(m, "position", TENSOR_I32, 2, dims, &t);
    for (size_t i = 0; p && i < (size_t)dims[0] * dims[1]; i++)
        p[i] = normal(t, i, 1 << 12);
}

static void last_add(struct maker *m)
{
    const struct format_config *c = &m->config;

    norm_add(m, "norm");
    if (!c->tied_head || c->n_shards > 1)
        tiles_add(m, "head", c->n_vocab, c->d_model);
    exps_add(m, "head", c->n_vocab, -12 - (int32_t)engine_bits(c->d_model) / 2,
             UINT32_MAX);
    bias_add(m, "head", c->n_vocab, 0);
}

static bool shard_make(const struct format_config *config,
                       struct engine_shard *out)
{
    struct maker m = {.config = *config};
    bool last = config->shard + 1 == config->n_shards;
    struct tensor *t;

    m.tensors = calloc(SYNTHETIC_TENSORS_MAX, sizeof *m.tensors);
    if (!m.tensors)
        return false;
    int32_t *words = words_add(&m, "config", FORMAT_CONFIG_WORDS, &t);
    if (words)
        format_config_put(config, words);
    tables_add(&m, last);
    if (config->shard == 0)
        first_add(&m);
    for (uint32_t i = config->layer_first; i < config->layer_end; i++)
        layer_add(&m, i);
    if (last)
        last_add(&m);
    *out = (struct engine_shard){m.tensors, m.n};
    return !m.failed;
}

bool synthetic_new(enum synthetic_kind kind, uint32_t n_shards,
                   struct synthetic *out)
{
    struct synthetic s = {.config = kinds[kind], .n_shards = n_shards};
    bool ok;

    s.shards = calloc(n_shards, sizeof *s.shards);
    ok = s.shards != NULL;
    s.config.n_shards = n_shards;
    for (uint32_t i = 0; ok && i < n_shards; i++) {
        struct format_config config = s.config;

        config.shard = i;
        format_shard_layers(config.n_layers, n_shards, i, &config.layer_first,
                            &config.layer_end);
        ok = shard_make(&config, &s.shards[i]);
    }
    s.config.layer_end = s.config.n_layers / n_shards;
    if (!ok) {
        synthetic_release(&s);
        return false;
    }
    *out = s;
    return true;
}

void synthetic_release(struct synthetic *s)
{
    for (uint32_t i = 0; s->shards && i < s->n_shards; i++) {
        for (size_t t = 0; t < s->shards[i].n_tensors; t++)
            free((void *)(uintptr_t)s->shards[i].tensors[t].data);
        free((void *)(uintptr_t)s->shards[i].tensors);
    }
    free(s->shards);
    s->shards = NULL;
}
