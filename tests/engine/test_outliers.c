// Channels a hundred times larger than the others cost nothing when they are
// equalised: tales-llama with scalings that leave its function as it is stays
// within 0.5 % of the float perplexity, as a Qwen2 with a key bias of 200 as
// well. Nor do keys cost anything, however large, that no query reads.
#include <math.h>
#include <string.h>

#include "check.h"
#include "engine/local.h"
#include "golden.h"
#include "packed.h"
#include "splitter/scratch.h"
#include "splitter/source.h"

#define MODEL "tests/models/tales-llama"

enum { WINDOWS = 6, CTX_MAX = 512, WHY_LEN = 256, HEADER_MAX = 1 << 16 };

static const float LARGE = 100;
static const double LOSS_MAX = 0.005;

// The same model as a Qwen2, which has biases.
static const char qwen2[] =
    "{\"model_type\":\"qwen2\",\"hidden_act\":\"silu\",\"hidden_size\":256,"
    "\"intermediate_size\":704,\"max_position_embeddings\":512,"
    "\"num_attention_heads\":8,\"num_hidden_layers\":6,"
    "\"num_key_value_heads\":2,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,"
    "\"tie_word_embeddings\":false,\"use_sliding_window\":false,"
    "\"torch_dtype\":\"float32\",\"vocab_size\":2048,"
    "\"bos_token_id\":0,\"eos_token_id\":0}";

static const struct {
    enum source_role role;
    bool in_layer;
    const char *name;
} names[] = {
    {SOURCE_EMBED, false, "model.embed_tokens.weight"},
    {SOURCE_FINAL_GAIN, false, "model.norm.weight"},
    {SOURCE_HEAD, false, "lm_head.weight"},
    {SOURCE_NORM1_GAIN, true, "input_layernorm.weight"},
    {SOURCE_Q, true, "self_attn.q_proj.weight"},
    {SOURCE_K, true, "self_attn.k_proj.weight"},
    {SOURCE_V, true, "self_attn.v_proj.weight"},
    {SOURCE_Q_BIAS, true, "self_attn.q_proj.bias"},
    {SOURCE_K_BIAS, true, "self_attn.k_proj.bias"},
    {SOURCE_V_BIAS, true, "self_attn.v_proj.bias"},
    {SOURCE_O, true, "self_attn.o_proj.weight"},
    {SOURCE_NORM2_GAIN, true, "post_attention_layernorm.weight"},
    {SOURCE_GATE, true, "mlp.gate_proj.weight"},
    {SOURCE_UP, true, "mlp.up_proj.weight"},
    {SOURCE_DOWN, true, "mlp.down_proj.weight"},
};

enum { N_NAMES = sizeof names / sizeof names[0] };

enum variant {
    OUTLIERS,     // see distort
    KEY_BIAS,     // these, and a large bias of each layer's slowest key pair
    UNREAD,       // a rotation pair of each layer whose query rows are 0
    UNREAD_LARGE, // the same with its key rows a thousand times as large
};

static const float UNREAD_BY = 1000, BIAS = 200, BIAS_READ = 10;

// A float matrix as it is changed.
struct matrix {
    size_t rows, cols;
    float *w;
};

static void scale_row(struct matrix *m, uint32_t row, float by)
{
    for (size_t k = 0; k < m->cols; k++)
        m->w[row * m->cols + k] *= by;
}

static void scale_col(struct matrix *m, uint32_t col, float by)
{
    for (size_t r = 0; r < m->rows; r++)
        m->w[r * m->cols + col] *= by;
}

// One norm channel, one hidden channel, one value dimension and one rotation
// pair of a layer, each against what reads it.
static void distort(const struct arch *a, enum source_role role, uint32_t layer,
                    struct matrix *m)
{
    uint32_t channel = (5 + 37 * layer) % a->d_model;
    uint32_t hidden = (11 + 101 * layer) % a->d_ff;
    uint32_t kv = layer % a->n_kv_heads, dim = layer % (a->head_dim / 2);
    uint32_t repeat = a->n_heads / a->n_kv_heads;
    uint32_t row = kv * a->head_dim + dim;

    switch (role) {
    case SOURCE_NORM1_GAIN:
    case SOURCE_NORM2_GAIN:
    case SOURCE_FINAL_GAIN:
        m->w[channel] *= LARGE;
        return;
    case SOURCE_Q:
        for (uint32_t h = kv * repeat; h < (kv + 1) * repeat; h++)
            for (uint32_t i = 0; i < 2; i++)
                scale_row(m, h * a->head_dim + dim + i * a->head_dim / 2,
                          1 / LARGE);
        break;
    case SOURCE_K:
        scale_row(m, row, LARGE);
        scale_row(m, row + a->head_dim / 2, LARGE);
        break;
    case SOURCE_V:
        scale_row(m, row, LARGE);
        break;
    case SOURCE_O:
        for (uint32_t h = kv * repeat; h < (kv + 1) * repeat; h++)
            scale_col(m, h * a->head_dim + dim, 1 / LARGE);
        return;
    case SOURCE_UP:
        scale_row(m, hidden, LARGE);
        break;
    case SOURCE_DOWN:
        scale_col(m, hidden, 1 / LARGE);
        return;
    case SOURCE_GATE:
    case SOURCE_HEAD:
        break;
    default:
        return;
    }
    scale_col(m, channel, 1 / LARGE); // what reads a norm
}

static void unread(const struct arch *a, enum source_role role, uint32_t layer,
                   enum variant variant, struct matrix *m)
{
    uint32_t kv = layer % a->n_kv_heads, dim = layer % (a->head_dim / 2);
    uint32_t repeat = a->n_heads / a->n_kv_heads;

    for (uint32_t i = 0; i < 2; i++) {
        uint32_t row = dim + i * a->head_dim / 2;

        if (role == SOURCE_K && variant == UNREAD_LARGE)
            scale_row(m, kv * a->head_dim + row, UNREAD_BY);
        for (uint32_t h = kv * repeat; h < (kv + 1) * repeat; h++)
            if (role == SOURCE_Q)
                scale_row(m, h * a->head_dim + row, 0);
    }
}

// A bias on the slowest pair of all key heads, of which the queries read a
// tenth: over a window it turns so little that what it adds to the scores is
// nearly the same at all positions, which the softmax does not see (+0.07 % in
// floats).
static void key_bias(const struct arch *a, enum source_role role,
                     struct matrix *m)
{
    uint32_t half = a->head_dim / 2;

    for (uint32_t row = half - 1; row < m->rows; row += half) {
        if (role == SOURCE_K_BIAS)
            m->w[row] = BIAS;
        else if (role == SOURCE_Q)
            scale_row(m, row, 1 / BIAS_READ);
        else if (role == SOURCE_K)
            scale_row(m, row, BIAS_READ);
    }
}

// A tensor of the model; zeros where it has no such biases.
static struct matrix matrix_read(const struct source *src,
                                 enum source_role role, uint32_t layer)
{
    struct matrix m;
    char why[WHY_LEN];

    source_shape(src, role, &m.rows, &m.cols);
    m.w = calloc(m.rows * m.cols, sizeof *m.w);
    CHECK(m.w);
    if (source_has(src, role))
        CHECK_EQ(source_read(src, role, layer, 0, m.rows, m.w, why, sizeof why),
                 ERR_OK);
    return m;
}

// Append a tensor's entry to the header, and its place to *at.
static void header_add(char *header, size_t *len, const char *name, size_t rows,
                       size_t cols, size_t *at)
{
    char shape[64];
    size_t end = *at + rows * cols * sizeof(float);

    if (cols == 1)
        snprintf(shape, sizeof shape, "%zu", rows);
    else
        snprintf(shape, sizeof shape, "%zu,%zu", rows, cols);
    *len += (size_t)snprintf(header + *len, HEADER_MAX - *len,
                             "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],"
                             "\"data_offsets\":[%zu,%zu]}",
                             *len > 1 ? "," : "", name, shape, *at, end);
    CHECK(*len < HEADER_MAX);
    *at = end;
}

// Go over all tensors: into the header, or (file) the data itself.
static void write_tensors(const struct source *src, enum variant variant,
                          char *header, size_t *len, FILE *file)
{
    const struct arch *a = source_arch(src);
    size_t at = 0;

    for (uint32_t layer = 0; layer < a->n_layers; layer++)
        for (int i = 0; i < N_NAMES; i++) {
            char name[128];
            size_t rows, cols;

            if ((!names[i].in_layer && layer > 0) ||
                (variant != KEY_BIAS && !source_has(src, names[i].role)))
                continue;
            if (names[i].in_layer)
                snprintf(name, sizeof name, "model.layers.%u.%s",
                         (unsigned)layer, names[i].name);
            else
                snprintf(name, sizeof name, "%s", names[i].name);
            source_shape(src, names[i].role, &rows, &cols);
            if (!file) {
                header_add(header, len, name, rows, cols, &at);
                continue;
            }
            struct matrix m = matrix_read(src, names[i].role, layer);
            if (variant == OUTLIERS || variant == KEY_BIAS)
                distort(a, names[i].role, layer, &m);
            if (variant == KEY_BIAS)
                key_bias(a, names[i].role, &m);
            if (variant == UNREAD || variant == UNREAD_LARGE)
                unread(a, names[i].role, layer, variant, &m);
            CHECK(fwrite(m.w, sizeof *m.w, rows * cols, file) == rows * cols);
            free(m.w);
        }
}

static void write_variant(const struct scratch *dir, enum variant variant)
{
    static char header[HEADER_MAX];
    char path[SCRATCH_PATH_MAX], why[WHY_LEN];
    struct source *src;
    uint8_t prefix[8] = {0};
    size_t len = 1;

    header[0] = '{';
    CHECK_EQ(source_open(MODEL, &src, why, sizeof why), ERR_OK);
    write_tensors(src, variant, header, &len, NULL);
    header[len++] = '}';
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)len >> 8 * i);
    FILE *file = fopen(scratch_path(dir, "model.safetensors", path), "wb");
    CHECK(file);
    CHECK(fwrite(prefix, 1, 8, file) == 8 &&
          fwrite(header, 1, len, file) == len);
    write_tensors(src, variant, NULL, NULL, file);
    CHECK(fclose(file) == 0);
    source_free(src);

    static const char *const copied[] = {"config.json",
                                         "generation_config.json"};
    for (int i = 0; i < 2; i++) {
        char from[SCRATCH_PATH_MAX];
        uint8_t *bytes;

        snprintf(from, sizeof from, "%s/%s", MODEL, copied[i]);
        bytes = scratch_get(from, &len);
        scratch_put(dir, copied[i], bytes, len);
        free(bytes);
    }
    if (variant == KEY_BIAS)
        scratch_put_text(dir, "config.json", qwen2);
}

// Perplexity over the first windows, as a loss against float.
static double loss_of(const char *hf_dir, bool equalise, const struct golden *g)
{
    struct packed p = packed_from(hf_dir, 1, equalise);
    struct engine_options options = {0};
    struct engine *e = packed_engine(&p, 0, 1, &options);
    double ours = 0, golden = 0;

    CHECK(g->n_windows >= WINDOWS);
    for (size_t i = 0; i < WINDOWS; i++) {
        const struct golden_window *w = &g->windows[i];
        int32_t nll[CTX_MAX];

        CHECK(w->n <= CTX_MAX);
        CHECK_EQ(local_score(e, w->ids, w->n, nll, NULL), ERR_OK);
        for (uint32_t t = 0; t + 1 < w->n; t++)
            ours += ldexp(nll[t], -16) / (w->n - 1);
        golden += w->nll;
    }
    engine_free(e);
    packed_release(&p);
    return exp((ours - golden) / WINDOWS) - 1;
}

// The loss of a variant, split with or without equalising.
static double variant_loss(enum variant variant, bool equalise,
                           const struct golden *g)
{
    struct scratch dir;
    double loss;

    scratch_init(&dir);
    write_variant(&dir, variant);
    loss = loss_of(dir.path, equalise, g);
    scratch_release(&dir);
    return loss;
}

int main(void)
{
    struct golden g = golden_load(MODEL "/golden.json");
    double plain = variant_loss(OUTLIERS, false, &g);
    double equalised = variant_loss(OUTLIERS, true, &g);
    double bias = variant_loss(KEY_BIAS, true, &g);
    double unread = variant_loss(UNREAD, true, &g);
    double large = variant_loss(UNREAD_LARGE, true, &g);

    printf("outliers: plain %+.3f%%, equalised %+.3f%%, with a key bias "
           "%+.3f%%\n",
           100 * plain, 100 * equalised, 100 * bias);
    printf("keys that are not read: %+.3f%%, large ones %+.3f%%\n",
           100 * unread, 100 * large);
    CHECK(equalised < LOSS_MAX);
    CHECK(bias < LOSS_MAX);
    CHECK(plain > 2 * LOSS_MAX); // else the variant shows nothing
    CHECK(fabs(large - unread) < LOSS_MAX);
    golden_release(&g);
    return 0;
}
