#include "splitter/hf_config.h"

#include <stdio.h>
#include <string.h>

#include "splitter/json_fields.h"

static const char config_name[] = "config.json";
static const char generation_name[] = "generation_config.json";

static enum err refuse(const struct json_fields *f, const char *key,
                       const char *says)
{
    return json_fields_fail(f, ERR_UNSUPPORTED, key, json_fields_get(f, key),
                            says);
}

// A key that, if it is there, must have this truth value.
static enum err bool_require(const struct json_fields *f, const char *key,
                             bool want)
{
    bool v;
    enum err err = json_fields_bool_or(f, key, want, &v);

    if (!err && v != want)
        err = refuse(f, key, "is not supported");
    return err;
}

static enum err activation_check(const struct json_fields *f, const char *key,
                                 const char *one, const char *other)
{
    const json_t *value = json_fields_get(f, key);
    const char *text = json_string_value(value);
    char says[80];

    if (!value ||
        (text && (strcmp(text, one) == 0 || strcmp(text, other) == 0)))
        return ERR_OK;
    (void)snprintf(says, sizeof says, "is not supported, only \"%s\"", one);
    return refuse(f, key, says);
}

// Newer files list the kind of each layer's attention.
static enum err layer_types_check(const struct json_fields *f)
{
    const json_t *types;
    enum err err;

    if (!json_fields_get(f, "layer_types"))
        return ERR_OK;
    err = json_fields_array(f, "layer_types", 0, ARCH_LAYERS_MAX, &types);
    for (size_t i = 0; !err && i < json_array_size(types); i++) {
        const json_t *type = json_array_get(types, i);
        const char *text = json_string_value(type);

        if (!text || strcmp(text, "full_attention") != 0)
            err = json_fields_fail(f, ERR_UNSUPPORTED, "layer_types", type,
                                   "is not supported, only \"full_attention\"");
    }
    return err;
}

static enum err gpt2_parse(const struct json_fields *f, struct arch *a)
{
    const char *ctx =
        json_fields_get(f, "n_positions") ? "n_positions" : "n_ctx";
    enum err err;

    a->family = ARCH_GPT2;
    a->qkv_bias = true;
    if ((err =
             json_fields_u32(f, "n_layer", 1, ARCH_LAYERS_MAX, &a->n_layers)) ||
        (err = json_fields_u32(f, "n_embd", 1, ARCH_WIDTH_MAX, &a->d_model)) ||
        (err = json_fields_u32(f, "n_head", 1, ARCH_WIDTH_MAX, &a->n_heads)) ||
        (err = json_fields_u32(f, ctx, 1, ARCH_CTX_MAX, &a->n_ctx)) ||
        (err = json_fields_u32_or(f, "n_inner", 1, ARCH_WIDTH_MAX,
                                  4 * a->d_model, &a->d_ff)) ||
        (err = json_fields_real_or(f, "layer_norm_epsilon", 1e-12, 1.0, 1e-5,
                                   &a->norm_eps)) ||
        (err = json_fields_bool_or(f, "tie_word_embeddings", true,
                                   &a->tied_head)) ||
        (err = activation_check(f, "activation_function", "gelu_new",
                                "gelu_pytorch_tanh")) ||
        (err = bool_require(f, "scale_attn_weights", true)) ||
        (err = bool_require(f, "scale_attn_by_inverse_layer_idx", false)) ||
        (err = bool_require(f, "add_cross_attention", false)))
        return err;
    a->n_kv_heads = a->n_heads;
    if (a->d_model % a->n_heads)
        return json_fields_fail(f, ERR_RANGE, "n_head",
                                json_fields_get(f, "n_head"),
                                "does not divide n_embd");
    a->head_dim = a->d_model / a->n_heads;
    if (a->d_ff > ARCH_WIDTH_MAX)
        return json_fields_fail(f, ERR_RANGE, "n_embd",
                                json_fields_get(f, "n_embd"), "is too large");
    return ERR_OK;
}

// What rope_parameters (new) or rope_scaling (old) says. theta is 0 where the
// object does not have it.
struct rope {
    enum arch_rope kind;
    double theta, factor, low_freq, high_freq;
    uint32_t orig_ctx;
};

static enum err rope_kind_parse(const struct json_fields *f,
                                enum arch_rope *kind)
{
    const char *key = json_fields_get(f, "rope_type") ? "rope_type" : "type";
    const char *text = "default";
    enum err err = ERR_OK;

    if (json_fields_get(f, key))
        err = json_fields_text(f, key, 64, &text);
    if (err)
        return err;
    if (strcmp(text, "default") == 0)
        *kind = ARCH_ROPE_DEFAULT;
    else if (strcmp(text, "linear") == 0)
        *kind = ARCH_ROPE_LINEAR;
    else if (strcmp(text, "llama3") == 0)
        *kind = ARCH_ROPE_LLAMA3;
    else
        return refuse(f, key, "is not supported, only default, linear, llama3");
    return ERR_OK;
}

static enum err rope_llama3_parse(const struct json_fields *f,
                                  const struct json_fields *top, struct rope *r)
{
    const char *orig = "original_max_position_embeddings";
    enum err err;

    if ((err =
             json_fields_real(f, "low_freq_factor", 1e-3, 1e6, &r->low_freq)) ||
        (err = json_fields_real(f, "high_freq_factor", 1e-3, 1e6,
                                &r->high_freq)) ||
        (err = json_fields_u32(json_fields_get(f, orig) ? f : top, orig, 1,
                               ARCH_CTX_MAX, &r->orig_ctx)))
        return err;
    if (r->high_freq <= r->low_freq)
        return json_fields_fail(f, ERR_RANGE, "high_freq_factor",
                                json_fields_get(f, "high_freq_factor"),
                                "is not above low_freq_factor");
    return ERR_OK;
}

static enum err rope_object_parse(const struct json_fields *top,
                                  const char *key, struct rope *r)
{
    char where[64];
    struct json_fields f = {json_fields_get(top, key), where, top->why};
    double partial;
    enum err err;

    (void)snprintf(where, sizeof where, "%s: %s", config_name, key);
    if (!json_is_object(f.object))
        return json_fields_fail(top, ERR_FORMAT, key, f.object,
                                "is not an object");
    if (json_fields_get(&f, "full_attention") ||
        json_fields_get(&f, "sliding_attention"))
        return refuse(top, key, "is not supported: it differs by layer");
    if ((err = rope_kind_parse(&f, &r->kind)) ||
        (err = json_fields_real_or(&f, "rope_theta", 1.0, 1e12, 0.0,
                                   &r->theta)) ||
        (err = json_fields_real_or(&f, "partial_rotary_factor", 0.0, 1.0, 1.0,
                                   &partial)))
        return err;
    if (partial < 1.0)
        return refuse(&f, "partial_rotary_factor", "is not supported");
    if (r->kind != ARCH_ROPE_DEFAULT)
        err = json_fields_real(&f, "factor", 1.0, 1e6, &r->factor);
    if (!err && r->kind == ARCH_ROPE_LLAMA3)
        err = rope_llama3_parse(&f, top, r);
    return err;
}

static bool rope_same(const struct rope *a, const struct rope *b)
{
    return a->kind == b->kind && !(a->factor < b->factor) &&
           !(a->factor > b->factor) && !(a->low_freq < b->low_freq) &&
           !(a->low_freq > b->low_freq) && !(a->high_freq < b->high_freq) &&
           !(a->high_freq > b->high_freq) && a->orig_ctx == b->orig_ctx;
}

static enum err rope_parse(const struct json_fields *f, struct arch *a)
{
    bool has_new = json_fields_get(f, "rope_parameters");
    bool has_old = json_fields_get(f, "rope_scaling");
    struct rope r = {0}, old = {0};
    double theta, partial;
    enum err err;

    if ((has_new && (err = rope_object_parse(f, "rope_parameters", &r))) ||
        (has_old && (err = rope_object_parse(f, "rope_scaling", &old))) ||
        (err = json_fields_real_or(f, "rope_theta", 1.0, 1e12, 0.0, &theta)) ||
        (err = json_fields_real_or(f, "partial_rotary_factor", 0.0, 1.0, 1.0,
                                   &partial)))
        return err;
    if (partial < 1.0)
        return refuse(f, "partial_rotary_factor", "is not supported");
    if (has_new && has_old && !rope_same(&r, &old))
        return refuse(f, "rope_scaling", "contradicts rope_parameters");
    if (!has_new && has_old)
        r = old;
    if (theta > 0.0 && r.theta > 0.0 && (theta < r.theta || theta > r.theta))
        return refuse(f, "rope_theta", "contradicts rope_parameters");
    a->rope = r.kind;
    a->rope_theta = r.theta > 0.0 ? r.theta : theta > 0.0 ? theta : 10000.0;
    a->rope_factor = r.factor;
    a->rope_low_freq = r.low_freq;
    a->rope_high_freq = r.high_freq;
    a->rope_orig_ctx = r.orig_ctx;
    return ERR_OK;
}

// What Llama and Qwen2 have in common.
static enum err llama_dims_parse(const struct json_fields *f, struct arch *a)
{
    enum err err;

    if ((err = json_fields_u32(f, "num_hidden_layers", 1, ARCH_LAYERS_MAX,
                               &a->n_layers)) ||
        (err = json_fields_u32(f, "hidden_size", 1, ARCH_WIDTH_MAX,
                               &a->d_model)) ||
        (err = json_fields_u32(f, "num_attention_heads", 1, ARCH_WIDTH_MAX,
                               &a->n_heads)) ||
        (err = json_fields_u32_or(f, "num_key_value_heads", 1, a->n_heads,
                                  a->n_heads, &a->n_kv_heads)) ||
        (err = json_fields_u32(f, "intermediate_size", 1, ARCH_WIDTH_MAX,
                               &a->d_ff)) ||
        (err = json_fields_u32(f, "max_position_embeddings", 1, UINT32_MAX,
                               &a->n_ctx)) ||
        (err = json_fields_u32_or(f, "head_dim", 1, ARCH_WIDTH_MAX, 0,
                                  &a->head_dim)))
        return err;
    if (a->n_ctx > ARCH_CTX_MAX)
        a->n_ctx = ARCH_CTX_MAX;
    if (a->n_heads % a->n_kv_heads)
        return json_fields_fail(f, ERR_RANGE, "num_key_value_heads",
                                json_fields_get(f, "num_key_value_heads"),
                                "does not divide num_attention_heads");
    if (!a->head_dim && a->d_model % a->n_heads)
        return json_fields_fail(f, ERR_RANGE, "num_attention_heads",
                                json_fields_get(f, "num_attention_heads"),
                                "does not divide hidden_size");
    if (!a->head_dim)
        a->head_dim = a->d_model / a->n_heads;
    return ERR_OK;
}

static enum err llama_parse(const struct json_fields *f, struct arch *a,
                            enum arch_family family)
{
    enum err err;

    a->family = family;
    a->qkv_bias = family == ARCH_QWEN2;
    if ((err = llama_dims_parse(f, a)) ||
        (err = json_fields_real_or(f, "rms_norm_eps", 1e-12, 1.0, 1e-6,
                                   &a->norm_eps)) ||
        (err = json_fields_bool_or(f, "tie_word_embeddings", false,
                                   &a->tied_head)) ||
        (err = activation_check(f, "hidden_act", "silu", "swish")) ||
        (err = bool_require(f, "use_sliding_window", false)) ||
        (err = layer_types_check(f)) || (err = rope_parse(f, a)))
        return err;
    if (family == ARCH_LLAMA &&
        ((err = bool_require(f, "attention_bias", false)) ||
         (err = bool_require(f, "mlp_bias", false))))
        return err;
    return ERR_OK;
}

// The head's size is checked where both families meet.
static enum err dims_check(const struct json_fields *f, const struct arch *a)
{
    if (a->head_dim < ARCH_HEAD_MIN || a->head_dim > ARCH_HEAD_MAX ||
        a->head_dim % 2)
        return why_fail(f->why, ERR_RANGE,
                        "%s: a head size of %u is not supported, only even "
                        "ones from %d to %d",
                        f->where, a->head_dim, ARCH_HEAD_MIN, ARCH_HEAD_MAX);
    if (a->head_dim * (uint64_t)a->n_heads > ARCH_WIDTH_MAX)
        return why_fail(f->why, ERR_RANGE,
                        "%s: %u heads of %u are wider than %d", f->where,
                        a->n_heads, a->head_dim, ARCH_WIDTH_MAX);
    return ERR_OK;
}

static enum err end_add(const struct json_fields *f, const json_t *id,
                        struct arch *a)
{
    json_int_t v = json_integer_value(id);

    if (!json_is_integer(id) || v < 0 || v >= a->n_vocab)
        return json_fields_fail(f, ERR_RANGE, "eos_token_id", id,
                                "is not a token id of this vocabulary");
    for (uint32_t i = 0; i < a->n_ends; i++)
        if (a->ends[i] == (uint32_t)v)
            return ERR_OK;
    if (a->n_ends == ARCH_ENDS_MAX)
        return json_fields_fail(f, ERR_RANGE, "eos_token_id",
                                json_fields_get(f, "eos_token_id"),
                                "has too many ids");
    a->ends[a->n_ends++] = (uint32_t)v;
    return ERR_OK;
}

// eos_token_id is absent, a number or a list of numbers.
static enum err ends_parse(const struct json_fields *f, struct arch *a)
{
    const json_t *value = json_fields_get(f, "eos_token_id");
    enum err err = ERR_OK;

    if (!value || !json_is_array(value))
        return value ? end_add(f, value, a) : ERR_OK;
    for (size_t i = 0; !err && i < json_array_size(value); i++)
        err = end_add(f, json_array_get(value, i), a);
    return err;
}

static enum err config_parse(const struct json_fields *f, struct arch *a)
{
    const char *type;
    enum err err;

    if ((err = json_fields_text(f, "model_type", 64, &type)))
        return err;
    if (json_fields_get(f, "quantization_config"))
        return refuse(f, "quantization_config", "is not supported");
    if (strcmp(type, "gpt2") == 0)
        err = gpt2_parse(f, a);
    else if (strcmp(type, "llama") == 0)
        err = llama_parse(f, a, ARCH_LLAMA);
    else if (strcmp(type, "qwen2") == 0)
        err = llama_parse(f, a, ARCH_QWEN2);
    else
        err = refuse(f, "model_type",
                     "is not supported, only gpt2, llama, qwen2");
    if (!err)
        err = json_fields_u32(f, "vocab_size", 1, ARCH_VOCAB_MAX, &a->n_vocab);
    if (!err)
        err = dims_check(f, a);
    return err;
}

enum err hf_config_parse(const void *config, size_t config_len,
                         const void *generation, size_t generation_len,
                         struct why why, struct arch *out)
{
    struct json_fields f = {NULL, config_name, why};
    struct json_fields g = {NULL, generation_name, why};
    json_t *root = NULL, *gen = NULL;
    struct arch a = {0};
    enum err err;

    err = json_fields_parse(config, config_len, config_name, why, &root);
    if (err)
        goto done;
    f.object = root;
    err = config_parse(&f, &a);
    if (!err && generation)
        err = json_fields_parse(generation, generation_len, generation_name,
                                why, &gen);
    if (err)
        goto done;
    g.object = gen;
    err = ends_parse(json_fields_get(&g, "eos_token_id") ? &g : &f, &a);
    if (!err)
        *out = a;

done:
    json_decref(gen);
    json_decref(root);
    return err;
}
