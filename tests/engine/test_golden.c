// The quantised model is as good as the float one: perplexity within 0.5 %
// over all windows, and the golden greedy token ours wherever it was clear.
#include <math.h>
#include <string.h>

#include "check.h"
#include "engine/fit.h"
#include "engine/local.h"
#include "golden.h"
#include "packed.h"
#include "splitter/manifest.h"

enum { CTX_MAX = 4096 };

static const double LOSS_MAX = 0.005;     // of perplexity
static const double CLEAR_MARGIN = 0.1;   // between the two best logits
static const double AGREEMENT_MIN = 0.99; // where it was clear

static void perplexity_is_close(struct engine *e, const struct golden *g)
{
    int32_t nll[CTX_MAX];
    double sum = 0;

    for (size_t i = 0; i < g->n_windows; i++) {
        const struct golden_window *w = &g->windows[i];
        double mean = 0;

        CHECK(w->n <= CTX_MAX);
        CHECK_EQ(local_score(e, w->ids, w->n, nll, NULL), ERR_OK);
        for (uint32_t t = 0; t + 1 < w->n; t++)
            mean += ldexp(nll[t], -16) / (w->n - 1);
        sum += mean;
    }

    double ours = exp(sum / (double)g->n_windows);
    double loss = ours / g->perplexity - 1;

    printf("perplexity %.4f golden %.4f delta %+.3f%%\n", ours, g->perplexity,
           100 * loss);
    CHECK(loss < LOSS_MAX);
}

static void clear_tokens_agree(struct engine *e, const struct golden *g)
{
    uint32_t best[CTX_MAX];
    unsigned all = 0, all_ours = 0, clear = 0, clear_ours = 0;

    for (size_t i = 0; i < g->n_lines; i++) {
        const struct golden_line *l = &g->lines[i];
        uint32_t n = l->n_prompt + l->n_new;

        CHECK(n <= CTX_MAX);
        CHECK_EQ(local_score(e, l->ids, n, NULL, best), ERR_OK);
        for (uint32_t t = 0; t < l->n_new; t++) {
            uint32_t at = l->n_prompt + t;
            unsigned ours = best[at - 1] == l->ids[at];

            all++;
            all_ours += ours;
            if (l->margins[t] > CLEAR_MARGIN) {
                clear++;
                clear_ours += ours;
            }
        }
    }
    printf("top1 %u of %u, margin>0.1 %u of %u\n", all_ours, all, clear_ours,
           clear);
    CHECK(clear > 0 && clear_ours >= AGREEMENT_MIN * clear);
}

// What the manifest says an engine needs, beside what it does need.
static void scratch_is_known(const struct packed *p, const struct engine *e)
{
    const struct format_config *c = engine_config(e);
    struct arch a = {.family = c->family,
                     .d_model = c->d_model,
                     .n_heads = c->n_heads,
                     .n_kv_heads = c->n_kv_heads,
                     .head_dim = c->head_dim,
                     .d_ff = c->d_ff,
                     .n_vocab = c->n_vocab,
                     .n_ctx = c->n_ctx};

    for (uint32_t n = 1; n <= p->n_shards; n += p->n_shards - 1) {
        struct engine_options options = {0};
        struct engine_need need;
        uint64_t said = manifest_scratch(&a, n == p->n_shards);

        CHECK_EQ(engine_fit(p->shards, n, 0, &options, &need, NULL, 0),
                 ERR_FULL);
        printf("scratch of %u shards: %zu, said %llu\n", n, need.fixed,
               (unsigned long long)said);
        CHECK(need.fixed <= said && said <= 2 * (uint64_t)need.fixed);
    }
}

int main(int argc, char **argv)
{
    char path[256];

    CHECK(argc >= 2);
    snprintf(path, sizeof path, "%s/golden.json", argv[1]);

    bool equalise = argc > 2 && strcmp(argv[2], "equalise") == 0;
    struct golden g = golden_load(path);
    struct packed p = packed_from(argv[1], 3, equalise);
    struct engine_options options = {0};
    struct engine *e = packed_engine(&p, 0, 3, &options);

    scratch_is_known(&p, e);
    perplexity_is_close(e, &g);
    clear_tokens_agree(e, &g);
    engine_free(e);
    packed_release(&p);
    golden_release(&g);
    return 0;
}
