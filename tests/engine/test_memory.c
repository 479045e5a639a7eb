// What an engine holds: never more than engine_need said, as the allocator
// counts it too, whatever units ask of it.
#include <malloc.h>
#include <string.h>

#include "check.h"
#include "synthetic.h"
#include "units.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(WITH_ASAN)
size_t __sanitizer_get_current_allocated_bytes(void); // the runtime's own

static size_t allocated(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#else
static size_t allocated(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}
#endif

// Lists of the few tensors that an engine looked up, and what an allocator
// adds to each allocation.
enum { SLACK = 8192 };

static struct synthetic model;

struct measured {
    struct engine *engine;
    size_t before; // allocated without it
    size_t bound;
};

static struct measured engine_within(uint32_t first, uint32_t n,
                                     const struct engine_options *options)
{
    struct measured m = {.before = allocated()};
    struct engine_need need;

    CHECK_EQ(engine_need(model.shards + first, n, options, &need, NULL, 0),
             ERR_OK);
    CHECK(allocated() <= m.before);
    m.bound = need.fixed + options->kv_bytes;
    CHECK_EQ(engine_new(model.shards + first, n, options, &m.engine, NULL, 0),
             ERR_OK);
    return m;
}

static void holds(const struct measured *m)
{
    CHECK(engine_bytes(m->engine) <= m->bound);
    CHECK(allocated() - m->before <= engine_bytes(m->engine) + SLACK);
}

// A unit of n sequences of n_rows; returns how many found room.
static uint32_t load(struct engine *e, uint64_t id, uint16_t n, uint32_t n_rows)
{
    static struct units_seq seqs[UNITS_SEQS_MAX];
    struct syn1_result_seq results[UNITS_SEQS_MAX];
    uint32_t n_ok = 0;

    memset(seqs, 0, sizeof seqs);
    for (uint16_t i = 0; i < n; i++) {
        seqs[i].in.id = id + i;
        seqs[i].in.n_rows = n_rows;
        units_tokens(seqs[i].tokens, n_rows, model.config.n_vocab, i);
    }
    CHECK_EQ(units_run(e, SYN1_TOKENS, seqs, n, results), ERR_OK);
    for (uint16_t i = 0; i < n; i++) {
        CHECK(results[i].status == SYN1_OK ||
              results[i].status == SYN1_NO_ROOM);
        n_ok += results[i].status == SYN1_OK;
    }
    return n_ok;
}

static void a_bounded_engine_stays_within_its_bound(void)
{
    uint32_t n_ctx = model.config.n_ctx;
    uint32_t whole = n_ctx < UNITS_TOKENS_MAX ? n_ctx : UNITS_TOKENS_MAX;
    struct engine_options options = {.n_slots = 8, .n_rows = 16};
    struct engine_need need;

    CHECK_EQ(engine_need(model.shards, 1, &options, &need, NULL, 0), ERR_OK);
    options.kv_bytes = 2 * need.kv_each;
    options.answer_bytes =
        2 * whole * (syn1_row_len(model.config.d_model) + SYN1_PRINT_LEN);
    struct measured m = engine_within(0, 1, &options);

    holds(&m);
    // Two of the whole context fit, in KV and in answers; no third does.
    CHECK_EQ(load(m.engine, 1, 5, whole), 2);
    holds(&m);
    for (uint64_t id = 100; id < 200; id += 8) {
        CHECK(load(m.engine, id, 8, 7) > 0);
        holds(&m);
    }
    engine_free(m.engine);
    CHECK(allocated() <= m.before);
}

static void a_lower_bound_holds_at_once(void)
{
    struct engine_options options = {.n_slots = 8};
    struct engine_need need;

    CHECK_EQ(engine_need(model.shards, 1, &options, &need, NULL, 0), ERR_OK);
    options.kv_bytes = 8 * need.kv_each;
    options.answer_bytes = 1 << 20;
    struct measured m = engine_within(0, 1, &options);

    for (uint64_t id = 1; id <= 8; id++)
        CHECK_EQ(load(m.engine, id, 1, model.config.n_ctx / 2), 1);
    holds(&m);
    size_t full = engine_bytes(m.engine);

    m.bound -= 7 * need.kv_each;
    engine_limit_kv(m.engine, need.kv_each);
    CHECK(engine_bytes(m.engine) < full);
    holds(&m);
    CHECK(engine_free_slots(m.engine) > 0); // the oldest were forgotten
    CHECK_EQ(load(m.engine, 9, 1, model.config.n_ctx), 1);
    holds(&m);
    engine_free(m.engine);
}

static void every_span_is_weighed(void)
{
    struct engine_options options = {.n_slots = 4, .answer_bytes = 1 << 16};
    struct engine_need first, all;

    CHECK_EQ(engine_need(model.shards, 1, &options, &first, NULL, 0), ERR_OK);
    CHECK_EQ(engine_need(model.shards, model.n_shards, &options, &all, NULL, 0),
             ERR_OK);
    if (model.n_shards > 1) {
        CHECK(first.kv_each < all.kv_each); // it has fewer layers
        CHECK(first.fixed < all.fixed);     // and no head
    }
    for (uint32_t i = 0; i < model.n_shards; i++) {
        options.kv_bytes = first.kv_each;
        struct measured m = engine_within(i, 1, &options);

        holds(&m);
        engine_free(m.engine);
    }
}

int main(void)
{
    for (int kind = 0; kind < SYNTHETIC_KINDS; kind++) {
        for (uint32_t n_shards = 1; n_shards <= 3; n_shards += 2) {
            CHECK(synthetic_new((enum synthetic_kind)kind, n_shards, &model));
            a_bounded_engine_stays_within_its_bound();
            a_lower_bound_holds_at_once();
            every_span_is_weighed();
            synthetic_release(&model);
        }
    }
    return 0;
}
