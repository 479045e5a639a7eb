#include "splitter/quantise_plan.h"

#include <math.h>
#include <stdlib.h>

enum {
    ROWS_AT_ONCE = 16,
    EMBED_SAMPLE = 4096, // rows looked at for the residual's fixed point

    // Bits that the estimated rms of the largest row gets. The rest, up to 30,
    // is room for outliers; small rows keep enough to fill an int8.
    BITS_Q = 15,
    BITS_K = 17,
    BITS_V = 15,
    BITS_UP = 14,
};

static const double LOG2_E = 1.44269504088896340736;

static int32_t clamped(double v, int32_t low, int32_t high)
{
    return v < low ? low : v > high ? high : (int32_t)v;
}

static struct plan_part part(enum source_role role, enum source_role bias,
                             uint32_t n_rows, int32_t out_q)
{
    return (struct plan_part){.role = role,
                              .bias = bias,
                              .n_rows = n_rows,
                              .out_q = out_q,
                              .factor = 1,
                              .repeat = 1};
}

static void matrix_qkv(const struct quantise *q, const struct plan_layer *layer,
                       struct plan_matrix *m)
{
    const struct arch *a = &q->arch;
    uint32_t kv = a->n_kv_heads * a->head_dim;
    uint32_t repeat = a->n_heads / a->n_kv_heads;

    m->n_cols = a->d_model;
    m->in_q = layer->norm1_q;
    m->col_scale = layer->scales.norm1;
    m->n_parts = 3;
    m->parts[0] =
        part(SOURCE_Q, SOURCE_Q_BIAS, a->n_heads * a->head_dim, layer->q_q);
    m->parts[0].factor = LOG2_E / sqrt(a->head_dim);
    m->parts[0].scale = layer->scales.qk;
    m->parts[0].repeat = repeat;
    // Without rotation a key's bias adds the same to all scores of a query,
    // which softmax does not see: it is left out.
    m->parts[1] =
        part(SOURCE_K, a->family == ARCH_GPT2 ? SOURCE_ROLES : SOURCE_K_BIAS,
             kv, layer->k_q);
    m->parts[1].scale = layer->scales.qk;
    m->parts[1].inverse = true;
    m->parts[2] = part(SOURCE_V, SOURCE_V_BIAS, kv, layer->v_q);
    m->parts[2].scale = layer->scales.v;
    m->parts[2].inverse = true;
}

static void matrix_up(const struct quantise *q, const struct plan_layer *layer,
                      struct plan_matrix *m)
{
    const struct arch *a = &q->arch;

    m->n_cols = a->d_model;
    m->in_q = layer->norm2_q;
    m->col_scale = layer->scales.norm2;
    if (a->family == ARCH_GPT2) {
        m->n_parts = 1;
        m->parts[0] = part(SOURCE_UP, SOURCE_UP_BIAS, a->d_ff, FORMAT_ACT_Q);
        return;
    }
    m->n_parts = 2;
    m->parts[0] = part(SOURCE_GATE, SOURCE_ROLES, a->d_ff, FORMAT_ACT_Q);
    m->parts[1] = part(SOURCE_UP, SOURCE_ROLES, a->d_ff, layer->up_q);
    m->parts[1].scale = layer->scales.up;
    m->parts[1].inverse = true;
}

void plan_matrix(const struct quantise *q, enum plan_kind kind, uint32_t layer,
                 struct plan_matrix *out)
{
    const struct arch *a = &q->arch;
    const struct plan_layer *l = &q->layers[layer];
    struct plan_matrix m = {.layer = layer,
                            .n_cols = a->d_model,
                            .n_parts = 1,
                            .col_repeat = 1,
                            .head_dim = a->head_dim};

    switch (kind) {
    case PLAN_EMBED:
        m.parts[0] =
            part(SOURCE_EMBED, SOURCE_ROLES, a->n_vocab, q->residual_q);
        break;
    case PLAN_HEAD:
        m.parts[0] =
            part(SOURCE_HEAD, SOURCE_ROLES, a->n_vocab, FORMAT_LOGIT_Q);
        m.in_q = q->norm_q;
        m.col_scale = q->final_scale;
        break;
    case PLAN_QKV:
        matrix_qkv(q, l, &m);
        break;
    case PLAN_O:
        m.n_cols = a->n_heads * a->head_dim;
        m.in_q = l->v_q;
        m.col_scale = l->scales.v;
        m.col_repeat = a->n_heads / a->n_kv_heads;
        m.parts[0] = part(SOURCE_O, SOURCE_O_BIAS, a->d_model, q->residual_q);
        break;
    case PLAN_UP:
        matrix_up(q, l, &m);
        break;
    case PLAN_DOWN:
        m.n_cols = a->d_ff;
        m.in_q = a->family == ARCH_GPT2 ? FORMAT_ACT_Q : l->up_q;
        m.col_scale = l->scales.up;
        m.parts[0] =
            part(SOURCE_DOWN, SOURCE_DOWN_BIAS, a->d_model, q->residual_q);
        break;
    }
    for (uint32_t i = 0; i < m.n_parts; i++) {
        m.n_rows += m.parts[i].n_rows;
        if (m.parts[i].bias != SOURCE_ROLES &&
            !source_has(q->src, m.parts[i].bias))
            m.parts[i].bias = SOURCE_ROLES;
    }
    *out = m;
}

// The part that holds row *row, which becomes the row inside it.
static const struct plan_part *part_of(const struct plan_matrix *m,
                                       uint32_t *row)
{
    const struct plan_part *p = m->parts;

    while (*row >= p->n_rows)
        *row -= p++->n_rows;
    return p;
}

int32_t plan_out_q(const struct plan_matrix *m, uint32_t row)
{
    return part_of(m, &row)->out_q;
}

// Element i of a vector of heads whose scales are shared by `repeat` heads.
static double scale_at(const float *scale, uint32_t i, uint32_t repeat,
                       uint32_t head_dim)
{
    if (!scale)
        return 1;
    if (repeat > 1)
        i = i / (head_dim * repeat) * head_dim + i % head_dim;
    return (double)scale[i];
}

// Rows row .. row+n-1 of one part.
static enum err part_rows(const struct quantise *q, const struct plan_matrix *m,
                          const struct plan_part *p, uint32_t row, uint32_t n,
                          float *out, double *bias, struct why why)
{
    enum err err =
        source_read(q->src, p->role, m->layer, row, n, out, why.text, why.len);

    if (err)
        return err;
    for (uint32_t r = 0; r < n; r++) {
        double s = scale_at(p->scale, row + r, p->repeat, m->head_dim);
        double factor = p->factor * (p->inverse ? 1 / s : s);
        float *w = out + (size_t)r * m->n_cols;
        float b = 0;

        if (factor != 1 || m->col_scale)
            for (uint32_t k = 0; k < m->n_cols; k++)
                w[k] = (float)((double)w[k] * factor *
                               scale_at(m->col_scale, k, m->col_repeat,
                                        m->head_dim));
        if (p->bias != SOURCE_ROLES) {
            err = source_read(q->src, p->bias, m->layer, row + r, 1, &b,
                              why.text, why.len);
            if (err)
                return err;
        }
        bias[r] = (double)b * factor;
    }
    return ERR_OK;
}

enum err plan_rows(const struct quantise *q, const struct plan_matrix *m,
                   uint32_t row, uint32_t n, float *out, double *bias,
                   struct why why)
{
    while (n > 0) {
        uint32_t inside = row;
        const struct plan_part *p = part_of(m, &inside);
        uint32_t run = p->n_rows - inside < n ? p->n_rows - inside : n;
        enum err err = part_rows(q, m, p, inside, run, out, bias, why);

        if (err)
            return err;
        out += (size_t)run * m->n_cols;
        bias += run;
        row += run;
        n -= run;
    }
    return ERR_OK;
}

enum err plan_norm(const struct quantise *q, enum source_role role,
                   uint32_t layer, float *out, struct why why)
{
    const float *scale = NULL;
    enum err err = source_read(q->src, role, layer, 0, q->arch.d_model, out,
                               why.text, why.len);

    if (err)
        return err;
    if (role == SOURCE_NORM1_GAIN || role == SOURCE_NORM1_BIAS)
        scale = q->layers[layer].scales.norm1;
    else if (role == SOURCE_NORM2_GAIN || role == SOURCE_NORM2_BIAS)
        scale = q->layers[layer].scales.norm2;
    else
        scale = q->final_scale;
    if (scale)
        for (uint32_t i = 0; i < q->arch.d_model; i++)
            out[i] /= scale[i];
    return ERR_OK;
}

static double largest(const float *v, uint32_t n)
{
    double max = 0;

    for (uint32_t i = 0; i < n; i++)
        max = fmax(max, fabs((double)v[i]));
    return max;
}

// Reads a norm into gain and bias (zeros where it has none) and chooses its
// output's fixed point: gains get 21 bits, biases at most 28.
static enum err scan_norm(const struct quantise *q, enum source_role gain_role,
                          enum source_role bias_role, uint32_t layer,
                          float *gain, float *bias, int32_t *out_q,
                          struct why why)
{
    uint32_t n = q->arch.d_model;
    enum err err = plan_norm(q, gain_role, layer, gain, why);
    double bits;

    if (err)
        return err;
    for (uint32_t i = 0; i < n; i++)
        bias[i] = 0;
    if (source_has(q->src, bias_role)) {
        err = plan_norm(q, bias_role, layer, bias, why);
        if (err)
            return err;
    }
    bits = fmin(20 - ceil(log2(fmax(largest(gain, n), 1e-30))),
                28 - ceil(log2(fmax(largest(bias, n), 1e-30))));
    *out_q = clamped(bits, 0, 20);
    return ERR_OK;
}

// Estimate, for a matrix fed by a norm with that gain and bias, the rms of each
// part's largest row: normalised channels are independent with variance 1.
static enum err scan_rows(const struct quantise *q, const struct plan_matrix *m,
                          const float *gain, const float *shift,
                          double rms[PLAN_PARTS_MAX], struct why why)
{
    enum err err = ERR_OK;
    float *rows = malloc((size_t)ROWS_AT_ONCE * m->n_cols * sizeof *rows);
    double bias[ROWS_AT_ONCE];

    if (!rows)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < PLAN_PARTS_MAX; i++)
        rms[i] = 0;
    for (uint32_t row = 0; row < m->n_rows && !err; row += ROWS_AT_ONCE) {
        uint32_t left = m->n_rows - row;
        uint32_t n = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;

        err = plan_rows(q, m, row, n, rows, bias, why);
        for (uint32_t r = 0; r < n && !err; r++) {
            const float *w = rows + (size_t)r * m->n_cols;
            uint32_t inside = row + r;
            double var = 0, mean = bias[r];
            double *out = &rms[part_of(m, &inside) - m->parts];

            for (uint32_t k = 0; k < m->n_cols; k++) {
                var += (double)gain[k] * (double)gain[k] * (double)w[k] *
                       (double)w[k];
                mean += (double)shift[k] * (double)w[k];
            }
            *out = fmax(*out, sqrt(var + mean * mean));
        }
    }
    free(rows);
    return err;
}

static int32_t fixed_point(double rms, int32_t bits)
{
    return clamped(bits - ceil(log2(fmax(rms, 1e-30))), 0, 24);
}

static enum err scan_layer(struct quantise *q, uint32_t layer, float *gain,
                           float *bias, struct why why)
{
    struct plan_layer *l = &q->layers[layer];
    struct plan_matrix m;
    double rms[PLAN_PARTS_MAX];
    enum err err = scan_norm(q, SOURCE_NORM1_GAIN, SOURCE_NORM1_BIAS, layer,
                             gain, bias, &l->norm1_q, why);

    if (err)
        return err;
    plan_matrix(q, PLAN_QKV, layer, &m);
    err = scan_rows(q, &m, gain, bias, rms, why);
    if (err)
        return err;
    l->q_q = fixed_point(rms[0], BITS_Q);
    l->k_q = fixed_point(rms[1], BITS_K);
    l->v_q = fixed_point(rms[2], BITS_V);

    err = scan_norm(q, SOURCE_NORM2_GAIN, SOURCE_NORM2_BIAS, layer, gain, bias,
                    &l->norm2_q, why);
    if (err || q->arch.family == ARCH_GPT2) {
        l->up_q = FORMAT_ACT_Q;
        return err;
    }
    plan_matrix(q, PLAN_UP, layer, &m);
    err = scan_rows(q, &m, gain, bias, rms, why);
    l->up_q = fixed_point(rms[1], BITS_UP);
    return err;
}

// The residual's fixed point: embeddings get about 11 bits, what layers add
// may grow to 2^15 at least.
static enum err scan_embedding(struct quantise *q, float *row, struct why why)
{
    uint32_t n = q->arch.n_vocab, step = 1 + (n - 1) / EMBED_SAMPLE;
    double sum = 0, count = 0;

    for (uint32_t i = 0; i < n; i += step) {
        enum err err =
            source_read(q->src, SOURCE_EMBED, 0, i, 1, row, why.text, why.len);

        if (err)
            return err;
        for (uint32_t k = 0; k < q->arch.d_model; k++)
            sum += (double)row[k] * (double)row[k];
        count += q->arch.d_model;
    }
    q->residual_q =
        clamped(11 - floor(0.5 * log2(fmax(sum / count, 1e-30))), 12, 15);
    q->eps = (uint64_t)llrint(ldexp(q->arch.norm_eps, 2 * q->residual_q));
    return ERR_OK;
}

enum err plan_scan(struct quantise *q, struct why why)
{
    size_t n = q->arch.d_model;
    float *gain = malloc(n * sizeof *gain);
    float *bias = malloc(n * sizeof *bias);
    enum err err = gain && bias ? ERR_OK : ERR_NOMEM;

    if (!err)
        err = scan_embedding(q, gain, why);
    for (uint32_t i = 0; i < q->arch.n_layers && !err; i++)
        err = scan_layer(q, i, gain, bias, why);
    if (!err)
        err = scan_norm(q, SOURCE_FINAL_GAIN, SOURCE_FINAL_BIAS, 0, gain, bias,
                        &q->norm_q, why);
    free(gain);
    free(bias);
    return err;
}
