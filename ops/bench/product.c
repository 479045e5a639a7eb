// product.c - the engine's integer product alone, on any shape, for comparison
// with other integer products: activations are quantised and weights packed
// before the clock starts, as theirs are. Activations are normal, as they are
// behind a model's norms, quantised as the engine does it.
#include <stdlib.h>
#include <string.h>

#include "engine/kernels.h"
#include "engine/memory.h"

struct product {
    struct matmul_weight weight;
    struct matmul_input in;
    int32_t *out;
};

struct product *product_new(uint32_t rows, uint32_t k, uint32_t n);
int32_t product_run(struct product *p, uint32_t isa);

// Of a normal distribution, nearly: a sum of uniform ones.
static int32_t normal(uint64_t *random)
{
    int32_t sum = 0;

    for (int i = 0; i < 12; i++) {
        *random = *random * UINT64_C(6364136223846793005) + 1;
        sum += (int32_t)(*random >> 44) - (1 << 19);
    }
    return sum;
}

// NULL if there is no memory. Lives as long as the module.
__attribute__((export_name("product_new"))) struct product *
product_new(uint32_t rows, uint32_t k, uint32_t n)
{
    uint32_t G = format_n_groups(k), NB = format_n_blocks(n);
    struct product *p = calloc(1, sizeof *p);
    uint8_t *w = memory_new((size_t)NB * G, FORMAT_TILE);
    uint8_t *m = memory_new((size_t)NB * G, FORMAT_BLOCK);
    int32_t *e = memory_new((size_t)NB * FORMAT_BLOCK, sizeof *e);
    int32_t *b = memory_new((size_t)NB * FORMAT_BLOCK, sizeof *b);
    int8_t *q = memory_new((size_t)rows * G, FORMAT_GROUP);
    uint8_t *exp = memory_new((size_t)rows, G);
    int32_t *corr = memory_new((size_t)rows * G, sizeof *corr);
    uint8_t *e_max = memory_new(rows, 1);
    struct matmul_panel *panels =
        memory_new(((size_t)rows + 7) / MATMUL_PANEL_ROWS * G, sizeof *panels);
    int32_t *row = memory_new(k, sizeof *row);
    uint64_t random = 1;
    int32_t *out = memory_new((size_t)rows * NB, FORMAT_BLOCK * sizeof *out);

    if (!p || !w || !m || !e || !b || !q || !exp || !corr || !e_max ||
        !panels || !row || !out)
        return NULL;
    for (size_t i = 0; i < (size_t)NB * G * FORMAT_TILE; i++)
        w[i] = (uint8_t)(1 + i * 7919 % 127);
    memset(m, 131, (size_t)NB * G * FORMAT_BLOCK);
    for (uint32_t i = 0; i < NB * FORMAT_BLOCK; i++)
        e[i] = -24;
    for (uint32_t t = 0; t < rows; t++) {
        size_t at = (size_t)t * G;

        for (uint32_t i = 0; i < k; i++)
            row[i] = normal(&random);
        e_max[t] = engine_quantise_ref(q + at * FORMAT_GROUP, exp + at,
                                       corr + at, row, k);
        matmul_lay_ref(panels, t, q + at * FORMAT_GROUP, exp + at, e_max[t], G);
    }
    free(row);
    p->weight = (struct matmul_weight){w, m, e, b, n, k, NB, G};
    p->in = (struct matmul_input){q, exp, corr, e_max, rows, panels};
    p->out = out;
    return p;
}

// One product with the kernels of isa (enum engine_isa), which the module must
// have. Returns one of the outputs.
__attribute__((export_name("product_run"))) int32_t
product_run(struct product *p, uint32_t isa)
{
    engine_kernels_pick((enum engine_isa)isa)
        ->matmul(p->out, (size_t)p->weight.n_blocks * FORMAT_BLOCK, &p->in,
                 &p->weight, 0, p->weight.n_blocks);
    return p->out[0];
}
