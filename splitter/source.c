#include "splitter/source.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "splitter/file_map.h"
#include "splitter/floats.h"
#include "splitter/hf_config.h"
#include "splitter/source_files.h"
#include "splitter/why.h"

enum {
    RUN_LEN = 1024,      // elements converted at a time
    DROP_STEP = 1 << 20, // bytes of a file that stay in memory behind a reader
};

// Where the rows of one role of one layer lie in a file.
struct view {
    const struct source_file *file;
    const struct safetensors_tensor *tensor;
    uint64_t row; // of the role's first row (its first column if transposed)
};

struct source {
    struct arch arch;
    struct source_files files;
    struct view global[SOURCE_NORM1_GAIN];
    struct view (*layers)[SOURCE_ROLES]; // n_layers; global roles unused
};

// The tensor behind a role. "%u" is the layer. GPT-2 keeps matrices as (in,
// out), and Q, K, V side by side in one.
struct role_name {
    const char *name; // NULL: the family has no such role
    uint32_t part;    // index of the role in a fused tensor of three
    bool transposed;
    bool fused;
};

static const struct role_name gpt2_names[SOURCE_ROLES] = {
    [SOURCE_EMBED] = {.name = "wte.weight"},
    [SOURCE_POSITION] = {.name = "wpe.weight"},
    [SOURCE_FINAL_GAIN] = {.name = "ln_f.weight"},
    [SOURCE_FINAL_BIAS] = {.name = "ln_f.bias"},
    [SOURCE_HEAD] = {.name = "lm_head.weight"},
    [SOURCE_NORM1_GAIN] = {.name = "h.%u.ln_1.weight"},
    [SOURCE_NORM1_BIAS] = {.name = "h.%u.ln_1.bias"},
    [SOURCE_Q] = {"h.%u.attn.c_attn.weight", 0, true, true},
    [SOURCE_K] = {"h.%u.attn.c_attn.weight", 1, true, true},
    [SOURCE_V] = {"h.%u.attn.c_attn.weight", 2, true, true},
    [SOURCE_Q_BIAS] = {"h.%u.attn.c_attn.bias", 0, false, true},
    [SOURCE_K_BIAS] = {"h.%u.attn.c_attn.bias", 1, false, true},
    [SOURCE_V_BIAS] = {"h.%u.attn.c_attn.bias", 2, false, true},
    [SOURCE_O] = {"h.%u.attn.c_proj.weight", 0, true, false},
    [SOURCE_O_BIAS] = {.name = "h.%u.attn.c_proj.bias"},
    [SOURCE_NORM2_GAIN] = {.name = "h.%u.ln_2.weight"},
    [SOURCE_NORM2_BIAS] = {.name = "h.%u.ln_2.bias"},
    [SOURCE_UP] = {"h.%u.mlp.c_fc.weight", 0, true, false},
    [SOURCE_UP_BIAS] = {.name = "h.%u.mlp.c_fc.bias"},
    [SOURCE_DOWN] = {"h.%u.mlp.c_proj.weight", 0, true, false},
    [SOURCE_DOWN_BIAS] = {.name = "h.%u.mlp.c_proj.bias"},
};

// Llama and Qwen2; the biases are there where arch.qkv_bias.
static const struct role_name llama_names[SOURCE_ROLES] = {
    [SOURCE_EMBED] = {.name = "embed_tokens.weight"},
    [SOURCE_FINAL_GAIN] = {.name = "norm.weight"},
    [SOURCE_HEAD] = {.name = "lm_head.weight"},
    [SOURCE_NORM1_GAIN] = {.name = "layers.%u.input_layernorm.weight"},
    [SOURCE_Q] = {.name = "layers.%u.self_attn.q_proj.weight"},
    [SOURCE_K] = {.name = "layers.%u.self_attn.k_proj.weight"},
    [SOURCE_V] = {.name = "layers.%u.self_attn.v_proj.weight"},
    [SOURCE_Q_BIAS] = {.name = "layers.%u.self_attn.q_proj.bias"},
    [SOURCE_K_BIAS] = {.name = "layers.%u.self_attn.k_proj.bias"},
    [SOURCE_V_BIAS] = {.name = "layers.%u.self_attn.v_proj.bias"},
    [SOURCE_O] = {.name = "layers.%u.self_attn.o_proj.weight"},
    [SOURCE_NORM2_GAIN] = {.name = "layers.%u.post_attention_layernorm.weight"},
    [SOURCE_GATE] = {.name = "layers.%u.mlp.gate_proj.weight"},
    [SOURCE_UP] = {.name = "layers.%u.mlp.up_proj.weight"},
    [SOURCE_DOWN] = {.name = "layers.%u.mlp.down_proj.weight"},
};

static const struct role_name *role_name(const struct source *src,
                                         enum source_role role)
{
    bool bias =
        role == SOURCE_Q_BIAS || role == SOURCE_K_BIAS || role == SOURCE_V_BIAS;

    if (src->arch.family == ARCH_GPT2)
        return &gpt2_names[role];
    return bias && !src->arch.qkv_bias ? &llama_names[SOURCE_POSITION]
                                       : &llama_names[role];
}

static bool is_global(enum source_role role)
{
    return role < SOURCE_NORM1_GAIN;
}

const struct arch *source_arch(const struct source *src)
{
    return &src->arch;
}

bool source_has(const struct source *src, enum source_role role)
{
    return role_name(src, role)->name;
}

void source_shape(const struct source *src, enum source_role role, size_t *rows,
                  size_t *cols)
{
    const struct arch *a = &src->arch;
    size_t q = (size_t)a->n_heads * a->head_dim;
    size_t kv = (size_t)a->n_kv_heads * a->head_dim;
    size_t shapes[SOURCE_ROLES][2] = {
        [SOURCE_EMBED] = {a->n_vocab, a->d_model},
        [SOURCE_POSITION] = {a->n_ctx, a->d_model},
        [SOURCE_FINAL_GAIN] = {a->d_model, 1},
        [SOURCE_FINAL_BIAS] = {a->d_model, 1},
        [SOURCE_HEAD] = {a->n_vocab, a->d_model},
        [SOURCE_NORM1_GAIN] = {a->d_model, 1},
        [SOURCE_NORM1_BIAS] = {a->d_model, 1},
        [SOURCE_Q] = {q, a->d_model},
        [SOURCE_K] = {kv, a->d_model},
        [SOURCE_V] = {kv, a->d_model},
        [SOURCE_Q_BIAS] = {q, 1},
        [SOURCE_K_BIAS] = {kv, 1},
        [SOURCE_V_BIAS] = {kv, 1},
        [SOURCE_O] = {a->d_model, q},
        [SOURCE_O_BIAS] = {a->d_model, 1},
        [SOURCE_NORM2_GAIN] = {a->d_model, 1},
        [SOURCE_NORM2_BIAS] = {a->d_model, 1},
        [SOURCE_GATE] = {a->d_ff, a->d_model},
        [SOURCE_UP] = {a->d_ff, a->d_model},
        [SOURCE_UP_BIAS] = {a->d_ff, 1},
        [SOURCE_DOWN] = {a->d_model, a->d_ff},
        [SOURCE_DOWN_BIAS] = {a->d_model, 1},
    };

    *rows = shapes[role][0];
    *cols = shapes[role][1];
}

// Look a name up with and without the prefix that whole checkpoints have.
static const struct safetensors_tensor *
tensor_find(const struct source *src, const char *name,
            const struct source_file **file)
{
    const char *prefix =
        src->arch.family == ARCH_GPT2 ? "transformer." : "model.";
    const struct safetensors_tensor *t;
    char full[128];

    (void)snprintf(full, sizeof full, "%s%s", prefix, name);
    t = source_files_find(&src->files, full, file);
    return t ? t : source_files_find(&src->files, name, file);
}

static void name_expand(char *out, size_t len, const char *pattern,
                        uint32_t layer)
{
    const char *at = strstr(pattern, "%u");

    if (at)
        (void)snprintf(out, len, "%.*s%" PRIu32 "%s", (int)(at - pattern),
                       pattern, layer, at + 2);
    else
        (void)snprintf(out, len, "%s", pattern);
}

static enum err shape_check(const struct view *v, uint64_t rows, uint64_t cols,
                            bool vector, struct why why)
{
    const struct safetensors_tensor *t = v->tensor;

    if (t->dtype > SAFETENSORS_BF16)
        return why_fail(why, ERR_UNSUPPORTED,
                        "%s: %s: dtype %s is not supported, only F32, F16, "
                        "BF16",
                        v->file->name, t->name, t->dtype_name);
    if (vector && (t->n_dims != 1 || t->dims[0] != rows))
        return why_fail(why, ERR_FORMAT,
                        "%s: %s: the shape is not (%" PRIu64
                        ") as config.json says",
                        v->file->name, t->name, rows);
    if (!vector && (t->n_dims != 2 || t->dims[0] != rows || t->dims[1] != cols))
        return why_fail(why, ERR_FORMAT,
                        "%s: %s: the shape is not (%" PRIu64 ", %" PRIu64
                        ") as config.json says",
                        v->file->name, t->name, rows, cols);
    return ERR_OK;
}

static enum err role_bind(const struct source *src, enum source_role role,
                          uint32_t layer, struct view *out, struct why why)
{
    const struct role_name *rn = role_name(src, role);
    struct view v = {0};
    char name[128];
    size_t rows, cols;

    name_expand(name, sizeof name, rn->name, layer);
    v.tensor = tensor_find(src, name, &v.file);
    if (!v.tensor)
        return why_fail(why, ERR_NOT_FOUND, "%s: tensor %s is missing",
                        src->files.where, name);
    source_shape(src, role, &rows, &cols);
    v.row = rn->part * (uint64_t)rows;
    if (rn->fused)
        rows *= 3;
    *out = v;
    if (rn->transposed)
        return shape_check(&v, cols, rows, false, why);
    return shape_check(&v, rows, cols, cols == 1, why);
}

static enum err layers_bind(struct source *src, struct why why)
{
    enum err err = ERR_OK;

    for (uint32_t layer = 0; layer < src->arch.n_layers; layer++)
        for (int role = SOURCE_NORM1_GAIN; role < SOURCE_ROLES; role++) {
            if (source_has(src, (enum source_role)role))
                err = role_bind(src, (enum source_role)role, layer,
                                &src->layers[layer][role], why);
            if (err)
                return err;
        }
    return ERR_OK;
}

// Rows row .. row+n_rows-1 of a tensor stored as (in, out), so columns there.
// The runs along the file are short: they go through a buffer.
static void columns_read(const struct safetensors_tensor *t, uint64_t row,
                         size_t n_rows, size_t cols, float *out)
{
    size_t size = floats_size(t->dtype);
    float run[RUN_LEN];

    for (size_t c = 0; c < cols; c++)
        for (size_t r = 0; r < n_rows; r += RUN_LEN) {
            size_t n = n_rows - r < RUN_LEN ? n_rows - r : RUN_LEN;

            floats_read(t->dtype, t->data + (c * t->dims[1] + row + r) * size,
                        n, run);
            for (size_t i = 0; i < n; i++)
                out[(r + i) * cols + c] = run[i];
        }
}

// Bytes from .. to-1 of a tensor were read, in that order of calls: let go of
// the whole steps that were passed.
static void passed_drop(const struct view *v, size_t from, size_t to)
{
    size_t data = (size_t)(v->tensor->data - v->file->map.data);

    from -= from % DROP_STEP;
    if (to < v->tensor->n_bytes)
        to -= to % DROP_STEP;
    if (to > from)
        file_map_drop(&v->file->map, data + from, to - from);
}

// Elements at .. at+n-1 of a tensor, as stored.
static void run_read(const struct view *v, size_t at, size_t n, float *out)
{
    size_t size = floats_size(v->tensor->dtype);

    floats_read(v->tensor->dtype, v->tensor->data + at * size, n, out);
    passed_drop(v, at * size, (at + n) * size);
}

static enum err finite_check(const struct view *v, const float *out, size_t row,
                             size_t n_rows, size_t cols, struct why why)
{
    for (size_t i = 0; i < n_rows * cols; i++)
        if (!isfinite(out[i]))
            return why_fail(why, ERR_FORMAT,
                            "%s: %s: row %zu, column %zu is %s", v->file->name,
                            v->tensor->name, row + i / cols, i % cols,
                            isnan(out[i]) ? "NaN" : "infinite");
    return ERR_OK;
}

enum err source_read(const struct source *src, enum source_role role,
                     uint32_t layer, size_t row, size_t n_rows, float *out,
                     char *why_text, size_t why_len)
{
    const struct view *v =
        is_global(role) ? &src->global[role] : &src->layers[layer][role];
    const struct safetensors_tensor *t = v->tensor;
    struct why why = {why_text, why_len};
    size_t rows, cols;

    source_shape(src, role, &rows, &cols);
    if (row > rows || n_rows > rows - row)
        return why_fail(why, ERR_RANGE, "%s: rows %zu to %zu of %zu", t->name,
                        row, row + n_rows, rows);
    if (role_name(src, role)->transposed) {
        columns_read(t, v->row + row, n_rows, cols, out);
        if (row + n_rows == rows)
            passed_drop(v, 0, t->n_bytes);
    } else {
        run_read(v, (size_t)(v->row + row) * cols, n_rows * cols, out);
    }
    return finite_check(v, out, row, n_rows, cols, why);
}

// A checkpoint that is said to be tied may still carry a head: it must be the
// embedding again.
static enum err tied_check(const struct source *src, struct why why)
{
    const struct view *embed = &src->global[SOURCE_EMBED];
    size_t n = (size_t)src->arch.n_vocab * src->arch.d_model;
    struct view head = {0};
    enum err err;

    head.tensor = tensor_find(src, "lm_head.weight", &head.file);
    if (!head.tensor)
        return ERR_OK;
    err = shape_check(&head, src->arch.n_vocab, src->arch.d_model, false, why);
    for (size_t i = 0; !err && i < n; i += RUN_LEN) {
        size_t len = n - i < RUN_LEN ? n - i : RUN_LEN;
        float a[RUN_LEN], b[RUN_LEN];

        run_read(&head, i, len, a);
        run_read(embed, i, len, b);
        if (memcmp(a, b, len * sizeof *a) != 0)
            err = why_fail(why, ERR_UNSUPPORTED,
                           "%s: %s: differs from the embedding, but "
                           "config.json: tie_word_embeddings: true",
                           head.file->name, head.tensor->name);
    }
    return err;
}

static enum err global_bind(struct source *src, struct why why)
{
    enum err err = ERR_OK;

    for (int role = 0; !err && role < SOURCE_NORM1_GAIN; role++)
        if (source_has(src, (enum source_role)role) &&
            !(role == SOURCE_HEAD && src->arch.tied_head))
            err = role_bind(src, (enum source_role)role, 0, &src->global[role],
                            why);
    if (!err && src->arch.tied_head) {
        err = tied_check(src, why);
        src->global[SOURCE_HEAD] = src->global[SOURCE_EMBED];
    }
    return err;
}

static enum err arch_load(const char *dir, struct arch *arch, struct why why)
{
    struct file_map config = {0}, generation = {0};
    enum err err;

    err = file_map_init(&config, dir, "config.json", why);
    if (err)
        goto done;
    err = file_map_init(&generation, dir, "generation_config.json", why);
    if (err && err != ERR_NOT_FOUND)
        goto done;
    err = hf_config_parse(config.data, config.len, generation.data,
                          generation.len, why, arch);

done:
    file_map_release(&generation);
    file_map_release(&config);
    return err;
}

enum err source_open(const char *hf_dir, struct source **out, char *why_text,
                     size_t why_len)
{
    struct why why = {why_text, why_len};
    struct source *src = calloc(1, sizeof *src);
    enum err err;

    if (!src)
        return why_fail(why, ERR_NOMEM, "out of memory");
    err = arch_load(hf_dir, &src->arch, why);
    if (err)
        goto done;
    src->layers = calloc(src->arch.n_layers, sizeof *src->layers);
    if (!src->layers) {
        err = why_fail(why, ERR_NOMEM, "out of memory");
        goto done;
    }
    err = source_files_init(&src->files, hf_dir, why);
    if (!err)
        err = global_bind(src, why);
    if (!err)
        err = layers_bind(src, why);
    if (err)
        goto done;
    *out = src;
    src = NULL;

done:
    source_free(src);
    return err;
}

void source_free(struct source *src)
{
    if (!src)
        return;
    source_files_release(&src->files);
    free(src->layers);
    free(src);
}
