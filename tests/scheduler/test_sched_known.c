// Known answers: who gives a wrong one has lost a dispute, though none of its
// lines was drawn. And nobody can tell a known one from the others.
#include "fake.h"

#include <string.h>

#define CELL  "syn:{0}:"
#define QUEUE CELL "q:01020304000000000000000000000000"
#define ZEROS "000000000000000000000000000000"
#define REST  "ab" ZEROS ZEROS // of an account's name, after its number

enum { KNOWN = 40 }; // lines that the referee has found right

static void always(struct sched_policy *p)
{
    p->known = 1000000;
}

static void leave(struct world *w, struct fake *f)
{
    fake_release(f);
    world_run(w, 20);
    CHECK_EQ(fake_leave(f), ERR_OK);
}

// The referee finds what account 1, a newcomer, computed right. Then account 2,
// trusted for long, gets lines; with each unit one whose answer is known.
static void begin(struct world *w, struct fake f[3],
                  void (*set_policy)(struct sched_policy *p))
{
    world_init(w, set_policy);
    w->redundancy = 2; // all of them are checked
    fake_join(&f[0], w, 1, 1, false);
    fake_join(&f[2], w, 9, 9, true);
    world_batch(w, "batch_1", KNOWN, false);
    w->redundancy = 0;
    fake_go(&f[0]);
    fake_go(&f[2]);
    fakes_until_final(w, "batch_1", 5000);
    fakes_output(w, "batch_1");
    leave(w, &f[0]);
    CHECK(world_redis(w, "HEXISTS " CELL "g known") == 0); // not its own
    fake_join(&f[1], w, 2, 2, false);
    world_redis(w, "HSET " CELL "acct:02" REST " run 100000");
}

static void an_honest_volunteer_passes(void)
{
    enum { LINES = 40 };
    struct world w;
    struct fake f[3];

    begin(&w, f, always);
    world_batch(&w, "batch_2", LINES, false);
    fake_go(&f[1]);
    fakes_until_final(&w, "batch_2", 8000);
    world_check(&w, "batch_2", LINES, false, true); // each once, no other
    CHECK(world_redis(&w, "HGET " CELL "g known") > 0);
    CHECK_EQ(world_redis(&w, "HGET " CELL "g disagreements"), 0);
    CHECK(f[1].work_seqs > LINES);
    fakes_output(&w, "batch_2");
    leave(&w, &f[1]);
    leave(&w, &f[2]);
    CHECK_EQ(world_redis(&w, "HGET " CELL "g n_q"), 0); // nothing stays
    CHECK_EQ(world_redis(&w, "HGET " CELL "g n_r"), 0);
    world_release(&w);
}

// Where the last line of a queue is taken beside a known one, in either order,
// what the queue told of its keys goes with it.
static void a_known_line_leaves_nothing_of_an_empty_queue(void)
{
    enum { BATCHES = 12, LINES = 4 };
    struct world w;
    struct fake f[3];

    begin(&w, f, always);
    f[1].slots = 2;
    for (int i = 0; i < BATCHES; i++) {
        char id[32];

        snprintf(id, sizeof id, "batch_of_four_%d", i);
        world_batch(&w, id, LINES, false);
        while (world_redis(&w, "EXISTS " QUEUE)) {
            CHECK_EQ(fake_call(&f[1], f[1].n_held ? 0 : -1, 0), ERR_OK);
            CHECK_EQ(f[1].n_held, 1);
        }
        CHECK_EQ(world_redis(&w, "EXISTS " QUEUE ":t"), 0);
        while (f[1].n_held)
            CHECK_EQ(fake_call(&f[1], 0, 0), ERR_OK);
        fakes_until_final(&w, id, 8000);
        fakes_output(&w, id);
    }
    CHECK(world_redis(&w, "HGET " CELL "g known") >= BATCHES);
    leave(&w, &f[1]);
    leave(&w, &f[2]);
    world_release(&w);
}

static void a_liar_is_found_before_any_draw(void)
{
    // Enough units: a known line of one token cannot be wrong in the second.
    enum { LINES = 160 };
    struct world w;
    struct fake f[3];

    begin(&w, f, always);
    leave(&w, &f[2]); // nobody is there who could check
    world_batch(&w, "batch_2", LINES, false);
    f[1].mode = FAKE_WRONG_TOKEN;
    fake_go(&f[1]);
    for (int i = 0; i < 600; i++)
        if (!world_redis(&w, "HGET " CELL "acct:02" REST " ban"))
            world_run(&w, 50);
    CHECK_EQ(world_redis(&w, "HGET " CELL "acct:02" REST " ban"), 1);
    CHECK(world_redis(&w, "HGET " CELL "g known") >= 3);
    CHECK_EQ(world_redis(&w, "HGET " CELL "b:batch_2 n_ok"), 0);
    leave(&w, &f[1]);
    fake_join(&f[0], &w, 3, 3, false);
    fake_join(&f[2], &w, 10, 9, true);
    fake_go(&f[0]);
    fake_go(&f[2]);
    fakes_until_final(&w, "batch_2", 8000);
    world_check(&w, "batch_2", LINES, false, true);
    fakes_output(&w, "batch_2");
    leave(&w, &f[0]);
    leave(&w, &f[2]);
    world_release(&w);
}

// ---- what a volunteer sees ----

enum { SEEN_MAX = 400, SEEN_BYTES = 512 };

// A line that was new to it, as the frame told it, its id left out.
struct seen {
    uint64_t id;
    uint8_t bytes[SEEN_BYTES];
    size_t len;
    uint32_t unit, place; // among those of its unit
    bool known;
};

struct view {
    struct seen seen[SEEN_MAX];
    uint32_t n;
    struct syn1_header header; // of the first unit
};

// Is row i of that unit one whose answer is known?
static bool is_known(struct world *w, const uint8_t unit[SYN1_ID_LEN],
                     uint32_t i)
{
    static const char script[] =
        "local rows = cmsgpack.unpack(redis.call('HGET', '" CELL
        "u:' .. ARGV[1], 'rows'))"
        "return redis.call('HGET', '" CELL
        "s:' .. rows[ARGV[2] + 1][1], 'b') == 'known' and 1 or 0";
    char hex[2 * SYN1_ID_LEN + 1];

    for (size_t k = 0; k < SYN1_ID_LEN; k++)
        snprintf(hex + 2 * k, 3, "%02x", unit[k]);
    return world_redis(w, "EVAL %s 0 %s %u", script, hex, i) == 1;
}

static void look(struct world *w, struct view *view, uint32_t unit,
                 const uint8_t *frame, size_t len)
{
    struct syn1_frame f;
    struct syn1_unit_seq seq;
    uint32_t place = 0;

    CHECK_EQ(syn1_parse(frame, len, &f), ERR_OK);
    if (!unit)
        view->header = f.header;
    CHECK_EQ(f.header.kind, view->header.kind);
    CHECK_EQ(f.header.flags, view->header.flags);
    CHECK_EQ(f.header.span_first, view->header.span_first);
    CHECK_EQ(f.header.span_end, view->header.span_end);
    CHECK_EQ(f.header.attempt, view->header.attempt);
    CHECK_EQ(f.header.print_seed, view->header.print_seed);
    for (uint32_t i = 0; syn1_unit_next(&f.header, &f.body, &seq); i++) {
        struct seen *s = &view->seen[view->n];
        struct bytes_out out = {.ptr = s->bytes, .cap = SEEN_BYTES};

        if (seq.first > 0)
            continue;
        CHECK(view->n++ < SEEN_MAX);
        s->id = seq.id;
        seq.id = 0;
        syn1_put_unit_seq(&out, &f.header, &seq);
        CHECK(!out.full);
        s->len = out.len;
        s->unit = unit;
        s->place = place++;
        s->known = is_known(w, f.header.unit, i);
    }
}

static void short_and_always(struct sched_policy *p)
{
    p->known = 1000000;
    p->max_new = p->first_new = 1; // whatever the speed
}

static bool same(const struct seen *a, const struct seen *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

// Each of the known ones is, but for its id, byte by byte what an ordinary one
// was; its id is among theirs, and so is its place.
static void compare(const struct view *view)
{
    uint32_t n_known = 0, pairs = 0, larger = 0, first = 0, later = 0;

    for (uint32_t i = 0; i < view->n; i++) {
        const struct seen *a = &view->seen[i];
        bool found = false;

        if (!a->known)
            continue;
        n_known++;
        for (uint32_t j = 0; j < view->n; j++) {
            const struct seen *b = &view->seen[j];

            CHECK(i == j || a->id != b->id);
            found = found || (!b->known && same(a, b));
            CHECK(i == j || !b->known || !same(a, b)); // not twice the same
            if (b->known || a->unit != b->unit)
                continue;
            pairs++;
            larger += a->id > b->id;
            first += a->place < b->place;
            later += a->place > b->place;
        }
        CHECK(found);
    }
    CHECK(n_known >= 20);
    CHECK(pairs >= 60);
    CHECK(larger > pairs / 5 && larger < pairs - pairs / 5);
    CHECK(first > pairs / 5 && later > pairs / 5);
}

static void a_known_line_looks_like_any_other(void)
{
    enum { LINES = 160 };
    struct world w;
    struct fake f[3];
    static struct view view;

    begin(&w, f, short_and_always);
    world_batch(&w, "batch_2", LINES, false);
    f[1].slots = 5;
    for (uint32_t unit = 0; view.n < LINES; unit++) {
        CHECK_EQ(fake_call(&f[1], f[1].n_held ? 0 : -1, 0), ERR_OK);
        CHECK_EQ(f[1].n_held, 1);
        look(&w, &view, unit, f[1].held[0].frame, f[1].held[0].len);
    }
    compare(&view);
    fake_go(&f[1]);
    fakes_until_final(&w, "batch_2", 8000);
    world_check(&w, "batch_2", LINES, false, true);
    CHECK_EQ(world_redis(&w, "HGET " CELL "g disagreements"), 0);
    fakes_output(&w, "batch_2");
    leave(&w, &f[1]);
    leave(&w, &f[2]);
    world_release(&w);
}

int main(void)
{
    a_known_line_leaves_nothing_of_an_empty_queue();
    a_known_line_looks_like_any_other();
    an_honest_volunteer_passes();
    a_liar_is_found_before_any_draw();
    return 0;
}
