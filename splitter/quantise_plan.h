// quantise_plan.h - what the quantiser decides before it writes: every fixed
// point, the scale factors of equalisation, and how a packed matrix is put
// together from source tensors. Used by quantise*.c and equalise.c only.
#ifndef SPLITTER_QUANTISE_PLAN_H
#define SPLITTER_QUANTISE_PLAN_H

#include "splitter/quantise.h"
#include "splitter/why.h"

// Factors of one layer; each pointer is NULL where nothing is scaled.
struct plan_scales {
    float *norm1; // (d_model) gain and bias / s, columns of q, k, v * s
    float *norm2; // (d_model) gain and bias / s, columns of gate, up * s
    float *v;     // (n_kv_heads * head_dim) V rows / s, O columns * s
    float *qk;    // (n_kv_heads * head_dim) Q rows * s, K rows / s
    float *up;    // (d_ff) up rows / s, down columns * s
};

struct plan_layer {
    int32_t norm1_q, norm2_q; // fixed points of the norms' outputs
    int32_t q_q, k_q, v_q, up_q;
    struct plan_scales scales;
};

struct quantise {
    const struct source *src;
    struct arch arch;
    struct quantise_options options;
    int32_t residual_q;
    uint64_t eps;
    int32_t norm_q;            // of the final norm's output
    float *final_scale;        // final gain / s, head columns * s; or NULL
    struct plan_layer *layers; // arch.n_layers
    int32_t *embed_exp;        // embed.e, once it was written
};

enum plan_kind { PLAN_EMBED, PLAN_QKV, PLAN_O, PLAN_UP, PLAN_DOWN, PLAN_HEAD };

enum { PLAN_PARTS_MAX = 3 };

// Rows of one source tensor inside a packed matrix.
struct plan_part {
    enum source_role role;
    enum source_role bias; // SOURCE_ROLES: none
    uint32_t n_rows;
    int32_t out_q;
    double factor;      // of all rows and the bias
    const float *scale; // per row; NULL: none
    uint32_t repeat;    // row r of head h uses scale of head h / repeat
    bool inverse;       // divide by the scale
};

struct plan_matrix {
    uint32_t layer;
    uint32_t n_rows, n_cols;
    int32_t in_q;
    uint32_t n_parts;
    struct plan_part parts[PLAN_PARTS_MAX];
    const float *col_scale; // columns are multiplied by it; NULL: none
    uint32_t col_repeat;    // as repeat
    uint32_t head_dim;
};

// Scan the model: fills residual_q, eps and all fixed points of q, whose
// scales must be final.
MUST_USE enum err plan_scan(struct quantise *q, struct why why);

// How a packed matrix is made up.
void plan_matrix(const struct quantise *q, enum plan_kind kind, uint32_t layer,
                 struct plan_matrix *out);

// Rows row .. row+n-1 (within the matrix) with all factors applied, into out
// (n * n_cols), and their biases into bias (n, 0 where there is none).
MUST_USE enum err plan_rows(const struct quantise *q,
                            const struct plan_matrix *m, uint32_t row,
                            uint32_t n, float *out, double *bias,
                            struct why why);

// The fixed point of a matrix row's output.
int32_t plan_out_q(const struct plan_matrix *m, uint32_t row);

// A norm's gain or bias as it will be used: scales divided out. n = d_model.
MUST_USE enum err plan_norm(const struct quantise *q, enum source_role role,
                            uint32_t layer, float *out, struct why why);

#endif
