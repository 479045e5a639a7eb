// config.json: what it becomes, in old and new spellings, and each refusal.
#include <math.h>
#include <string.h>

#include "check.h"
#include "splitter/hf_config.h"

#define GPT2                                                            \
    "\"model_type\":\"gpt2\",\"n_layer\":2,\"n_embd\":64,\"n_head\":2," \
    "\"n_positions\":128,\"vocab_size\":100"
#define LLAMA_DIMS                                         \
    "\"num_hidden_layers\":3,\"hidden_size\":256,"         \
    "\"num_attention_heads\":4,\"intermediate_size\":700," \
    "\"max_position_embeddings\":8192,\"vocab_size\":1000"
#define LLAMA "\"model_type\":\"llama\"," LLAMA_DIMS
#define QWEN2 "\"model_type\":\"qwen2\"," LLAMA_DIMS
#define L3                                                             \
    "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0," \
    "\"original_max_position_embeddings\":4096"

static enum err parse(const char *config, const char *generation,
                      struct arch *a, char why[WHY_LEN_MAX])
{
    // Exact-size copies let AddressSanitizer see an overread.
    size_t n = strlen(config), g = generation ? strlen(generation) : 0;
    char *c = malloc(n + 1), *gen = malloc(g + 1);
    enum err err;

    CHECK(c && gen);
    memcpy(c, config, n);
    if (g)
        memcpy(gen, generation, g);
    err = hf_config_parse(c, n, generation ? gen : NULL, g,
                          (struct why){why, WHY_LEN_MAX}, a);
    free(gen);
    free(c);
    return err;
}

static struct arch parse_ok(const char *config, const char *generation)
{
    struct arch a;
    char why[WHY_LEN_MAX] = "";
    enum err err = parse(config, generation, &a, why);

    if (err)
        fprintf(stderr, "%s\n%s\n", config, why);
    CHECK_EQ(err, ERR_OK);
    return a;
}

static void check_real(double got, double want)
{
    CHECK(fabs(got - want) <= 1e-12 * fabs(want));
}

static void reads_gpt2(void)
{
    struct arch a = parse_ok("{" GPT2 "}", NULL);

    CHECK_EQ(a.family, ARCH_GPT2);
    CHECK_EQ(a.n_layers, 2);
    CHECK_EQ(a.d_model, 64);
    CHECK_EQ(a.n_heads, 2);
    CHECK_EQ(a.n_kv_heads, 2);
    CHECK_EQ(a.head_dim, 32);
    CHECK_EQ(a.d_ff, 256);
    CHECK_EQ(a.n_vocab, 100);
    CHECK_EQ(a.n_ctx, 128);
    CHECK(a.tied_head && a.qkv_bias);
    CHECK_EQ(a.n_ends, 0);
    check_real(a.norm_eps, 1e-5);

    a = parse_ok("{" GPT2 ",\"n_inner\":null,\"eos_token_id\":99,"
                 "\"activation_function\":\"gelu_pytorch_tanh\","
                 "\"layer_norm_epsilon\":1e-6,\"torch_dtype\":\"float32\","
                 "\"tie_word_embeddings\":false}",
                 NULL);
    CHECK_EQ(a.d_ff, 256);
    CHECK_EQ(a.n_ends, 1);
    CHECK_EQ(a.ends[0], 99);
    CHECK(!a.tied_head);
    check_real(a.norm_eps, 1e-6);

    a = parse_ok("{\"model_type\":\"gpt2\",\"n_layer\":2,\"n_embd\":64,"
                 "\"n_head\":1,\"n_ctx\":77,\"vocab_size\":3,\"n_inner\":65,"
                 "\"reorder_and_upcast_attn\":true}",
                 NULL);
    CHECK_EQ(a.n_ctx, 77);
    CHECK_EQ(a.d_ff, 65);
}

static void reads_llama_and_qwen2(void)
{
    struct arch a = parse_ok("{" LLAMA "}", NULL);

    CHECK_EQ(a.family, ARCH_LLAMA);
    CHECK_EQ(a.n_kv_heads, 4);
    CHECK_EQ(a.head_dim, 64);
    CHECK_EQ(a.d_ff, 700);
    CHECK_EQ(a.n_ctx, 8192);
    CHECK(!a.tied_head && !a.qkv_bias);
    CHECK_EQ(a.rope, ARCH_ROPE_DEFAULT);
    check_real(a.rope_theta, 10000.0);
    check_real(a.norm_eps, 1e-6);

    a = parse_ok("{" LLAMA ",\"num_key_value_heads\":1,\"head_dim\":128,"
                 "\"rms_norm_eps\":1e-5,\"tie_word_embeddings\":true,"
                 "\"hidden_act\":\"silu\",\"sliding_window\":null,"
                 "\"rope_theta\":500000}",
                 NULL);
    CHECK_EQ(a.n_kv_heads, 1);
    CHECK_EQ(a.head_dim, 128);
    CHECK(a.tied_head);
    check_real(a.rope_theta, 500000.0);

    a = parse_ok("{" QWEN2 ",\"use_sliding_window\":false,"
                 "\"sliding_window\":4096,\"num_key_value_heads\":2,"
                 "\"layer_types\":[\"full_attention\",\"full_attention\"]}",
                 NULL);
    CHECK_EQ(a.family, ARCH_QWEN2);
    CHECK(a.qkv_bias);

    // A longer context than the engine's is served up to its limit.
    a = parse_ok("{\"model_type\":\"llama\",\"num_hidden_layers\":1,"
                 "\"hidden_size\":64,\"num_attention_heads\":2,"
                 "\"intermediate_size\":1,\"vocab_size\":1,"
                 "\"max_position_embeddings\":1048576}",
                 NULL);
    CHECK_EQ(a.n_ctx, ARCH_CTX_MAX);
}

static void reads_every_spelling_of_rope(void)
{
    static const struct {
        const char *keys;
        enum arch_rope rope;
        double theta, factor;
    } cases[] = {
        {",\"rope_scaling\":null", ARCH_ROPE_DEFAULT, 1e4, 0},
        {",\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":\"default\"}",
         ARCH_ROPE_DEFAULT, 5e5, 0},
        {",\"rope_parameters\":{\"rope_theta\":5e5}", ARCH_ROPE_DEFAULT, 5e5,
         0},
        {",\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"linear\","
         "\"factor\":2}",
         ARCH_ROPE_LINEAR, 5e5, 2},
        {",\"rope_scaling\":{\"rope_type\":\"llama3\"," L3 "}",
         ARCH_ROPE_LLAMA3, 1e4, 8},
        {",\"rope_scaling\":{\"rope_type\":\"llama3\",\"type\":\"llama3\"," L3
         "}",
         ARCH_ROPE_LLAMA3, 1e4, 8},
        {",\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":1e6," L3
         "}",
         ARCH_ROPE_LLAMA3, 1e6, 8},
        {",\"rope_theta\":1e6,\"rope_parameters\":{\"rope_type\":\"linear\","
         "\"rope_theta\":1e6,\"factor\":4},\"rope_scaling\":"
         "{\"type\":\"linear\",\"factor\":4}",
         ARCH_ROPE_LINEAR, 1e6, 4},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char config[1024];
        struct arch a;

        snprintf(config, sizeof config, "{" LLAMA "%s}", cases[i].keys);
        a = parse_ok(config, NULL);
        CHECK_EQ(a.rope, cases[i].rope);
        check_real(a.rope_theta, cases[i].theta);
        check_real(a.rope_factor, cases[i].factor);
        if (a.rope == ARCH_ROPE_LLAMA3) {
            check_real(a.rope_low_freq, 1.0);
            check_real(a.rope_high_freq, 4.0);
            CHECK_EQ(a.rope_orig_ctx, 4096);
        }
    }
}

static void reads_end_tokens(void)
{
    struct arch a;

    a = parse_ok("{" GPT2 ",\"eos_token_id\":[5,6,5]}", NULL);
    CHECK_EQ(a.n_ends, 2);
    CHECK_EQ(a.ends[1], 6);
    a = parse_ok("{" GPT2 ",\"eos_token_id\":5}", "{\"eos_token_id\":[7,8]}");
    CHECK_EQ(a.n_ends, 2);
    CHECK_EQ(a.ends[0], 7);
    a = parse_ok("{" GPT2 ",\"eos_token_id\":5}", "{\"eos_token_id\":null}");
    CHECK_EQ(a.n_ends, 1);
    CHECK_EQ(a.ends[0], 5);
    a = parse_ok("{" GPT2 ",\"eos_token_id\":null}", "{}");
    CHECK_EQ(a.n_ends, 0);
}

static const struct {
    const char *config, *generation;
    enum err err;
    const char *why;
} refusals[] = {
    {"{\"model_type\":\"mistral\"}", NULL, ERR_UNSUPPORTED,
     "config.json: model_type: \"mistral\" is not supported, only gpt2, "
     "llama, qwen2"},
    {"{}", NULL, ERR_FORMAT, "config.json: model_type: missing"},
    {"{\"model_type\":7}", NULL, ERR_FORMAT,
     "config.json: model_type: 7 is not a string"},
    {"[1]", NULL, ERR_FORMAT, "config.json: not a JSON object"},
    {"{" GPT2 "}", "[]", ERR_FORMAT,
     "generation_config.json: not a JSON object"},
    {"{" GPT2 ",\"n_layer\":2}", NULL, ERR_FORMAT,
     "config.json: not valid JSON: line 1: duplicate object key near "
     "'\"n_layer\"'"},
    {"{" GPT2 ",\"activation_function\":\"relu\"}", NULL, ERR_UNSUPPORTED,
     "config.json: activation_function: \"relu\" is not supported, only "
     "\"gelu_new\""},
    {"{" GPT2 ",\"scale_attn_by_inverse_layer_idx\":true}", NULL,
     ERR_UNSUPPORTED,
     "config.json: scale_attn_by_inverse_layer_idx: true is not supported"},
    {"{" GPT2 ",\"scale_attn_weights\":false}", NULL, ERR_UNSUPPORTED,
     "config.json: scale_attn_weights: false is not supported"},
    {"{" GPT2 ",\"add_cross_attention\":true}", NULL, ERR_UNSUPPORTED,
     "config.json: add_cross_attention: true is not supported"},
    {"{" GPT2 ",\"tie_word_embeddings\":1}", NULL, ERR_FORMAT,
     "config.json: tie_word_embeddings: 1 is not true or false"},
    {"{" GPT2 ",\"quantization_config\":{\"quant_method\":\"gptq\"}}", NULL,
     ERR_UNSUPPORTED,
     "config.json: quantization_config: {\"quant_method\":\"gptq\"} is not "
     "supported"},
    {"{" GPT2 ",\"n_inner\":0}", NULL, ERR_RANGE,
     "config.json: n_inner: 0 is out of range (1 to 65536)"},
    {"{" GPT2 ",\"eos_token_id\":100}", NULL, ERR_RANGE,
     "config.json: eos_token_id: 100 is not a token id of this vocabulary"},
    {"{" GPT2 ",\"eos_token_id\":\"5\"}", NULL, ERR_RANGE,
     "config.json: eos_token_id: \"5\" is not a token id of this vocabulary"},
    {"{" GPT2 "}", "{\"eos_token_id\":[1,-1]}", ERR_RANGE,
     "generation_config.json: eos_token_id: -1 is not a token id of this "
     "vocabulary"},
    {"{" GPT2 "}", "{\"eos_token_id\":[1,2,3,4,5,6,7,8,9]}", ERR_RANGE,
     "generation_config.json: eos_token_id: [1,2,3,4,5,6,7,8,9] has too many "
     "ids"},
    {"{\"model_type\":\"gpt2\",\"n_layer\":2,\"n_embd\":64,\"n_head\":3,"
     "\"n_positions\":8,\"vocab_size\":9}",
     NULL, ERR_RANGE, "config.json: n_head: 3 does not divide n_embd"},
    {"{\"model_type\":\"gpt2\",\"n_layer\":2,\"n_embd\":64,\"n_head\":4,"
     "\"n_positions\":8,\"vocab_size\":9}",
     NULL, ERR_RANGE,
     "config.json: a head size of 16 is not supported, only even ones from "
     "32 to 128"},
    {"{\"model_type\":\"gpt2\",\"n_layer\":99999,\"n_embd\":64}", NULL,
     ERR_RANGE, "config.json: n_layer: 99999 is out of range (1 to 1024)"},
    {"{\"model_type\":\"gpt2\",\"n_layer\":2.5}", NULL, ERR_FORMAT,
     "config.json: n_layer: 2.5 is not a whole number"},
    {"{\"model_type\":\"gpt2\",\"n_layer\":2,\"n_embd\":65536,\"n_head\":512,"
     "\"n_positions\":8,\"vocab_size\":9}",
     NULL, ERR_RANGE, "config.json: n_embd: 65536 is too large"},
    {"{\"model_type\":\"gpt2\",\"n_layer\":2,\"n_embd\":64,\"n_head\":2,"
     "\"vocab_size\":9}",
     NULL, ERR_FORMAT, "config.json: n_ctx: missing"},
    {"{" LLAMA ",\"hidden_act\":\"gelu\"}", NULL, ERR_UNSUPPORTED,
     "config.json: hidden_act: \"gelu\" is not supported, only \"silu\""},
    {"{" LLAMA ",\"attention_bias\":true}", NULL, ERR_UNSUPPORTED,
     "config.json: attention_bias: true is not supported"},
    {"{" LLAMA ",\"mlp_bias\":true}", NULL, ERR_UNSUPPORTED,
     "config.json: mlp_bias: true is not supported"},
    {"{" QWEN2 ",\"use_sliding_window\":true}", NULL, ERR_UNSUPPORTED,
     "config.json: use_sliding_window: true is not supported"},
    {"{" QWEN2 ",\"layer_types\":[\"full_attention\",\"sliding_attention\"]}",
     NULL, ERR_UNSUPPORTED,
     "config.json: layer_types: \"sliding_attention\" is not supported, only "
     "\"full_attention\""},
    {"{" LLAMA ",\"num_key_value_heads\":3}", NULL, ERR_RANGE,
     "config.json: num_key_value_heads: 3 does not divide "
     "num_attention_heads"},
    {"{" LLAMA ",\"num_key_value_heads\":8}", NULL, ERR_RANGE,
     "config.json: num_key_value_heads: 8 is out of range (1 to 4)"},
    {"{" LLAMA ",\"head_dim\":33}", NULL, ERR_RANGE,
     "config.json: a head size of 33 is not supported, only even ones from "
     "32 to 128"},
    {"{" LLAMA ",\"rms_norm_eps\":0}", NULL, ERR_RANGE,
     "config.json: rms_norm_eps: 0 is out of range (1e-12 to 1)"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}}", NULL,
     ERR_UNSUPPORTED,
     "config.json: rope_scaling: type: \"yarn\" is not supported, only "
     "default, linear, llama3"},
    {"{" LLAMA ",\"rope_parameters\":{\"rope_type\":\"dynamic\"}}", NULL,
     ERR_UNSUPPORTED,
     "config.json: rope_parameters: rope_type: \"dynamic\" is not supported, "
     "only default, linear, llama3"},
    {"{" LLAMA ",\"rope_parameters\":{\"full_attention\":{}}}", NULL,
     ERR_UNSUPPORTED,
     "config.json: rope_parameters: {\"full_attention\":{}} is not "
     "supported: it differs by layer"},
    {"{" LLAMA ",\"rope_parameters\":[]}", NULL, ERR_FORMAT,
     "config.json: rope_parameters: [] is not an object"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"linear\"}}", NULL, ERR_FORMAT,
     "config.json: rope_scaling: factor: missing"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}}", NULL,
     ERR_RANGE,
     "config.json: rope_scaling: factor: 0.5 is out of range (1 to 1e+06)"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,"
     "\"low_freq_factor\":4,\"high_freq_factor\":4,"
     "\"original_max_position_embeddings\":9}}",
     NULL, ERR_RANGE,
     "config.json: rope_scaling: high_freq_factor: 4 is not above "
     "low_freq_factor"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,"
     "\"low_freq_factor\":1,\"high_freq_factor\":4}}",
     NULL, ERR_FORMAT,
     "config.json: original_max_position_embeddings: missing"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},"
     "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":3}}",
     NULL, ERR_UNSUPPORTED,
     "config.json: rope_scaling: {\"type\":\"linear\",\"factor\":2} "
     "contradicts rope_parameters"},
    {"{" LLAMA ",\"rope_theta\":1e4,\"rope_parameters\":{\"rope_theta\":1e5}}",
     NULL, ERR_UNSUPPORTED,
     "config.json: rope_theta: 10000.0 contradicts rope_parameters"},
    {"{" LLAMA ",\"partial_rotary_factor\":0.5}", NULL, ERR_UNSUPPORTED,
     "config.json: partial_rotary_factor: 0.5 is not supported"},
    {"{" LLAMA ",\"rope_theta\":\"big\"}", NULL, ERR_FORMAT,
     "config.json: rope_theta: \"big\" is not a number"},
};

static void names_what_it_refuses(void)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct arch a = {.n_layers = 4711};
        char why[WHY_LEN_MAX] = "";
        enum err err =
            parse(refusals[i].config, refusals[i].generation, &a, why);

        if (err != refusals[i].err || strcmp(why, refusals[i].why) != 0)
            fprintf(stderr, "case %zu: %d\n%s\n%s\n", i, (int)err, why,
                    refusals[i].why);
        CHECK_EQ(err, refusals[i].err);
        CHECK(strcmp(why, refusals[i].why) == 0);
        CHECK_EQ(a.n_layers, 4711);
    }
}

static void cuts_long_values_short(void)
{
    char config[400] = "{\"model_type\":\"";
    char why[WHY_LEN_MAX] = "";
    struct arch a;

    memset(config + strlen(config), 'x', 63);
    memcpy(config + strlen(config), "\"}", 3);
    CHECK_EQ(parse(config, NULL, &a, why), ERR_UNSUPPORTED);
    CHECK(strstr(why, "xxx... is not supported"));
    CHECK(strlen(why) < 200);
    CHECK(!strchr(why, '\n'));
}

int main(void)
{
    reads_gpt2();
    reads_llama_and_qwen2();
    reads_every_spelling_of_rope();
    reads_end_tokens();
    names_what_it_refuses();
    cuts_long_values_short();
    return 0;
}
