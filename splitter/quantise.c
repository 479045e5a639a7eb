#include "splitter/quantise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "splitter/equalise.h"
#include "splitter/pack.h"
#include "splitter/quantise_plan.h"
#include "splitter/tables.h"

// One walk over a shard's tensors serves three ends: counting bytes, declaring,
// and writing.
enum emit_mode { EMIT_COUNT, EMIT_DECLARE, EMIT_WRITE };

struct emit {
    struct quantise *q;
    enum emit_mode mode;
    const struct quantise_sink *sink; // NULL when counting
    uint64_t n_bytes;                 // counted
    struct why why;
};

// Count or declare a tensor. Names: "prefix" or "prefix.suffix".
static enum err emit_tensor(struct emit *e, const char *prefix,
                            const char *suffix, enum tensor_dtype dtype,
                            uint32_t n_dims, const uint32_t *dims)
{
    char name[TENSOR_NAME_MAX + 1];
    uint64_t n = format_dtype_size(dtype);

    for (uint32_t i = 0; i < n_dims; i++)
        n *= dims[i];
    e->n_bytes += n;
    if (e->mode != EMIT_DECLARE)
        return ERR_OK;
    snprintf(name, sizeof name, "%s%s%s", prefix, suffix ? "." : "",
             suffix ? suffix : "");
    return e->sink->declare(e->sink->ctx, name, dtype, n_dims, dims);
}

static enum err emit_bytes(struct emit *e, const void *data, size_t n)
{
    return e->sink->write(e->sink->ctx, data, n);
}

static enum err emit_words(struct emit *e, const char *prefix,
                           const char *suffix, const int32_t *words, uint32_t n)
{
    enum err err = emit_tensor(e, prefix, suffix, TENSOR_I32, 1, &n);

    if (err || e->mode != EMIT_WRITE)
        return err;
    return emit_bytes(e, words, (size_t)n * sizeof *words);
}

static int32_t fixed(double v, int32_t q)
{
    v = rint(ldexp(v, q));
    return (int32_t)fmin(fmax(v, -FORMAT_VALUE_MAX), FORMAT_VALUE_MAX);
}

// A norm's gain or bias: d_model words in Q out_q.
static enum err emit_norm_vector(struct emit *e, const char *prefix,
                                 const char *suffix, enum source_role role,
                                 uint32_t layer, int32_t out_q)
{
    uint32_t n = e->q->arch.d_model;
    float *v = NULL;
    int32_t *words = NULL;
    enum err err;

    if (!source_has(e->q->src, role))
        return ERR_OK;
    if (e->mode != EMIT_WRITE)
        return emit_tensor(e, prefix, suffix, TENSOR_I32, 1, &n);

    v = malloc(n * sizeof *v);
    words = malloc(n * sizeof *words);
    if (!v || !words) {
        err = ERR_NOMEM;
        goto done;
    }
    err = plan_norm(e->q, role, layer, v, e->why);
    if (err)
        goto done;
    for (uint32_t i = 0; i < n; i++)
        words[i] = fixed((double)v[i], out_q);
    err = emit_bytes(e, words, n * sizeof *words);

done:
    free(words);
    free(v);
    return err;
}

static enum err emit_norm(struct emit *e, const char *prefix,
                          enum source_role gain, enum source_role bias,
                          uint32_t layer, int32_t out_q)
{
    enum err err = emit_norm_vector(e, prefix, "g", gain, layer, out_q);

    return err ? err : emit_norm_vector(e, prefix, "b", bias, layer, out_q);
}

enum { // which tensors of a packed matrix
    WANT_WEIGHTS = 1,
    WANT_EXPS = 2,
    WANT_BIAS = 4,
    WANT_ALL = 7,
};

// What a packed matrix leaves to be written behind its tiles.
struct packed {
    uint8_t *mantissas;
    int32_t *exps; // of the weights alone
    int32_t *bias;
};

static void packed_release(struct packed *p)
{
    free(p->mantissas);
    free(p->exps);
    free(p->bias);
}

static enum err packed_init(struct packed *p, const struct plan_matrix *m)
{
    size_t n_blocks = format_n_blocks(m->n_rows);
    size_t n_out = n_blocks * FORMAT_BLOCK;

    p->mantissas = malloc(n_out * format_n_groups(m->n_cols));
    p->exps = calloc(n_out, sizeof *p->exps);
    p->bias = calloc(n_out, sizeof *p->bias);
    return p->mantissas && p->exps && p->bias ? ERR_OK : ERR_NOMEM;
}

// Pack all blocks, writing tiles as they are made.
static enum err pack_matrix(struct emit *e, const struct plan_matrix *m,
                            struct packed *p)
{
    size_t n_groups = format_n_groups(m->n_cols);
    float *rows = malloc((size_t)FORMAT_BLOCK * m->n_cols * sizeof *rows);
    uint8_t *tiles = malloc(n_groups * FORMAT_TILE);
    enum err err = rows && tiles ? ERR_OK : ERR_NOMEM;

    for (uint32_t row = 0; row < m->n_rows && !err; row += FORMAT_BLOCK) {
        uint32_t left = m->n_rows - row;
        uint32_t n = left < FORMAT_BLOCK ? left : FORMAT_BLOCK;
        double bias[FORMAT_BLOCK];

        err = plan_rows(e->q, m, row, n, rows, bias, e->why);
        if (!err) {
            err = pack_block(rows, n, m->n_cols, tiles,
                             p->mantissas + row * n_groups, p->exps + row);
            if (err)
                why_fail(e->why, err, "layer %u: weights of 2^32 and more",
                         (unsigned)m->layer);
        }
        for (uint32_t r = 0; r < n && !err; r++)
            p->bias[row + r] = fixed(bias[r], plan_out_q(m, row + r));
        if (!err)
            err = emit_bytes(e, tiles, n_groups * FORMAT_TILE);
    }
    free(tiles);
    free(rows);
    return err;
}

// Row exponents as the engine reads them; padding rows keep 0.
static void exps_fold(const struct plan_matrix *m, const int32_t *exps,
                      int32_t *out)
{
    for (uint32_t r = 0; r < format_n_blocks(m->n_rows) * FORMAT_BLOCK; r++)
        out[r] = r < m->n_rows ? exps[r] - m->in_q + plan_out_q(m, r) : 0;
}

static enum err packed_write(struct emit *e, const struct plan_matrix *m,
                             unsigned want, struct packed *p)
{
    size_t n_out = (size_t)format_n_blocks(m->n_rows) * FORMAT_BLOCK;
    enum err err = pack_matrix(e, m, p);

    if (!err)
        err = emit_bytes(e, p->mantissas, n_out * format_n_groups(m->n_cols));
    if (!err && (want & WANT_EXPS)) {
        exps_fold(m, p->exps, p->exps);
        err = emit_bytes(e, p->exps, n_out * sizeof *p->exps);
    }
    if (!err && (want & WANT_BIAS))
        err = emit_bytes(e, p->bias, n_out * sizeof *p->bias);
    return err;
}

static enum err emit_matrix(struct emit *e, const char *prefix,
                            enum plan_kind kind, uint32_t layer, unsigned want)
{
    struct plan_matrix m;
    struct packed p = {0};
    enum err err;

    plan_matrix(e->q, kind, layer, &m);
    uint32_t n_blocks = format_n_blocks(m.n_rows);
    uint32_t n_groups = format_n_groups(m.n_cols);
    uint32_t n_out = n_blocks * FORMAT_BLOCK;
    uint32_t tiles[] = {n_blocks, n_groups, FORMAT_TILE};
    uint32_t mantissas[] = {n_blocks, n_groups, FORMAT_BLOCK};

    err = emit_tensor(e, prefix, "w", TENSOR_I8, 3, tiles);
    if (!err)
        err = emit_tensor(e, prefix, "m", TENSOR_U8, 3, mantissas);
    if (!err && (want & WANT_EXPS))
        err = emit_tensor(e, prefix, "e", TENSOR_I32, 1, &n_out);
    if (!err && (want & WANT_BIAS))
        err = emit_tensor(e, prefix, "b", TENSOR_I32, 1, &n_out);
    if (err || e->mode != EMIT_WRITE)
        return err;

    err = packed_init(&p, &m);
    if (!err)
        err = packed_write(e, &m, want, &p);
    if (!err && kind == PLAN_EMBED) {
        free(e->q->embed_exp);
        e->q->embed_exp = p.exps;
        p.exps = NULL;
    }
    packed_release(&p);
    return err;
}

// The exponents and zero bias of a tied head, whose weights are the embedding
// that was written just before, in the same shard.
static enum err emit_tied_head(struct emit *e)
{
    struct plan_matrix m;
    enum err err;

    plan_matrix(e->q, PLAN_HEAD, 0, &m);
    uint32_t n_out = format_n_blocks(m.n_rows) * FORMAT_BLOCK;
    int32_t *exps = calloc(n_out, sizeof *exps);
    int32_t *bias = calloc(n_out, sizeof *bias);

    err = exps && bias ? ERR_OK : ERR_NOMEM;
    if (!err && e->mode == EMIT_WRITE) {
        for (uint32_t r = 0; r < m.n_rows; r++)
            exps[r] = e->q->embed_exp[r] - e->q->residual_q;
        exps_fold(&m, exps, exps);
    }
    if (!err)
        err = emit_words(e, "head", "e", exps, n_out);
    if (!err)
        err = emit_words(e, "head", "b", bias, n_out);
    free(bias);
    free(exps);
    return err;
}

static enum err emit_position(struct emit *e)
{
    uint32_t dims[] = {e->q->arch.n_ctx, e->q->arch.d_model};
    enum err err = emit_tensor(e, "position", NULL, TENSOR_I32, 2, dims);
    float *row = NULL;
    int32_t *words = NULL;

    if (err || e->mode != EMIT_WRITE)
        return err;
    row = malloc(dims[1] * sizeof *row);
    words = malloc(dims[1] * sizeof *words);
    if (!row || !words)
        err = ERR_NOMEM;
    for (uint32_t p = 0; p < dims[0] && !err; p++) {
        err = source_read(e->q->src, SOURCE_POSITION, 0, p, 1, row, e->why.text,
                          e->why.len);
        for (uint32_t k = 0; k < dims[1] && !err; k++)
            words[k] = fixed((double)row[k], e->q->residual_q);
        if (!err)
            err = emit_bytes(e, words, dims[1] * sizeof *words);
    }
    free(words);
    free(row);
    return err;
}

static enum err emit_rope(struct emit *e, const char *name, uint32_t n_rows,
                          uint32_t step)
{
    uint32_t dims[] = {n_rows, e->q->arch.head_dim};
    enum err err = emit_tensor(e, name, NULL, TENSOR_I16, 2, dims);
    int16_t row[ARCH_HEAD_MAX];

    if (err || e->mode != EMIT_WRITE)
        return err;
    for (uint32_t i = 0; i < n_rows && !err; i++) {
        tables_rope_row(&e->q->arch, i * step, row);
        err = emit_bytes(e, row, dims[1] * sizeof *row);
    }
    return err;
}

static enum err emit_tables(struct emit *e, bool last)
{
    const struct arch *a = &e->q->arch;
    int32_t words[FORMAT_ACT_LEN]; // the longest of them
    enum err err;

    tables_exp2(words);
    err = emit_words(e, "exp2", NULL, words, FORMAT_EXP2_LEN);
    tables_act(a->family, words);
    if (!err)
        err = emit_words(e, "act", NULL, words, FORMAT_ACT_LEN);
    if (!err && a->family != ARCH_GPT2)
        err = emit_rope(e, "rope.low", FORMAT_ROPE_LOW, 1);
    if (!err && a->family != ARCH_GPT2)
        err = emit_rope(e, "rope.high", 1 + (a->n_ctx - 1) / FORMAT_ROPE_LOW,
                        FORMAT_ROPE_LOW);
    if (!last)
        return err;
    tables_log2(words);
    if (!err)
        err = emit_words(e, "log2", NULL, words, FORMAT_LOG2_LEN);
    tables_logh(words);
    if (!err)
        err = emit_words(e, "logh", NULL, words, FORMAT_LOGH_LEN);
    return err;
}

static enum err emit_layer(struct emit *e, uint32_t layer)
{
    const struct plan_layer *l = &e->q->layers[layer];
    int32_t points[FORMAT_FIXED_LEN] = {l->q_q, l->k_q, l->v_q, l->up_q};
    char name[TENSOR_NAME_MAX - 2];
    unsigned i = layer;
    enum err err;

    snprintf(name, sizeof name, "layers.%u.fixed", i);
    err = emit_words(e, name, NULL, points, FORMAT_FIXED_LEN);
    snprintf(name, sizeof name, "layers.%u.norm1", i);
    if (!err)
        err = emit_norm(e, name, SOURCE_NORM1_GAIN, SOURCE_NORM1_BIAS, layer,
                        l->norm1_q);
    snprintf(name, sizeof name, "layers.%u.qkv", i);
    if (!err)
        err = emit_matrix(e, name, PLAN_QKV, layer, WANT_ALL);
    snprintf(name, sizeof name, "layers.%u.o", i);
    if (!err)
        err = emit_matrix(e, name, PLAN_O, layer, WANT_ALL);
    snprintf(name, sizeof name, "layers.%u.norm2", i);
    if (!err)
        err = emit_norm(e, name, SOURCE_NORM2_GAIN, SOURCE_NORM2_BIAS, layer,
                        l->norm2_q);
    snprintf(name, sizeof name, "layers.%u.up", i);
    if (!err)
        err = emit_matrix(e, name, PLAN_UP, layer, WANT_ALL);
    snprintf(name, sizeof name, "layers.%u.down", i);
    if (!err)
        err = emit_matrix(e, name, PLAN_DOWN, layer, WANT_ALL);
    return err;
}

static enum err emit_first(struct emit *e)
{
    enum err err = emit_matrix(e, "embed", PLAN_EMBED, 0, WANT_EXPS);

    if (!err && e->q->arch.family == ARCH_GPT2)
        err = emit_position(e);
    return err;
}

static enum err emit_last(struct emit *e, bool first)
{
    enum err err = emit_norm(e, "norm", SOURCE_FINAL_GAIN, SOURCE_FINAL_BIAS, 0,
                             e->q->norm_q);

    if (err)
        return err;
    return first && e->q->arch.tied_head
               ? emit_tied_head(e)
               : emit_matrix(e, "head", PLAN_HEAD, 0, WANT_ALL);
}

static enum err emit_shard(struct emit *e, uint32_t shard)
{
    struct format_config config;
    int32_t words[FORMAT_CONFIG_WORDS];
    bool first = shard == 0, last = shard + 1 == e->q->options.n_shards;
    enum err err;

    quantise_config(e->q, shard, &config);
    format_config_put(&config, words);
    err = emit_words(e, "config", NULL, words, FORMAT_CONFIG_WORDS);
    if (!err)
        err = emit_tables(e, last);
    if (!err && first)
        err = emit_first(e);
    for (uint32_t i = config.layer_first; i < config.layer_end && !err; i++)
        err = emit_layer(e, i);
    if (!err && last)
        err = emit_last(e, first);
    return err;
}

enum err quantise_new(const struct source *src,
                      const struct quantise_options *options,
                      struct quantise **out, char *why, size_t why_len)
{
    const struct arch *arch = source_arch(src);
    struct why line = {why, why_len};
    struct quantise *q = NULL;
    enum err err = ERR_OK;

    if (options->n_shards < 1 || options->n_shards > arch->n_layers)
        return why_fail(line, ERR_RANGE, "%u shards for %u layers",
                        (unsigned)options->n_shards, (unsigned)arch->n_layers);
    q = calloc(1, sizeof *q);
    if (q)
        q->layers = calloc(arch->n_layers, sizeof *q->layers);
    if (!q || !q->layers) {
        err = ERR_NOMEM;
        goto done;
    }
    q->src = src;
    q->arch = *arch;
    q->options = *options;
    if (options->equalise)
        err = equalise(q, line);
    if (!err)
        err = plan_scan(q, line);
    if (err)
        goto done;

    *out = q;
    q = NULL; // now the caller's

done:
    quantise_free(q);
    return err;
}

void quantise_free(struct quantise *q)
{
    if (!q)
        return;
    for (uint32_t i = 0; q->layers && i < q->arch.n_layers; i++) {
        free(q->layers[i].scales.norm1);
        free(q->layers[i].scales.norm2);
        free(q->layers[i].scales.v);
        free(q->layers[i].scales.qk);
        free(q->layers[i].scales.up);
    }
    free(q->layers);
    free(q->final_scale);
    free(q->embed_exp);
    free(q);
}

void quantise_config(const struct quantise *q, uint32_t shard,
                     struct format_config *out)
{
    const struct arch *a = &q->arch;
    struct format_config c = {
        .family = a->family,
        .n_layers = a->n_layers,
        .d_model = a->d_model,
        .n_heads = a->n_heads,
        .n_kv_heads = a->n_kv_heads,
        .head_dim = a->head_dim,
        .d_ff = a->d_ff,
        .n_vocab = a->n_vocab,
        .n_ctx = a->n_ctx,
        .tied_head = a->tied_head,
        .n_shards = q->options.n_shards,
        .shard = shard,
        .residual_q = (uint32_t)q->residual_q,
        .eps = q->eps,
        .n_ends = a->n_ends,
    };

    format_shard_layers(a->n_layers, c.n_shards, shard, &c.layer_first,
                        &c.layer_end);
    memcpy(c.ends, a->ends, sizeof c.ends);
    *out = c;
}

uint64_t quantise_shard_bytes(const struct quantise *q, uint32_t shard)
{
    struct quantise counted = *q; // counting changes nothing
    struct emit e = {.q = &counted, .mode = EMIT_COUNT};

    return emit_shard(&e, shard) ? 0 : e.n_bytes;
}

enum err quantise_shard(struct quantise *q, uint32_t shard,
                        const struct quantise_sink *sink, char *why,
                        size_t why_len)
{
    struct emit e = {
        .q = q, .mode = EMIT_DECLARE, .sink = sink, .why = {why, why_len}};
    enum err err = emit_shard(&e, shard);

    if (!err)
        err = sink->begin(sink->ctx);
    e.mode = EMIT_WRITE;
    if (!err)
        err = emit_shard(&e, shard);
    return err;
}
