#include "float_model.h"

#include <math.h>

#include "check.h"

enum { WHY_LEN = 256, LANES = 4 };

static const double PI = 3.14159265358979323846;

// A window on its way through the model. Activations are (n, width) arrays,
// with rows after the last so that products can take LANES at a time.
struct pass {
    const struct source *src;
    const struct arch *arch;
    uint32_t n;
};

static double *array(size_t n)
{
    double *a = calloc(n, sizeof *a);

    CHECK(a);
    return a;
}

static double *rows_new(const struct pass *p, size_t width)
{
    return array((p->n + LANES - 1) * width);
}

// A tensor, or NULL where the model has no such role.
static double *tensor(const struct pass *p, enum source_role role,
                      uint32_t layer, size_t *rows, size_t *cols)
{
    char why[WHY_LEN];

    if (role == SOURCE_ROLES || !source_has(p->src, role))
        return NULL;
    source_shape(p->src, role, rows, cols);

    float *raw = malloc(*rows * *cols * sizeof *raw);
    double *out = array(*rows * *cols);

    CHECK(raw);
    CHECK_EQ(source_read(p->src, role, layer, 0, *rows, raw, why, sizeof why),
             ERR_OK);
    for (size_t i = 0; i < *rows * *cols; i++)
        out[i] = (double)raw[i];
    free(raw);
    return out;
}

// sum[i] = row i of (LANES, n) in times w. All the time goes by here, and the
// sanitizers would make it six times as long.
__attribute__((no_sanitize("address", "undefined"))) static void
dot_lanes(const double *w, const double *in, size_t n, double sum[LANES])
{
    double a = 0, b = 0, c = 0, d = 0;

    for (size_t i = 0; i < n; i++) {
        a += w[i] * in[i];
        b += w[i] * in[n + i];
        c += w[i] * in[2 * n + i];
        d += w[i] * in[3 * n + i];
    }
    sum[0] = a;
    sum[1] = b;
    sum[2] = c;
    sum[3] = d;
}

// y = W x + b. bias may be SOURCE_ROLES: none.
static double *linear(const struct pass *p, enum source_role weight,
                      enum source_role bias, uint32_t layer, const double *x)
{
    size_t rows, cols, n_bias, one;
    double *w = tensor(p, weight, layer, &rows, &cols);
    double *b = tensor(p, bias, layer, &n_bias, &one);
    double *y = rows_new(p, rows);

    for (size_t r = 0; r < rows; r++)
        for (size_t t = 0; t < p->n; t += LANES) {
            double sum[LANES];

            dot_lanes(w + r * cols, x + t * cols, cols, sum);
            for (size_t i = 0; i < LANES; i++)
                y[(t + i) * rows + r] = sum[i] + (b ? b[r] : 0);
        }
    free(b);
    free(w);
    return y;
}

// GPT-2's norm takes the mean out; the others' does not.
static double *norm(const struct pass *p, enum source_role gain,
                    enum source_role bias, uint32_t layer, const double *x)
{
    size_t d, one;
    double *g = tensor(p, gain, layer, &d, &one);
    double *b = tensor(p, bias, layer, &d, &one);
    double *y = rows_new(p, d);

    for (size_t t = 0; t < p->n; t++) {
        const double *in = x + t * d;
        double mean = 0, square = 0;

        if (p->arch->family == ARCH_GPT2)
            for (size_t i = 0; i < d; i++)
                mean += in[i] / (double)d;
        for (size_t i = 0; i < d; i++)
            square += (in[i] - mean) * (in[i] - mean) / (double)d;
        for (size_t i = 0; i < d; i++)
            y[t * d + i] =
                (in[i] - mean) / sqrt(square + p->arch->norm_eps) * g[i] +
                (b ? b[i] : 0);
    }
    free(b);
    free(g);
    return y;
}

// The angle of rotation pair i from one position to the next.
static double frequency(const struct arch *a, uint32_t i)
{
    double f = 1 / pow(a->rope_theta, 2.0 * i / a->head_dim);
    double turns = a->rope_orig_ctx * f / (2 * PI); // in the old context
    double keep;

    switch (a->rope) {
    case ARCH_ROPE_LINEAR:
        return f / a->rope_factor;
    case ARCH_ROPE_LLAMA3:
        keep =
            (turns - a->rope_low_freq) / (a->rope_high_freq - a->rope_low_freq);
        keep = fmin(fmax(keep, 0), 1);
        return keep * f + (1 - keep) * f / a->rope_factor;
    case ARCH_ROPE_DEFAULT:
        break;
    }
    return f;
}

// Rotate the pairs (i, i + half) of every head by their positions.
static void rotate(const struct pass *p, uint32_t n_heads, double *x)
{
    uint32_t half = p->arch->head_dim / 2;

    for (uint32_t i = 0; i < half; i++)
        for (uint32_t t = 0; t < p->n; t++)
            for (uint32_t h = 0; h < n_heads; h++) {
                double angle = t * frequency(p->arch, i);
                double *head = x + ((size_t)t * n_heads + h) * 2 * half;
                double a = head[i], b = head[i + half];

                head[i] = a * cos(angle) - b * sin(angle);
                head[i + half] = b * cos(angle) + a * sin(angle);
            }
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

// One row of one head: out = the values up to t, weighted by softmax(q k).
static void attend_row(const struct arch *a, uint32_t t, const double *q,
                       const double *k, const double *v, double *weight,
                       double *out)
{
    size_t stride = (size_t)a->n_kv_heads * a->head_dim;
    double max = 0, sum = 0;

    for (size_t s = 0; s <= t; s++) {
        weight[s] =
            dot(q, k + s * stride, a->head_dim) / sqrt((double)a->head_dim);
        max = s > 0 ? fmax(max, weight[s]) : weight[s];
    }
    for (size_t s = 0; s <= t; s++) {
        weight[s] = exp(weight[s] - max);
        sum += weight[s];
    }
    for (size_t s = 0; s <= t; s++)
        for (size_t i = 0; i < a->head_dim; i++)
            out[i] += weight[s] / sum * v[s * stride + i];
}

static double *attention(const struct pass *p, uint32_t layer, const double *x)
{
    const struct arch *a = p->arch;
    bool bias = a->qkv_bias;
    double *q =
        linear(p, SOURCE_Q, bias ? SOURCE_Q_BIAS : SOURCE_ROLES, layer, x);
    double *k =
        linear(p, SOURCE_K, bias ? SOURCE_K_BIAS : SOURCE_ROLES, layer, x);
    double *v =
        linear(p, SOURCE_V, bias ? SOURCE_V_BIAS : SOURCE_ROLES, layer, x);
    size_t d = a->head_dim;
    double *mixed = rows_new(p, a->n_heads * d), *weight = array(p->n);

    if (a->family != ARCH_GPT2) {
        rotate(p, a->n_heads, q);
        rotate(p, a->n_kv_heads, k);
    }
    for (uint32_t t = 0; t < p->n; t++)
        for (uint32_t h = 0; h < a->n_heads; h++) {
            size_t at = ((size_t)t * a->n_heads + h) * d;
            size_t kv = h / (a->n_heads / a->n_kv_heads) * d;

            attend_row(a, t, q + at, k + kv, v + kv, weight, mixed + at);
        }

    double *y = linear(p, SOURCE_O, SOURCE_O_BIAS, layer, mixed);

    free(weight);
    free(mixed);
    free(v);
    free(k);
    free(q);
    return y;
}

static double gelu(double x)
{
    return x / 2 * (1 + tanh(sqrt(2 / PI) * (x + 0.044715 * pow(x, 3))));
}

static double *mlp(const struct pass *p, uint32_t layer, const double *x)
{
    size_t n = (size_t)p->n * p->arch->d_ff;
    double *up = linear(p, SOURCE_UP, SOURCE_UP_BIAS, layer, x);

    if (p->arch->family == ARCH_GPT2) {
        for (size_t i = 0; i < n; i++)
            up[i] = gelu(up[i]);
    } else {
        double *gate = linear(p, SOURCE_GATE, SOURCE_ROLES, layer, x);

        for (size_t i = 0; i < n; i++)
            up[i] *= gate[i] / (1 + exp(-gate[i]));
        free(gate);
    }

    double *y = linear(p, SOURCE_DOWN, SOURCE_DOWN_BIAS, layer, up);

    free(up);
    return y;
}

static double *embed(const struct pass *p, const uint32_t *tokens)
{
    size_t rows, d;
    double *table = tensor(p, SOURCE_EMBED, 0, &rows, &d);
    double *place = tensor(p, SOURCE_POSITION, 0, &rows, &d);
    double *x = rows_new(p, d);

    for (size_t t = 0; t < p->n; t++)
        for (size_t i = 0; i < d; i++)
            x[t * d + i] =
                table[tokens[t] * d + i] + (place ? place[t * d + i] : 0);
    free(place);
    free(table);
    return x;
}

// x += y, and y is freed.
static void add(const struct pass *p, double *x, double *y)
{
    for (size_t i = 0; i < (size_t)p->n * p->arch->d_model; i++)
        x[i] += y[i];
    free(y);
}

static struct float_token judge(const double *logits, uint32_t n_vocab,
                                uint32_t next)
{
    struct float_token f = {.best = 0};
    double sum = 0, second = -HUGE_VAL;

    for (uint32_t i = 1; i < n_vocab; i++)
        if (logits[i] > logits[f.best]) {
            second = logits[f.best];
            f.best = i;
        } else {
            second = fmax(second, logits[i]);
        }
    for (uint32_t i = 0; i < n_vocab; i++)
        sum += exp(logits[i] - logits[f.best]);
    f.nll = log(sum) + logits[f.best] - logits[next];
    f.margin = logits[f.best] - second;
    return f;
}

void float_model_score(const struct source *src, const struct arch *arch,
                       const uint32_t *tokens, uint32_t n,
                       struct float_token *out)
{
    struct pass p = {src, arch, n};
    double *x = embed(&p, tokens), *normed;

    for (uint32_t layer = 0; layer < arch->n_layers; layer++) {
        normed = norm(&p, SOURCE_NORM1_GAIN, SOURCE_NORM1_BIAS, layer, x);
        add(&p, x, attention(&p, layer, normed));
        free(normed);
        normed = norm(&p, SOURCE_NORM2_GAIN, SOURCE_NORM2_BIAS, layer, x);
        add(&p, x, mlp(&p, layer, normed));
        free(normed);
    }
    normed = norm(&p, SOURCE_FINAL_GAIN, SOURCE_FINAL_BIAS, 0, x);

    double *logits = linear(&p, SOURCE_HEAD, SOURCE_ROLES, 0, normed);

    for (uint32_t t = 0; t + 1 < n; t++)
        out[t] = judge(logits + (size_t)t * arch->n_vocab, arch->n_vocab,
                       tokens[t + 1]);
    free(logits);
    free(normed);
    free(x);
}
