#include "splitter/format.h"

enum { // words of the config tensor
    WORD_MAGIC,
    WORD_VERSION,
    WORD_ARITHMETIC,
    WORD_FAMILY,
    WORD_N_LAYERS,
    WORD_D_MODEL,
    WORD_N_HEADS,
    WORD_N_KV_HEADS,
    WORD_HEAD_DIM,
    WORD_D_FF,
    WORD_N_VOCAB,
    WORD_N_CTX,
    WORD_TIED_HEAD,
    WORD_N_SHARDS,
    WORD_SHARD,
    WORD_LAYER_FIRST,
    WORD_LAYER_END,
    WORD_RESIDUAL_Q,
    WORD_EPS_LOW,
    WORD_EPS_HIGH,
    WORD_N_ENDS,
    WORD_ENDS,
    WORDS_USED = WORD_ENDS + ARCH_ENDS_MAX
};

_Static_assert((int)WORDS_USED <= (int)FORMAT_CONFIG_WORDS,
               "config tensor too short");

void format_shard_layers(uint32_t n_layers, uint32_t n_shards, uint32_t shard,
                         uint32_t *first, uint32_t *end)
{
    uint32_t each = n_layers / n_shards, more = n_layers % n_shards;

    *first = shard * each + (shard < more ? shard : more);
    *end = *first + each + (shard < more);
}

void format_config_put(const struct format_config *config,
                       int32_t words[FORMAT_CONFIG_WORDS])
{
    for (int i = 0; i < FORMAT_CONFIG_WORDS; i++)
        words[i] = 0;
    words[WORD_MAGIC] = FORMAT_MAGIC;
    words[WORD_VERSION] = FORMAT_VERSION;
    words[WORD_ARITHMETIC] = FORMAT_ARITHMETIC;
    words[WORD_FAMILY] = (int32_t)config->family;
    words[WORD_N_LAYERS] = (int32_t)config->n_layers;
    words[WORD_D_MODEL] = (int32_t)config->d_model;
    words[WORD_N_HEADS] = (int32_t)config->n_heads;
    words[WORD_N_KV_HEADS] = (int32_t)config->n_kv_heads;
    words[WORD_HEAD_DIM] = (int32_t)config->head_dim;
    words[WORD_D_FF] = (int32_t)config->d_ff;
    words[WORD_N_VOCAB] = (int32_t)config->n_vocab;
    words[WORD_N_CTX] = (int32_t)config->n_ctx;
    words[WORD_TIED_HEAD] = config->tied_head;
    words[WORD_N_SHARDS] = (int32_t)config->n_shards;
    words[WORD_SHARD] = (int32_t)config->shard;
    words[WORD_LAYER_FIRST] = (int32_t)config->layer_first;
    words[WORD_LAYER_END] = (int32_t)config->layer_end;
    words[WORD_RESIDUAL_Q] = (int32_t)config->residual_q;
    words[WORD_EPS_LOW] = (int32_t)(config->eps & INT32_MAX);
    words[WORD_EPS_HIGH] = (int32_t)(config->eps >> 31);
    words[WORD_N_ENDS] = (int32_t)config->n_ends;
    for (uint32_t i = 0; i < config->n_ends; i++)
        words[WORD_ENDS + i] = (int32_t)config->ends[i];
}

static bool within(uint32_t v, uint32_t low, uint32_t high)
{
    return v >= low && v <= high;
}

static bool dimensions_valid(const struct format_config *c)
{
    return within(c->n_layers, 1, ARCH_LAYERS_MAX) &&
           within(c->d_model, 1, ARCH_WIDTH_MAX) &&
           within(c->head_dim, ARCH_HEAD_MIN, ARCH_HEAD_MAX) &&
           c->head_dim % 2 == 0 &&
           within(c->n_heads, 1, ARCH_WIDTH_MAX / c->head_dim) &&
           within(c->n_kv_heads, 1, c->n_heads) &&
           c->n_heads % c->n_kv_heads == 0 &&
           within(c->d_ff, 1, ARCH_WIDTH_MAX) &&
           within(c->n_vocab, 1, ARCH_VOCAB_MAX) &&
           within(c->n_ctx, 1, ARCH_CTX_MAX);
}

static bool span_valid(const struct format_config *c)
{
    uint32_t first, end;

    if (!within(c->n_shards, 1, c->n_layers) || c->shard >= c->n_shards)
        return false;
    format_shard_layers(c->n_layers, c->n_shards, c->shard, &first, &end);
    return c->layer_first == first && c->layer_end == end;
}

static bool ends_valid(const struct format_config *c)
{
    if (c->n_ends > ARCH_ENDS_MAX)
        return false;
    for (uint32_t i = 0; i < ARCH_ENDS_MAX; i++)
        if (i < c->n_ends ? c->ends[i] >= c->n_vocab : c->ends[i] != 0)
            return false;
    return true;
}

enum err format_config_parse(const struct tensor *tensor,
                             struct format_config *out)
{
    struct format_config c = {0};
    const int32_t *words = tensor->data;

    if (tensor->dtype != TENSOR_I32 || tensor->n_dims != 1 ||
        tensor->dims[0] != FORMAT_CONFIG_WORDS ||
        tensor->n_bytes != FORMAT_CONFIG_WORDS * sizeof words[0] ||
        words[WORD_MAGIC] != FORMAT_MAGIC)
        return ERR_FORMAT;
    if (words[WORD_VERSION] != FORMAT_VERSION ||
        words[WORD_ARITHMETIC] != FORMAT_ARITHMETIC)
        return ERR_VERSION;
    for (int i = 0; i < FORMAT_CONFIG_WORDS; i++)
        if (words[i] < 0 || (i >= WORDS_USED && words[i] != 0))
            return ERR_FORMAT;

    c.n_layers = (uint32_t)words[WORD_N_LAYERS];
    c.d_model = (uint32_t)words[WORD_D_MODEL];
    c.n_heads = (uint32_t)words[WORD_N_HEADS];
    c.n_kv_heads = (uint32_t)words[WORD_N_KV_HEADS];
    c.head_dim = (uint32_t)words[WORD_HEAD_DIM];
    c.d_ff = (uint32_t)words[WORD_D_FF];
    c.n_vocab = (uint32_t)words[WORD_N_VOCAB];
    c.n_ctx = (uint32_t)words[WORD_N_CTX];
    c.tied_head = words[WORD_TIED_HEAD] == 1;
    c.n_shards = (uint32_t)words[WORD_N_SHARDS];
    c.shard = (uint32_t)words[WORD_SHARD];
    c.layer_first = (uint32_t)words[WORD_LAYER_FIRST];
    c.layer_end = (uint32_t)words[WORD_LAYER_END];
    c.residual_q = (uint32_t)words[WORD_RESIDUAL_Q];
    c.eps = (uint64_t)words[WORD_EPS_LOW] | (uint64_t)words[WORD_EPS_HIGH]
                                                << 31;
    c.n_ends = (uint32_t)words[WORD_N_ENDS];
    for (int i = 0; i < ARCH_ENDS_MAX; i++)
        c.ends[i] = (uint32_t)words[WORD_ENDS + i];

    if (words[WORD_FAMILY] < ARCH_GPT2 || words[WORD_FAMILY] > ARCH_QWEN2 ||
        words[WORD_TIED_HEAD] > 1 || !dimensions_valid(&c) || !span_valid(&c) ||
        !ends_valid(&c) || !within(c.residual_q, 8, 20) || c.eps >> 48 != 0)
        return ERR_RANGE;
    c.family = (enum arch_family)words[WORD_FAMILY];

    *out = c;
    return ERR_OK;
}

size_t format_dtype_size(enum tensor_dtype dtype)
{
    switch (dtype) {
    case TENSOR_I8:
    case TENSOR_U8:
        return 1;
    case TENSOR_I16:
        return 2;
    case TENSOR_I32:
        return 4;
    }
    return 0;
}
