#include "random_model.h"

#include <math.h>
#include <string.h>

#include "check.h"

enum { HEADER_MAX = 1 << 15, NAME_MAX_LEN = 96 };

// A safetensors file as it grows.
struct growing {
    uint64_t state;
    char header[HEADER_MAX];
    size_t header_len;
    float *data;
    size_t n, cap;
};

uint32_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(z >> 32);
}

// About normal: a sum of uniforms.
static double normal(uint64_t *state)
{
    double sum = -6;

    for (int i = 0; i < 12; i++)
        sum += ldexp(random_next(state), -32);
    return sum;
}

// Append a tensor, mean + spread * normal; cols 0 means a vector. Its data is
// returned until the next call.
static float *tensor_add(struct growing *g, const char *name, size_t rows,
                         size_t cols, double mean, double spread)
{
    size_t n = cols ? rows * cols : rows;
    char shape[64];

    if (g->n + n > g->cap) {
        g->cap = 2 * (g->n + n);
        g->data = realloc(g->data, g->cap * sizeof *g->data);
        CHECK(g->data);
    }
    if (cols)
        snprintf(shape, sizeof shape, "%zu,%zu", rows, cols);
    else
        snprintf(shape, sizeof shape, "%zu", rows);
    g->header_len += (size_t)snprintf(
        g->header + g->header_len, HEADER_MAX - g->header_len,
        "%c\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],"
        "\"data_offsets\":[%zu,%zu]}",
        g->header_len ? ',' : '{', name, shape, 4 * g->n, 4 * (g->n + n));
    CHECK(g->header_len + 1 < HEADER_MAX);
    for (size_t i = 0; i < n; i++)
        g->data[g->n + i] = (float)(mean + spread * normal(&g->state));
    g->n += n;
    return g->data + g->n - n;
}

static const char *in_layer(char name[NAME_MAX_LEN], const char *prefix,
                            uint32_t layer, const char *rest)
{
    CHECK(snprintf(name, NAME_MAX_LEN, "%s%u.%s", prefix, (unsigned)layer,
                   rest) < NAME_MAX_LEN);
    return name;
}

// Spreads: Q and K make scores of about +-1, so attention picks; the rest adds
// as much to the residual as is there; logits are about +-3.
static const double EMBED = 0.3, QK = 1, ADDED = 1, HEAD = 3, BIAS = 0.5,
                    GAIN = 0.3;

static double per_root(double spread, size_t n)
{
    return spread / sqrt((double)n);
}

static void gpt2_layer(struct growing *g, const struct arch *a, uint32_t layer)
{
    const char *h = "transformer.h.";
    size_t d = a->d_model, ff = a->d_ff;
    char name[NAME_MAX_LEN];

    tensor_add(g, in_layer(name, h, layer, "ln_1.weight"), d, 0, 1, GAIN);
    tensor_add(g, in_layer(name, h, layer, "ln_1.bias"), d, 0, 0, BIAS);
    tensor_add(g, in_layer(name, h, layer, "attn.c_attn.weight"), d, 3 * d, 0,
               per_root(QK, d));
    tensor_add(g, in_layer(name, h, layer, "attn.c_attn.bias"), 3 * d, 0, 0,
               BIAS);
    tensor_add(g, in_layer(name, h, layer, "attn.c_proj.weight"), d, d, 0,
               per_root(ADDED, d));
    tensor_add(g, in_layer(name, h, layer, "attn.c_proj.bias"), d, 0, 0, BIAS);
    tensor_add(g, in_layer(name, h, layer, "ln_2.weight"), d, 0, 1, GAIN);
    tensor_add(g, in_layer(name, h, layer, "ln_2.bias"), d, 0, 0, BIAS);
    tensor_add(g, in_layer(name, h, layer, "mlp.c_fc.weight"), d, ff, 0,
               per_root(1, d));
    tensor_add(g, in_layer(name, h, layer, "mlp.c_fc.bias"), ff, 0, 0, BIAS);
    tensor_add(g, in_layer(name, h, layer, "mlp.c_proj.weight"), ff, d, 0,
               per_root(ADDED, ff));
    tensor_add(g, in_layer(name, h, layer, "mlp.c_proj.bias"), d, 0, 0, BIAS);
}

static void qkv_biases(struct growing *g, const struct arch *a, uint32_t layer,
                       double k_bias)
{
    const char *l = "model.layers.";
    size_t q = (size_t)a->n_heads * a->head_dim;
    size_t kv = (size_t)a->n_kv_heads * a->head_dim;
    uint32_t pair = a->head_dim / 2 - 1;
    char name[NAME_MAX_LEN];

    tensor_add(g, in_layer(name, l, layer, "self_attn.q_proj.bias"), q, 0, 0,
               BIAS);
    tensor_add(g, in_layer(name, l, layer, "self_attn.v_proj.bias"), kv, 0, 0,
               BIAS);
    float *k = tensor_add(g, in_layer(name, l, layer, "self_attn.k_proj.bias"),
                          kv, 0, 0, BIAS);

    for (uint32_t h = 0; h < a->n_kv_heads; h++) {
        k[h * a->head_dim + pair] += (float)k_bias;
        k[h * a->head_dim + pair + a->head_dim / 2] -= (float)k_bias;
    }
}

static void llama_layer(struct growing *g, const struct arch *a, uint32_t layer,
                        double k_bias)
{
    const char *l = "model.layers.";
    size_t d = a->d_model, ff = a->d_ff;
    size_t q = (size_t)a->n_heads * a->head_dim;
    size_t kv = (size_t)a->n_kv_heads * a->head_dim;
    char name[NAME_MAX_LEN];

    tensor_add(g, in_layer(name, l, layer, "input_layernorm.weight"), d, 0, 1,
               GAIN);
    tensor_add(g, in_layer(name, l, layer, "self_attn.q_proj.weight"), q, d, 0,
               per_root(QK, d));
    tensor_add(g, in_layer(name, l, layer, "self_attn.k_proj.weight"), kv, d, 0,
               per_root(QK, d));
    tensor_add(g, in_layer(name, l, layer, "self_attn.v_proj.weight"), kv, d, 0,
               per_root(1, d));
    if (a->qkv_bias)
        qkv_biases(g, a, layer, k_bias);
    tensor_add(g, in_layer(name, l, layer, "self_attn.o_proj.weight"), d, q, 0,
               per_root(ADDED, q));
    tensor_add(g, in_layer(name, l, layer, "post_attention_layernorm.weight"),
               d, 0, 1, GAIN);
    tensor_add(g, in_layer(name, l, layer, "mlp.gate_proj.weight"), ff, d, 0,
               per_root(1, d));
    tensor_add(g, in_layer(name, l, layer, "mlp.up_proj.weight"), ff, d, 0,
               per_root(1, d));
    tensor_add(g, in_layer(name, l, layer, "mlp.down_proj.weight"), d, ff, 0,
               per_root(2 * ADDED, ff));
}

void random_model_write(const struct scratch *dir, const struct arch *arch,
                        const char *config, double k_bias)
{
    bool gpt2 = arch->family == ARCH_GPT2;
    struct growing *g = calloc(1, sizeof *g);
    size_t d = arch->d_model;

    CHECK(g);
    tensor_add(g, gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight",
               arch->n_vocab, d, 0, EMBED);
    if (gpt2) {
        tensor_add(g, "transformer.wpe.weight", arch->n_ctx, d, 0, EMBED);
        tensor_add(g, "transformer.ln_f.bias", d, 0, 0, BIAS);
    }
    tensor_add(g, gpt2 ? "transformer.ln_f.weight" : "model.norm.weight", d, 0,
               1, GAIN);
    if (!arch->tied_head)
        tensor_add(g, "lm_head.weight", arch->n_vocab, d, 0, per_root(HEAD, d));
    for (uint32_t layer = 0; layer < arch->n_layers; layer++)
        if (gpt2)
            gpt2_layer(g, arch, layer);
        else
            llama_layer(g, arch, layer, k_bias);
    memcpy(g->header + g->header_len, "}", 2);
    scratch_put_safetensors(dir, "model.safetensors", g->header, g->data,
                            g->n * sizeof *g->data);
    scratch_put_text(dir, "config.json", config);
    free(g->data);
    free(g);
}
