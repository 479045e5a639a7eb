// Class f32 is another arithmetic, close to class exact, and never takes its
// place.
#include <string.h>

#include "check.h"
#include "engine/class_f32.h"
#include "honest.h"
#include "packed.h"

enum { LAYERS = 6, N_ROWS = 256 };

static enum err open_f32(const struct packed *p, uint32_t first, uint32_t end,
                         struct engine **out)
{
    struct engine_kernels f32 = engine_kernels_f32();
    struct engine_options options = {.n_slots = 1, .kernels = &f32};

    return engine_new(p->shards + first, end - first, &options, out, NULL, 0);
}

static void no_isa_picks_it(void)
{
    for (int isa = 0; isa < ENGINE_ISA_COUNT; isa++) {
        const struct engine_kernels *k =
            engine_kernels_pick((enum engine_isa)isa);

        CHECK(!k || k->kernel_class == ENGINE_CLASS_EXACT);
    }
    CHECK_EQ(engine_kernels_f32().kernel_class, ENGINE_CLASS_F32);
}

static void only_short_spans_without_the_head(const struct packed *p)
{
    struct engine *e;

    CHECK_EQ(open_f32(p, 0, LAYERS, &e), ERR_UNSUPPORTED);
    CHECK_EQ(open_f32(p, LAYERS - 1, LAYERS, &e), ERR_UNSUPPORTED);
    CHECK_EQ(open_f32(p, 0, ENGINE_F32_LAYERS_MAX + 1, &e), ERR_UNSUPPORTED);
    CHECK_EQ(open_f32(p, 0, ENGINE_F32_LAYERS_MAX, &e), ERR_OK);
    engine_free(e);
}

// Run one row of a class on an engine.
static enum err row_run(struct engine *e, uint8_t kernel_class)
{
    static const uint8_t token[4] = {5};
    struct syn1_header h = {.kind = SYN1_UNIT,
                            .flags = SYN1_TOKENS,
                            .span_first = (uint16_t)engine_span_first(e),
                            .span_end = (uint16_t)engine_span_end(e),
                            .kernel_class = kernel_class};
    struct syn1_unit_seq in = {
        .n_rows = 1, .tokens = token, .sampling.top_p_q16 = 1 << 16};
    uint8_t buf[SYN1_HEADER_LEN + 256];
    struct bytes_out frame = {.ptr = buf, .cap = sizeof buf};
    struct syn1_frame parsed;
    const uint8_t *out;
    size_t len;
    enum err err;

    syn1_begin(&frame, &h);
    syn1_put_unit_seq(&frame, &h, &in);
    CHECK_EQ(syn1_end(&frame), ERR_OK);
    err = engine_run(e, frame.ptr, frame.len, &out, &len);
    if (!err) {
        CHECK_EQ(syn1_parse(out, len, &parsed), ERR_OK);
        CHECK_EQ(parsed.header.kernel_class, kernel_class);
    }
    return err;
}

static void exact_units_are_refused(const struct packed *p)
{
    struct engine_options options = {.n_slots = 1};
    struct engine *exact = packed_engine(p, 0, 2, &options);
    struct engine *whole = packed_engine(p, 0, LAYERS, &options);
    struct engine *f32;

    CHECK_EQ(open_f32(p, 0, 2, &f32), ERR_OK);
    CHECK_EQ(row_run(f32, ENGINE_CLASS_EXACT), ERR_NOT_FOUND);
    CHECK_EQ(row_run(f32, ENGINE_CLASS_F32), ERR_OK);
    CHECK_EQ(row_run(exact, ENGINE_CLASS_EXACT), ERR_OK);
    CHECK_EQ(row_run(exact, ENGINE_CLASS_F32), ERR_OK); // as a checker
    CHECK_EQ(row_run(whole, ENGINE_CLASS_F32), ERR_NOT_FOUND);
    engine_free(f32);
    engine_free(exact);
    engine_free(whole);
}

// A span of one layer and one of four: other bytes, within the tolerance.
static void rows_are_close(const struct packed *p, const struct golden *golden)
{
    static const uint32_t spans[][2] = {{0, 1}, {1, 5}};

    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        uint32_t first = spans[i][0], end = spans[i][1];
        struct engine_options options = {.n_slots = 1};
        struct honest_engines e = {
            .before = first ? packed_engine(p, 0, first, &options) : NULL,
            .b = packed_engine(p, first, end, &options),
            .kernel_class = ENGINE_CLASS_F32};
        struct honest_text text = {golden, i};
        struct honest_tally tally = {0};

        CHECK_EQ(open_f32(p, first, end, &e.a), ERR_OK);
        honest_run(&e, &text, N_ROWS, &tally);
        CHECK_EQ(tally.rows, N_ROWS);
        CHECK(tally.off_by_1 > tally.values / 100);
        for (int l = 0; l < HONEST_LENGTHS; l++)
            CHECK_EQ(tally.rejected[l], 0);
        if (end - first == 1)
            CHECK(tally.off_by_2 < tally.values / 50);
        engine_free(e.before);
        engine_free(e.a);
        engine_free(e.b);
    }
}

// The same kernels in other instructions: not one bit apart.
static void exact_is_exact(const struct packed *p, const struct golden *golden)
{
    struct engine_options options = {.n_slots = 1};
    struct honest_text text = {golden, 7};
    struct honest_tally tally = {0};
    struct honest_engines e = {.a = packed_engine(p, 0, 1, &options)};

    options.kernels = engine_kernels_pick(ENGINE_ISA_REF);
    e.b = packed_engine(p, 0, 1, &options);
    honest_run(&e, &text, N_ROWS, &tally);
    CHECK_EQ(tally.off_by_1 + tally.off_by_2 + tally.rejected[0], 0);
    engine_free(e.a);
    engine_free(e.b);
}

int main(void)
{
    static const char *const models[] = {"ops/models/tales-gpt2",
                                         "tests/models/tales-llama"};

    no_isa_picks_it();
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[256];
        struct packed p = packed_from(models[i], LAYERS, true);
        struct golden golden;

        snprintf(path, sizeof path, "%s/golden.json", models[i]);
        golden = golden_load(path);
        only_short_spans_without_the_head(&p);
        exact_units_are_refused(&p);
        rows_are_close(&p, &golden);
        exact_is_exact(&p, &golden);
        golden_release(&golden);
        packed_release(&p);
    }
    return 0;
}
