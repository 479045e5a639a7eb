// Every family and option says what the float definitions say: small random
// models whose logits are steep, quantised, against a double-precision model
// that is itself held to the goldens of two trained ones.
#include <math.h>

#include "check.h"
#include "engine/local.h"
#include "float_model.h"
#include "golden.h"
#include "packed.h"
#include "random_model.h"

enum { CTX = 160, GOLDEN_CTX_MAX = 512, N_WINDOWS = 2, WHY_LEN = 256 };

static const double GOLDEN_NLL_MAX = 1e-3;

// How far the integer model may be from the float one over all tokens of a
// case, whose likelihoods spread by about 3: the mean of the differences, their
// root mean square (stated by case; weights changed at random by 1.4 % give as
// much as was measured, two thirds of it), the worst one, and the margin from
// which on the best token must be ours. A wrong part gives three times more.
static const double MEAN_MAX = 0.1;
static const double WORST_PER_RMS = 5, MARGIN_PER_RMS = 3, WRONG_PER_RMS = 3;

struct model_case {
    const char *name;
    struct arch arch;   // what config says; ends and n_ctx aside
    const char *config; // JSON members
    double k_bias;      // of the slowest pair
    double rms_max;
    void (*spoil)(struct arch *arch); // make it another model
};

static void spoil_eps(struct arch *a)
{
    a->norm_eps = 1e-5;
}

static void spoil_theta(struct arch *a)
{
    a->rope_theta *= 4;
}

static void spoil_kind(struct arch *a)
{
    a->rope =
        a->rope == ARCH_ROPE_LLAMA3 ? ARCH_ROPE_LINEAR : ARCH_ROPE_DEFAULT;
}

static void spoil_edges(struct arch *a)
{
    a->rope_high_freq *= 4;
}

static void spoil_bias(struct arch *a)
{
    a->qkv_bias = false;
}

static const struct model_case cases[] = {
    {"gpt2 tied, odd dimensions",
     {.family = ARCH_GPT2,
      .n_layers = 2,
      .d_model = 114,
      .n_heads = 3,
      .n_kv_heads = 3,
      .head_dim = 38,
      .d_ff = 203,
      .n_vocab = 211,
      .n_ctx = CTX,
      .norm_eps = 1,
      .tied_head = true,
      .qkv_bias = true},
     "\"model_type\": \"gpt2\", \"n_layer\": 2, \"n_embd\": 114, \"n_head\": 3,"
     "\"n_inner\": 203, \"vocab_size\": 211, \"layer_norm_epsilon\": 1.0",
     0,
     0.15,
     spoil_eps},
    {"gpt2 untied",
     {.family = ARCH_GPT2,
      .n_layers = 2,
      .d_model = 64,
      .n_heads = 2,
      .n_kv_heads = 2,
      .head_dim = 32,
      .d_ff = 256,
      .n_vocab = 97,
      .n_ctx = CTX,
      .norm_eps = 1e-5,
      .qkv_bias = true},
     "\"model_type\": \"gpt2\", \"n_layer\": 2, \"n_embd\": 64, \"n_head\": 2,"
     "\"n_inner\": null, \"vocab_size\": 97, \"tie_word_embeddings\": false",
     0,
     0.15,
     spoil_bias},
    {"llama tied, one KV head",
     {.family = ARCH_LLAMA,
      .n_layers = 2,
      .d_model = 100,
      .n_heads = 3,
      .n_kv_heads = 1,
      .head_dim = 48,
      .d_ff = 150,
      .n_vocab = 251,
      .n_ctx = CTX,
      .norm_eps = 1e-6,
      .tied_head = true,
      .rope = ARCH_ROPE_DEFAULT,
      .rope_theta = 300},
     "\"model_type\": \"llama\", \"num_hidden_layers\": 2,"
     "\"hidden_size\": 100, \"num_attention_heads\": 3,"
     "\"num_key_value_heads\": 1, \"head_dim\": 48,"
     "\"intermediate_size\": 150, \"vocab_size\": 251, \"rope_theta\": 300,"
     "\"tie_word_embeddings\": true",
     0,
     0.3,
     spoil_theta},
    {"llama untied, large epsilon",
     {.family = ARCH_LLAMA,
      .n_layers = 2,
      .d_model = 128,
      .n_heads = 4,
      .n_kv_heads = 4,
      .head_dim = 32,
      .d_ff = 193,
      .n_vocab = 130,
      .n_ctx = CTX,
      .norm_eps = 0.5,
      .rope = ARCH_ROPE_DEFAULT,
      .rope_theta = 10000},
     "\"model_type\": \"llama\", \"num_hidden_layers\": 2,"
     "\"hidden_size\": 128, \"num_attention_heads\": 4,"
     "\"intermediate_size\": 193, \"vocab_size\": 130, \"rms_norm_eps\": 0.5",
     0,
     0.15,
     spoil_eps},
    {"llama linear",
     {.family = ARCH_LLAMA,
      .n_layers = 2,
      .d_model = 96,
      .n_heads = 2,
      .n_kv_heads = 2,
      .head_dim = 80,
      .d_ff = 131,
      .n_vocab = 127,
      .n_ctx = CTX,
      .norm_eps = 1e-5,
      .rope = ARCH_ROPE_LINEAR,
      .rope_theta = 10000,
      .rope_factor = 4},
     "\"model_type\": \"llama\", \"num_hidden_layers\": 2,"
     "\"hidden_size\": 96, \"num_attention_heads\": 2, \"head_dim\": 80,"
     "\"intermediate_size\": 131, \"vocab_size\": 127,"
     "\"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0,"
     "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}",
     0,
     0.35,
     spoil_kind},
    {"llama 3",
     {.family = ARCH_LLAMA,
      .n_layers = 2,
      .d_model = 136,
      .n_heads = 4,
      .n_kv_heads = 2,
      .head_dim = 64,
      .d_ff = 201,
      .n_vocab = 163,
      .n_ctx = CTX,
      .norm_eps = 1e-5,
      .rope = ARCH_ROPE_LLAMA3,
      .rope_theta = 500,
      .rope_factor = 8,
      .rope_low_freq = 1,
      .rope_high_freq = 4,
      .rope_orig_ctx = 64},
     "\"model_type\": \"llama\", \"num_hidden_layers\": 2,"
     "\"hidden_size\": 136, \"num_attention_heads\": 4, \"head_dim\": 64,"
     "\"num_key_value_heads\": 2, \"intermediate_size\": 201,"
     "\"vocab_size\": 163, \"rms_norm_eps\": 1e-5, \"rope_theta\": 500.0,"
     "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0,"
     "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0,"
     "\"original_max_position_embeddings\": 64}",
     0,
     0.35,
     spoil_kind},
    {"llama 3 tied, heads of 128, edges",
     {.family = ARCH_LLAMA,
      .n_layers = 2,
      .d_model = 90,
      .n_heads = 2,
      .n_kv_heads = 1,
      .head_dim = 128,
      .d_ff = 129,
      .n_vocab = 149,
      .n_ctx = CTX,
      .norm_eps = 1e-5,
      .tied_head = true,
      .rope = ARCH_ROPE_LLAMA3,
      .rope_theta = 10000,
      .rope_factor = 32,
      .rope_low_freq = 2,
      .rope_high_freq = 8,
      .rope_orig_ctx = 256},
     "\"model_type\": \"llama\", \"num_hidden_layers\": 2,"
     "\"hidden_size\": 90, \"num_attention_heads\": 2, \"head_dim\": 128,"
     "\"num_key_value_heads\": 1, \"intermediate_size\": 129,"
     "\"vocab_size\": 149, \"rms_norm_eps\": 1e-5,"
     "\"tie_word_embeddings\": true,"
     "\"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 32.0,"
     "\"rope_theta\": 10000.0, \"low_freq_factor\": 2.0,"
     "\"high_freq_factor\": 8.0,"
     "\"original_max_position_embeddings\": 256}",
     0,
     0.35,
     spoil_edges},
    {"qwen2 untied, biases",
     {.family = ARCH_QWEN2,
      .n_layers = 2,
      .d_model = 112,
      .n_heads = 6,
      .n_kv_heads = 2,
      .head_dim = 40,
      .d_ff = 171,
      .n_vocab = 139,
      .n_ctx = CTX,
      .norm_eps = 1e-6,
      .qkv_bias = true,
      .rope = ARCH_ROPE_DEFAULT,
      .rope_theta = 1000000},
     "\"model_type\": \"qwen2\", \"num_hidden_layers\": 2,"
     "\"hidden_size\": 112, \"num_attention_heads\": 6, \"head_dim\": 40,"
     "\"num_key_value_heads\": 2, \"intermediate_size\": 171,"
     "\"vocab_size\": 139, \"rms_norm_eps\": 1e-6,"
     "\"rope_theta\": 1000000.0, \"use_sliding_window\": false",
     0,
     0.25,
     spoil_bias},
    {"qwen2 tied, a K bias of 200",
     {.family = ARCH_QWEN2,
      .n_layers = 2,
      .d_model = 128,
      .n_heads = 2,
      .n_kv_heads = 1,
      .head_dim = 64,
      .d_ff = 190,
      .n_vocab = 151,
      .n_ctx = CTX,
      .norm_eps = 1e-6,
      .tied_head = true,
      .qkv_bias = true,
      .rope = ARCH_ROPE_DEFAULT,
      .rope_theta = 1000000},
     "\"model_type\": \"qwen2\", \"num_hidden_layers\": 2,"
     "\"hidden_size\": 128, \"num_attention_heads\": 2,"
     "\"num_key_value_heads\": 1, \"intermediate_size\": 190,"
     "\"vocab_size\": 151, \"rms_norm_eps\": 1e-6,"
     "\"rope_theta\": 1000000.0, \"tie_word_embeddings\": true",
     200,
     0.7,
     spoil_bias},
};

enum { N_CASES = sizeof cases / sizeof cases[0] };

static struct source *open_source(const char *hf_dir)
{
    struct source *src;
    char why[WHY_LEN] = "";

    if (source_open(hf_dir, &src, why, sizeof why)) {
        fprintf(stderr, "%s: %s\n", hf_dir, why);
        exit(1);
    }
    return src;
}

static void float_model_gives_the_golden(const char *hf_dir)
{
    char path[256];
    struct float_token said[GOLDEN_CTX_MAX];
    struct source *src = open_source(hf_dir);
    double mean = 0;

    snprintf(path, sizeof path, "%s/golden.json", hf_dir);
    struct golden g = golden_load(path);
    const struct golden_window *w = &g.windows[0];

    CHECK(w->n <= GOLDEN_CTX_MAX);
    float_model_score(src, source_arch(src), w->ids, w->n, said);
    for (uint32_t t = 0; t + 1 < w->n; t++)
        mean += said[t].nll / (w->n - 1);
    printf("%s: %.6f golden %.6f\n", hf_dir, mean, w->nll);
    CHECK(fabs(mean - w->nll) < GOLDEN_NLL_MAX);
    golden_release(&g);
    source_free(src);
}

// What was found over the windows of a case.
struct deviation {
    unsigned n, clear, clear_missed;
    double sum, squares, worst;
};

static void deviation_add(struct deviation *d, const struct float_token *want,
                          double nll, uint32_t best, double margin)
{
    double off = nll - want->nll;

    d->n++;
    d->sum += off;
    d->squares += off * off;
    d->worst = fmax(d->worst, fabs(off));
    if (want->margin > margin) {
        d->clear++;
        d->clear_missed += best != want->best;
    }
}

static double deviation_rms(const struct deviation *d)
{
    return sqrt(d->squares / d->n);
}

// One window: the engine against the float model, and the float model against
// one that is wrong.
static void window_compare(const struct model_case *c, const struct source *src,
                           struct engine *e, const uint32_t *ids, uint32_t n,
                           struct deviation *ours, struct deviation *wrong)
{
    struct float_token want[CTX], other[CTX];
    struct arch spoilt = c->arch;
    int32_t nll[CTX];
    uint32_t best[CTX];

    c->spoil(&spoilt);
    float_model_score(src, &c->arch, ids, n, want);
    float_model_score(src, &spoilt, ids, n, other);
    CHECK_EQ(local_score(e, ids, n, nll, best), ERR_OK);
    for (uint32_t t = 0; t + 1 < n; t++) {
        deviation_add(ours, &want[t], ldexp(nll[t], -16), best[t],
                      MARGIN_PER_RMS * c->rms_max);
        deviation_add(wrong, &want[t], other[t].nll, other[t].best, HUGE_VAL);
    }
}

static void case_write(const struct model_case *c, const struct scratch *dir)
{
    char config[1024];
    int len = snprintf(config, sizeof config, "{%s, \"%s\": %d}", c->config,
                       c->arch.family == ARCH_GPT2 ? "n_positions"
                                                   : "max_position_embeddings",
                       CTX);

    CHECK(len < (int)sizeof config);
    random_model_write(dir, &c->arch, config, c->k_bias);
}

static bool case_agrees(const struct model_case *c)
{
    static const uint32_t lengths[N_WINDOWS] = {CTX - 9, 33};
    struct engine_options options = {0};
    struct deviation ours = {0}, wrong = {0};
    struct scratch dir;
    uint64_t state = 1;

    scratch_init(&dir);
    case_write(c, &dir);
    struct source *src = open_source(dir.path);
    struct packed p = packed_from(dir.path, 1, true);
    struct engine *e = packed_engine(&p, 0, 1, &options);

    for (int i = 0; i < N_WINDOWS; i++) {
        uint32_t ids[CTX];

        for (uint32_t t = 0; t < lengths[i]; t++)
            ids[t] = random_next(&state) % c->arch.n_vocab;
        window_compare(c, src, e, ids, lengths[i], &ours, &wrong);
    }
    printf("%s: mean %+.4f rms %.4f worst %.4f, clear %u missed %u; "
           "wrong rms %.4f\n",
           c->name, ours.sum / ours.n, deviation_rms(&ours), ours.worst,
           ours.clear, ours.clear_missed, deviation_rms(&wrong));
    engine_free(e);
    packed_release(&p);
    source_free(src);
    scratch_release(&dir);
    return fabs(ours.sum / ours.n) < MEAN_MAX &&
           deviation_rms(&ours) < c->rms_max &&
           ours.worst < WORST_PER_RMS * c->rms_max && ours.clear > 0 &&
           ours.clear_missed == 0 &&
           deviation_rms(&wrong) >
               WRONG_PER_RMS * c->rms_max; // else it shows nothing
}

int main(void)
{
    bool ok = true;

    float_model_gives_the_golden("ops/models/tales-gpt2");
    float_model_gives_the_golden("tests/models/tales-llama");
    for (int i = 0; i < N_CASES; i++)
        if (!case_agrees(&cases[i])) {
            fprintf(stderr, "%s: out of bounds\n", cases[i].name);
            ok = false;
        }
    CHECK(ok);
    return 0;
}
