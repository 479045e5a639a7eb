// Every way to cheat that gives an answer: whatever is wrong is found by its
// check, in class exact always, and honest work is not accused.
#include <string.h>

#include "check.h"
#include "golden.h"
#include "packed.h"
#include "trial.h"

enum { LAYERS = 6, STINTS = 2, N_PROMPT = 40, N_NEW = 12, N_ROWS = 40 };

static const char hf_dir[] = "ops/models/tales-gpt2";

struct bench {
    struct packed packed;
    struct golden golden;
    uint8_t text[STINTS][(N_PROMPT + N_ROWS) * 4];
};

static void text_fill(struct bench *b)
{
    for (uint32_t s = 0; s < STINTS; s++) {
        struct bytes_out out = {.ptr = b->text[s], .cap = sizeof b->text[s]};

        for (uint32_t i = 0; i < N_PROMPT + N_ROWS; i++)
            bytes_put_u32(&out, b->golden.windows[s].ids[i]);
    }
}

// The cheat of a mode on a span, or an honest one.
static struct trial_grid grid_new(const struct bench *b, enum cheat_mode mode,
                                  uint32_t first, uint32_t end)
{
    struct cheat_plan plan = {
        .mode = mode, .chance = 1000, .flip = 300, .seed = 5};
    struct engine_options options = {.n_slots = 4};
    struct trial_grid g = {
        .engine = packed_engine(&b->packed, first, end, &options),
        .checker = packed_engine(&b->packed, first, end, &options)};

    CHECK_EQ(cheat_new(&plan, b->packed.shards + first, end - first, &options,
                       &g.cheat),
             ERR_OK);
    return g;
}

static void grid_free(struct trial_grid *g)
{
    cheat_free(g->cheat);
    engine_free(g->engine);
    engine_free(g->checker);
}

// How many of STINTS stints were wrong; each that was has been found.
static int whole(const struct bench *b, enum cheat_mode mode)
{
    struct trial_grid g = grid_new(b, mode, 0, LAYERS);
    int n_wrong = 0;

    for (uint32_t s = 0; s < STINTS; s++) {
        struct trial_tokens t = {s + 1, 77 + s, b->text[s], N_PROMPT, N_NEW};
        struct trial_verdict v = trial_whole(&g, &t);

        CHECK_EQ(v.found, v.wrong);
        n_wrong += v.wrong;
    }
    grid_free(&g);
    return n_wrong;
}

static int span(const struct bench *b, enum cheat_mode mode, uint32_t step)
{
    struct trial_grid g = grid_new(b, mode, 0, 2);
    int n_wrong = 0;

    for (uint32_t s = 0; s < STINTS; s++) {
        struct trial_rows t = {.id = s + 1,
                               .seed = (uint64_t)(s + 9) << 32,
                               .tokens = b->text[s],
                               .n_rows = N_PROMPT + N_ROWS,
                               .step0 = N_PROMPT,
                               .step = step};
        struct trial_verdict v = trial_span(&g, &t);

        CHECK_EQ(v.found, v.wrong);
        n_wrong += v.wrong;
    }
    grid_free(&g);
    return n_wrong;
}

static void whole_models_are_checked(const struct bench *b)
{
    static const enum cheat_mode modes[] = {
        CHEAT_WEIGHTS4, CHEAT_MATRIX4, CHEAT_LAYER,   CHEAT_EXPONENTS,
        CHEAT_KV,       CHEAT_CONTEXT, CHEAT_COLLUDE, CHEAT_RANDOM,
        CHEAT_REPLAY,   CHEAT_ECHO,    CHEAT_TOKEN,   CHEAT_PRINT,
        CHEAT_INSTANT};

    CHECK_EQ(whole(b, CHEAT_NONE), 0);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        CHECK_EQ(whole(b, modes[i]), STINTS);
    CHECK_EQ(whole(b, CHEAT_SHORT), 0); // true as far as it goes
    CHECK(whole(b, CHEAT_FLIP) > 0);
}

static void partial_spans_are_checked(const struct bench *b)
{
    static const enum cheat_mode modes[] = {
        CHEAT_WEIGHTS4, CHEAT_MATRIX4, CHEAT_LAYER,  CHEAT_EXPONENTS,
        CHEAT_KV,       CHEAT_CONTEXT, CHEAT_RANDOM, CHEAT_REPLAY,
        CHEAT_ECHO,     CHEAT_FLIP,    CHEAT_TOKEN,  CHEAT_INSTANT};

    CHECK_EQ(span(b, CHEAT_NONE, N_ROWS), 0);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        CHECK_EQ(span(b, modes[i], N_ROWS), STINTS);
    CHECK_EQ(span(b, CHEAT_LAYER, 1), STINTS); // row by row, as decoding is
    CHECK_EQ(span(b, CHEAT_NONE, 1), 0);
}

int main(void)
{
    static struct bench b;

    b.packed = packed_from(hf_dir, LAYERS, true);
    b.golden = golden_load("ops/models/tales-gpt2/golden.json");
    text_fill(&b);
    whole_models_are_checked(&b);
    partial_spans_are_checked(&b);
    golden_release(&b.golden);
    packed_release(&b.packed);
    return 0;
}
