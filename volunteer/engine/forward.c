#include "engine/forward.h"

#include <stdlib.h>
#include <string.h>

#include "engine/attention.h"
#include "engine/memory.h"
#include "engine/rope.h"
#include "engine/wire.h"

// Tasks of a matrix product for each worker. With many rows a task is long, and
// who ends first would wait for long: measured with two threads and 480 rows,
// 4 each give 1.68 times the speed of one, 16 give 1.87. With few rows claiming
// a task is what takes time.
enum { TASKS_EACH = 4, TASKS_EACH_MANY = 16, ROWS_MANY = 16, LOTS_EACH = 16 };

struct worker {
    int32_t *row; // the widest row that is quantised
    struct attention_scratch attention;
    struct kv_tile *tiles; // pages of n_ctx
};

struct forward {
    const struct bind_model *model;
    struct kv *kv;
    const struct engine_kernels *kernels;
    engine_parallel_fn *parallel;
    void *parallel_ctx;
    uint32_t n_workers;
    struct worker *workers;

    uint32_t T;       // rows of scratch
    uint32_t G_max;   // groups of the widest input
    size_t ld;        // of big
    size_t ld_logits; // of logits
    size_t n_bytes;
    bool counting; // nothing is allocated

    int32_t *x;      // (T, d_model) residual
    int32_t *big;    // (T, ld) matrix outputs
    int32_t *att;    // (T, n_heads * head_dim) attention outputs
    int32_t *rope;   // (T, head_dim) rotations
    int8_t *q;       // (T, G * 64) quantised input of the next matrix
    uint8_t *e;      // (T, G)
    int32_t *corr;   // (T, G)
    uint8_t *e_max;  // (T)
    void *panels;    // (ceil(T / 8), G) of the kernels' kind; NULL: not wanted
    int32_t *logits; // (FORWARD_HEAD_ROWS, ld_logits)

    const struct forward_row *rows; // of this run
    uint32_t n;
    uint32_t layer; // of the span
    const struct matmul_weight *weight;
    int32_t *out; // of the matrix product
    size_t out_ld;
    engine_task_fn *item; // of what is not a product
    uint32_t n_items;
    uint32_t tasks; // the product, or the items, are split in
    const uint32_t *head_rows;
};

static void *take(struct forward *f, size_t n, size_t size)
{
    f->n_bytes += n * size + MEMORY_ALIGN;
    return f->counting ? f : memory_new(n ? n : 1, size);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static enum err workers_new(struct forward *f)
{
    const struct format_config *c = &f->model->config;
    uint32_t D = kv_width(c->head_dim);
    uint32_t pages = (c->n_ctx + KV_PAGE - 1) / KV_PAGE;

    struct worker counted;

    if (!f->counting)
        f->workers = calloc(f->n_workers, sizeof *f->workers);
    if (!f->counting && !f->workers)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < f->n_workers; i++) {
        struct worker *w = f->counting ? &counted : &f->workers[i];
        struct attention_scratch *a = &w->attention;

        w->row = take(f, (size_t)f->G_max * FORMAT_GROUP, sizeof *w->row);
        w->tiles = take(f, pages, sizeof *w->tiles);
        a->scores = take(f, (size_t)pages * KV_PAGE, sizeof *a->scores);
        a->acc = take(f, D, sizeof *a->acc);
        a->sum = take(f, D, sizeof *a->sum);
        a->q = take(f, ARCH_HEAD_MAX, sizeof *a->q);
        if (!w->row || !w->tiles || !a->scores || !a->acc || !a->sum || !a->q)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

// Size and take all scratch.
static enum err scratch_new(struct forward *f, const struct bind_model *model,
                            const struct engine_options *options,
                            uint32_t n_rows)
{
    const struct format_config *c = &model->config;
    uint32_t heads = c->n_heads * c->head_dim;
    uint32_t qkv = heads + 2 * c->n_kv_heads * c->head_dim;
    uint32_t ups = c->family == ARCH_GPT2 ? c->d_ff : 2 * c->d_ff;
    uint32_t widest = larger(larger(qkv, ups), c->d_model);
    size_t T = n_rows;

    f->model = model;
    f->kernels = options->kernels;
    f->parallel = options->parallel;
    f->parallel_ctx = options->parallel_ctx;
    f->n_workers = options->n_workers;
    f->T = n_rows;
    f->G_max = format_n_groups(larger(larger(c->d_model, heads), c->d_ff));
    f->ld = (size_t)format_n_blocks(widest) * FORMAT_BLOCK;
    f->ld_logits = (size_t)format_n_blocks(c->n_vocab) * FORMAT_BLOCK;
    f->x = take(f, T * c->d_model, sizeof *f->x);
    f->big = take(f, T * f->ld, sizeof *f->big);
    f->att = take(f, T * heads, sizeof *f->att);
    f->rope = take(f, T * c->head_dim, sizeof *f->rope);
    f->q = take(f, T * f->G_max, FORMAT_GROUP);
    f->e = take(f, T, f->G_max);
    f->corr = take(f, T * f->G_max, sizeof *f->corr);
    f->e_max = take(f, T, 1);
    if (f->kernels->lay)
        f->panels = take(f, (T + MATMUL_PANEL_ROWS - 1) / MATMUL_PANEL_ROWS,
                         f->G_max * f->kernels->panel_bytes);
    if (model->has_head)
        f->logits =
            take(f, FORWARD_HEAD_ROWS * f->ld_logits, sizeof *f->logits);
    if (!f->x || !f->big || !f->att || !f->rope || !f->q || !f->e || !f->corr ||
        !f->e_max || (f->kernels->lay && !f->panels) ||
        (model->has_head && !f->logits))
        return ERR_NOMEM;
    return workers_new(f);
}

size_t forward_need(const struct bind_model *model,
                    const struct engine_options *options, uint32_t n_rows)
{
    struct forward counted = {.counting = true};
    enum err err = scratch_new(&counted, model, options, n_rows);

    return err ? SIZE_MAX : counted.n_bytes; // counting cannot fail
}

enum err forward_new(const struct bind_model *model, struct kv *kv,
                     const struct engine_options *options, uint32_t n_rows,
                     struct forward **out)
{
    struct forward *f = calloc(1, sizeof *f);
    enum err err;

    if (!f)
        return ERR_NOMEM;
    f->kv = kv;
    err = scratch_new(f, model, options, n_rows);
    if (err) {
        forward_free(f);
        return err;
    }
    *out = f;
    return ERR_OK;
}

void forward_free(struct forward *f)
{
    if (!f)
        return;
    for (uint32_t i = 0; f->workers && i < f->n_workers; i++) {
        struct worker *w = &f->workers[i];

        free(w->row);
        free(w->tiles);
        free(w->attention.scores);
        free(w->attention.acc);
        free(w->attention.sum);
        free(w->attention.q);
    }
    free(f->workers);
    free(f->logits);
    free(f->panels);
    free(f->e_max);
    free(f->corr);
    free(f->e);
    free(f->q);
    free(f->rope);
    free(f->att);
    free(f->big);
    free(f->x);
    free(f);
}

size_t forward_bytes(const struct forward *f)
{
    return f->n_bytes;
}

const int32_t *forward_residual(const struct forward *f, uint32_t i)
{
    return f->x + (size_t)i * f->model->config.d_model;
}

size_t forward_ld(const struct forward *f)
{
    return f->ld_logits;
}

// Neighbouring items, one after the other.
static void lot_task(void *arg, uint32_t lot, uint32_t worker)
{
    struct forward *f = arg;
    uint64_t n = f->n_items;

    for (uint64_t i = n * lot / f->tasks; i < n * (lot + 1) / f->tasks; i++)
        f->item(f, (uint32_t)i, worker);
}

// Items are much shorter than the parts of a matrix: claiming each by itself
// takes up to a third of their time (measured, two threads).
static void parallel(struct forward *f, engine_task_fn *item, uint32_t n_items)
{
    f->item = item;
    f->n_items = n_items;
    f->tasks = LOTS_EACH * f->n_workers;
    if (f->tasks > n_items)
        f->tasks = n_items;
    if (f->parallel && f->n_workers > 1 && n_items > 1) {
        f->parallel(f->parallel_ctx, lot_task, f, f->tasks);
        return;
    }
    for (uint32_t i = 0; i < n_items; i++)
        item(f, i, 0);
}

// Quantise row t of the next matrix's input.
static void quantise(struct forward *f, uint32_t t, const int32_t *v,
                     uint32_t n)
{
    uint32_t G = format_n_groups(n);
    size_t at = (size_t)t * G;

    f->e_max[t] = f->kernels->quantise(f->q + at * FORMAT_GROUP, f->e + at,
                                       f->corr + at, v, n);
    if (f->panels && f->n > 1) // one row alone is not read from panels
        f->kernels->lay(f->panels, t, f->q + at * FORMAT_GROUP, f->e + at,
                        f->e_max[t], G);
}

static void norm(struct forward *f, uint32_t t, const int32_t *x,
                 const struct bind_norm *norm, uint32_t worker)
{
    const struct format_config *c = &f->model->config;
    int32_t *row = f->workers[worker].row;

    f->kernels->norm(row, x, norm->gain, norm->bias, c->d_model, c->eps,
                     c->family == ARCH_GPT2);
    quantise(f, t, row, c->d_model);
}

static void matmul_task(void *arg, uint32_t task, uint32_t worker)
{
    struct forward *f = arg;
    uint64_t n_blocks = f->weight->n_blocks;
    struct matmul_input in = {f->q, f->e, f->corr, f->e_max, f->n, f->panels};

    (void)worker;
    f->kernels->matmul(f->out, f->out_ld, &in, f->weight,
                       (uint32_t)(n_blocks * task / f->tasks),
                       (uint32_t)(n_blocks * (task + 1) / f->tasks));
}

// out (n, ld) = what q holds, times weight.
static void matmul(struct forward *f, const struct matmul_weight *weight,
                   int32_t *out, size_t ld)
{
    f->weight = weight;
    f->out = out;
    f->out_ld = ld;
    f->tasks = f->n < ROWS_MANY ? TASKS_EACH : TASKS_EACH_MANY;
    f->tasks = f->n_workers > 1 ? f->tasks * f->n_workers : 1;
    if (f->tasks > weight->n_blocks)
        f->tasks = weight->n_blocks;
    if (f->parallel && f->tasks > 1)
        f->parallel(f->parallel_ctx, matmul_task, f, f->tasks);
    else
        matmul_task(f, 0, 0);
}

// x = the token's embedding, plus the position's.
static void embed(const struct bind_model *model, const struct forward_row *row,
                  int32_t *x)
{
    const struct matmul_weight *w = &model->embed;
    const uint32_t C = model->config.d_model;
    uint32_t r = row->token % FORMAT_BLOCK;
    size_t tile = (size_t)(row->token / FORMAT_BLOCK) * w->n_groups;

    for (uint32_t i = 0; i < C; i++) {
        uint32_t k = i % FORMAT_GROUP;
        size_t at = tile + i / FORMAT_GROUP;
        int32_t v = w->w[at * FORMAT_TILE + k / 4 * 64 + r * 4 + k % 4] -
                    FORMAT_WEIGHT_BIAS;

        v *= w->m[at * FORMAT_BLOCK + r]; // at most 191 * 255
        x[i] = engine_shift(v, w->e[row->token]);
        if (model->position)
            x[i] = engine_sat(x[i] +
                              model->position[(size_t)row->position * C + i]);
    }
}

static void start_task(void *arg, uint32_t t, uint32_t worker)
{
    struct forward *f = arg;
    const struct bind_model *model = f->model;
    const uint32_t C = model->config.d_model;
    int32_t *x = f->x + (size_t)t * C;

    if (model->has_embed)
        embed(model, &f->rows[t], x);
    else
        wire_get(x, f->rows[t].wire, C);
    if (model->rope_low)
        rope_compose(f->rope + (size_t)t * model->config.head_dim,
                     model->rope_low, model->rope_high, f->rows[t].position,
                     model->config.head_dim);
    norm(f, t, x, &model->layers[0].norm1, worker);
}

// Rotate q and k of row t, and put k and v into the cache.
static void store_task(void *arg, uint32_t t, uint32_t worker)
{
    struct forward *f = arg;
    const struct format_config *c = &f->model->config;
    const struct forward_row *row = &f->rows[t];
    const uint32_t D = c->head_dim;
    int32_t *q = f->big + (size_t)t * f->ld;
    int32_t *k = q + c->n_heads * D;
    int32_t *v = k + c->n_kv_heads * D;

    (void)worker;
    // q and k are neighbours, so all their heads rotate in one sweep.
    for (uint32_t h = 0; f->model->rope_low && h < c->n_heads + c->n_kv_heads;
         h++)
        rope_rotate(q + h * D, f->rope + (size_t)t * D, D);
    for (uint32_t h = 0; h < c->n_kv_heads; h++) {
        struct kv_tile tile =
            kv_tile(f->kv, row->slot, row->position / KV_PAGE, f->layer, h);

        attention_store(&tile, row->position % KV_PAGE, k + h * D, v + h * D, D,
                        f->kernels);
    }
}

// Attention of one row and KV head, for all query heads that share it.
static void attention_task(void *arg, uint32_t task, uint32_t worker)
{
    struct forward *f = arg;
    const struct format_config *c = &f->model->config;
    const uint32_t D = c->head_dim, repeat = c->n_heads / c->n_kv_heads;
    uint32_t t = task / c->n_kv_heads, kv_head = task % c->n_kv_heads;
    const struct forward_row *row = &f->rows[t];
    struct worker *w = &f->workers[worker];
    struct attention attention = {f->kernels, f->model->exp2, D,
                                  f->model->layers[f->layer].score_shift};
    uint32_t n = row->position + 1;

    for (uint32_t page = 0; page * KV_PAGE < n; page++)
        w->tiles[page] = kv_tile(f->kv, row->slot, page, f->layer, kv_head);
    for (uint32_t h = kv_head * repeat; h < (kv_head + 1) * repeat; h++)
        attention_head(f->att + ((size_t)t * c->n_heads + h) * D,
                       f->big + (size_t)t * f->ld + h * D, w->tiles, n,
                       &attention, &w->attention);
}

static void mixed_task(void *arg, uint32_t t, uint32_t worker)
{
    struct forward *f = arg;
    uint32_t n = f->model->config.n_heads * f->model->config.head_dim;

    (void)worker;
    quantise(f, t, f->att + (size_t)t * n, n);
}

// x += what the last matrix gave.
static int32_t *add_out(struct forward *f, uint32_t t)
{
    const uint32_t C = f->model->config.d_model;
    int32_t *x = f->x + (size_t)t * C;
    const int32_t *out = f->big + (size_t)t * f->ld;

    for (uint32_t i = 0; i < C; i++)
        x[i] = engine_sat(x[i] + out[i]);
    return x;
}

static void middle_task(void *arg, uint32_t t, uint32_t worker)
{
    struct forward *f = arg;

    norm(f, t, add_out(f, t), &f->model->layers[f->layer].norm2, worker);
}

static void act_task(void *arg, uint32_t t, uint32_t worker)
{
    struct forward *f = arg;
    const struct bind_model *model = f->model;
    const uint32_t F = model->config.d_ff;
    const int32_t *up = f->big + (size_t)t * f->ld;
    int32_t *row = f->workers[worker].row;

    if (model->config.family == ARCH_GPT2)
        f->kernels->act(row, up, model->act, F);
    else
        f->kernels->gate(row, up, up + F, model->act, F);
    quantise(f, t, row, F);
}

static void end_task(void *arg, uint32_t t, uint32_t worker)
{
    struct forward *f = arg;
    const struct bind_model *model = f->model;
    const uint32_t C = model->config.d_model;
    int32_t *x = add_out(f, t);

    if (model->layers[f->layer].boundary) {
        uint8_t *wire = (uint8_t *)f->workers[worker].row;

        wire_put(wire, x, C);
        wire_get(x, wire, C);
    }
    if (f->layer + 1 < model->n_layers)
        norm(f, t, x, &model->layers[f->layer + 1].norm1, worker);
}

void forward_run(struct forward *f, const struct forward_row *rows, uint32_t n)
{
    const struct bind_model *model = f->model;

    assert(n >= 1 && n <= f->T);
    f->rows = rows;
    f->n = n;
    f->layer = 0;
    parallel(f, start_task, n);
    for (; f->layer < model->n_layers; f->layer++) {
        const struct bind_layer *layer = &model->layers[f->layer];

        matmul(f, &layer->qkv, f->big, f->ld);
        parallel(f, store_task, n);
        parallel(f, attention_task, n * model->config.n_kv_heads);
        parallel(f, mixed_task, n);
        matmul(f, &layer->o, f->big, f->ld);
        parallel(f, middle_task, n);
        matmul(f, &layer->up, f->big, f->ld);
        parallel(f, act_task, n);
        matmul(f, &layer->down, f->big, f->ld);
        parallel(f, end_task, n);
    }
}

static void head_task(void *arg, uint32_t i, uint32_t worker)
{
    struct forward *f = arg;

    norm(f, i, forward_residual(f, f->head_rows[i]), &f->model->norm, worker);
}

int32_t *forward_logits(struct forward *f, const uint32_t *rows, uint32_t n)
{
    assert(f->model->has_head && n >= 1 && n <= FORWARD_HEAD_ROWS);
    f->head_rows = rows;
    f->n = n;
    parallel(f, head_task, n);
    matmul(f, &f->model->head, f->logits, f->ld_logits);
    return f->logits;
}
