#include "scheduler/plan.h"

#include <stdlib.h>
#include <string.h>

#include "redundancy/project.h"
#include "scheduler/plan_make.h"
#include "scheduler/state.h"

enum {
    MODEL_FIELDS = 9,
    VOLUNTEER_FIELDS = 9,
    MODELS_MAX = 64,
    SPAN_LEN = SCHED_PLAN_SPAN_LEN,
    SHARD_LEN = 24, // of a shard's sizes
    HELD_MAX = 4,   // spans of one model that a volunteer is seen to hold
};

// What plan_look tells, in memory of our own; texts are views of the reply.
struct seen {
    uint64_t version;
    struct sched_plan plan;
    struct sched_plan_model *models;
    struct bytes *sizes, *layers; // of each model's shards
    struct sched_plan_volunteer *volunteers;
};

struct looking {
    sched_plan_fn *fn;
    void *ctx;
};

struct sched_plan_span sched_plan_span_at(struct bytes spans, size_t i)
{
    struct sched_plan_span span = {0};
    const uint8_t *p = spans.ptr + i * SPAN_LEN;

    if (spans.len < (i + 1) * SPAN_LEN)
        return span;
    memcpy(span.model, p, SYN1_ID_LEN);
    span.first = (uint16_t)(p[SYN1_ID_LEN] | p[SYN1_ID_LEN + 1] << 8);
    span.end = (uint16_t)(p[SYN1_ID_LEN + 2] | p[SYN1_ID_LEN + 3] << 8);
    return span;
}

static void seen_release(struct seen *seen)
{
    free(seen->models);
    free(seen->sizes);
    free(seen->layers);
    free(seen->volunteers);
}

static void model_read(struct sched_walk *walk, struct sched_plan_model *m,
                       struct bytes *sizes, struct bytes *layers)
{
    struct bytes id = sched_walk_bytes(walk);

    if (id.len == SYN1_ID_LEN)
        memcpy(m->id, id.ptr, SYN1_ID_LEN);
    m->name = sched_walk_text(walk);
    m->n_shards = sched_walk_u32(walk);
    *sizes = sched_walk_bytes(walk);
    m->path = sched_walk_bytes(walk);
    m->pinned = sched_walk_u32(walk);
    m->missing = sched_walk_u32(walk);
    m->queued = sched_walk_u64(walk);
    *layers = sched_walk_bytes(walk);
    if (!m->n_shards || m->n_shards > PLAN_SHARDS_MAX ||
        sizes->len != (size_t)m->n_shards * SHARD_LEN ||
        (layers->len && layers->len != (size_t)m->n_shards * 4) ||
        m->path.len > (m->n_shards + (size_t)1) * 2)
        walk->bad = true;
}

static void volunteer_read(struct sched_walk *walk,
                           struct sched_plan_volunteer *v)
{
    v->id = sched_walk_text(walk);
    v->name = sched_walk_text(walk);
    v->backend = sched_walk_text(walk);
    v->memory = sched_walk_u64(walk);
    v->speed = sched_walk_u32(walk);
    v->spans = sched_walk_bytes(walk);
    v->wanted = sched_plan_span_at(sched_walk_bytes(walk), 0);
    v->pinned = sched_plan_span_at(sched_walk_bytes(walk), 0);
    v->kernel_class = (uint8_t)sched_walk_u32(walk);
}

static enum err seen_read(const redisReply *reply, struct seen *seen)
{
    struct sched_walk walk = sched_walk_over(reply);
    uint64_t n_models;
    size_t room;

    seen->version = sched_walk_u64(&walk);
    n_models = sched_walk_u64(&walk);
    if (walk.bad || n_models > MODELS_MAX ||
        !sched_walk_has(&walk, n_models * MODEL_FIELDS))
        return ERR_FORMAT;
    room = walk.array->elements / VOLUNTEER_FIELDS + 1;
    seen->models = calloc(n_models + 1, sizeof *seen->models);
    seen->sizes = calloc(n_models + 1, sizeof *seen->sizes);
    seen->layers = calloc(n_models + 1, sizeof *seen->layers);
    seen->volunteers = calloc(room, sizeof *seen->volunteers);
    if (!seen->models || !seen->sizes || !seen->layers || !seen->volunteers)
        return ERR_BUSY;
    seen->plan.models = seen->models;
    seen->plan.volunteers = seen->volunteers;
    while (seen->plan.n_models < n_models) {
        size_t i = seen->plan.n_models++;

        model_read(&walk, &seen->models[i], &seen->sizes[i], &seen->layers[i]);
    }
    while (sched_walk_has(&walk, VOLUNTEER_FIELDS))
        volunteer_read(&walk, &seen->volunteers[seen->plan.n_volunteers++]);
    return walk.bad || walk.at != walk.array->elements ? ERR_FORMAT : ERR_OK;
}

static void on_seen(enum err err, const redisReply *reply, void *ctx)
{
    struct looking *looking = ctx;
    struct seen seen = {0};

    if (!err)
        err = seen_read(reply, &seen);
    looking->fn(err, err ? NULL : &seen.plan, looking->ctx);
    seen_release(&seen);
    free(looking);
}

enum err sched_plan_get(struct sched_store *store, sched_plan_fn *fn, void *ctx)
{
    struct looking *looking = malloc(sizeof *looking);
    struct sched_args args = {0};
    enum err err;

    if (!looking)
        return ERR_NOMEM;
    *looking = (struct looking){fn, ctx};
    err = sched_link_call(store->link, "plan_look", &args, on_seen, looking);
    if (err)
        free(looking);
    return err;
}

static void put_u16s(struct sched_args *args, const uint16_t *v, size_t n)
{
    sched_args_put(args, "", 0);
    for (size_t i = 0; i < n; i++) {
        uint8_t b[2] = {(uint8_t)v[i], (uint8_t)(v[i] >> 8)};

        sched_args_append(args, b, sizeof b);
    }
}

enum err sched_plan_pin(struct sched_store *store,
                        const uint8_t model[SYN1_ID_LEN], const char *volunteer,
                        const uint16_t *path, size_t n, sched_done_fn *fn,
                        void *ctx)
{
    struct sched_args args = {0};

    if ((volunteer && !sched_text_fits(volunteer, 1, SCHED_NAME_MAX)) ||
        n > PLAN_SHARDS_MAX + 1)
        return ERR_RANGE;
    sched_args_put(&args, model, SYN1_ID_LEN);
    sched_args_text(&args, volunteer ? volunteer : "");
    put_u16s(&args, path, n);
    return sched_call_done(store, "plan_pin", &args, fn, ctx);
}

// ---- making plans ----

// What is being decided; one at a time.
struct deciding {
    struct plan plan;
    struct sched_shard shards[PLAN_SHARDS_MAX];
    uint16_t now[PLAN_SHARDS_MAX + 1];
    struct plan_volunteer *volunteers;
    int *stages;
    struct sched_plan_span *wanted; // of each volunteer
};

static void deciding_free(struct deciding *d)
{
    if (!d)
        return;
    free(d->volunteers);
    free(d->stages);
    free(d->wanted);
    free(d);
}

static struct deciding *deciding_new(size_t n)
{
    struct deciding *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    d->volunteers = calloc(n + 1, sizeof *d->volunteers);
    d->stages = calloc(n + 1, sizeof *d->stages);
    d->wanted = calloc(n + 1, sizeof *d->wanted);
    if (d->volunteers && d->stages && d->wanted)
        return d;
    deciding_free(d);
    return NULL;
}

// Volunteer v as the plan of model m sees it.
static struct plan_volunteer about(const struct sched_plan_volunteer *v,
                                   const struct sched_plan_model *m)
{
    struct plan_volunteer out = {
        .memory = v->memory, .speed = v->speed, .near = v->kernel_class != 0};

    for (size_t i = 0; i < v->spans.len / SPAN_LEN && out.n_held < HELD_MAX;
         i++) {
        struct sched_plan_span span = sched_plan_span_at(v->spans, i);

        if (memcmp(span.model, m->id, SYN1_ID_LEN) != 0)
            continue;
        out.held[out.n_held][0] = span.first;
        out.held[out.n_held++][1] = span.end;
    }
    if (v->pinned.end && memcmp(v->pinned.model, m->id, SYN1_ID_LEN) == 0) {
        out.pinned = true;
        out.pin[0] = v->pinned.first;
        out.pin[1] = v->pinned.end;
    }
    return out;
}

// Layers that are not known are too many for class f32.
static void sizes_read(struct deciding *d, struct bytes sizes,
                       struct bytes layers)
{
    struct sched_shard *s = d->shards;

    while (bytes_u64(&sizes, &s->n_bytes) && bytes_u64(&sizes, &s->kv_bytes) &&
           bytes_u64(&sizes, &s->scratch_bytes)) {
        if (!bytes_u32(&layers, &s->n_layers))
            s->n_layers = REDUN_LAYERS_MAX + 1;
        s++;
    }
}

// Should somebody who has the memory for the whole model fetch it? If it holds
// part of it, and the others do without that part.
static bool is_upgraded(const struct deciding *d,
                        const struct plan_volunteer *who, uint16_t n_shards)
{
    bool part = false;

    for (size_t h = 0; h < who->n_held; h++) {
        const uint16_t *span = who->held[h];

        if (span[0] == 0 && span[1] == n_shards)
            return false;
        part = true;
        for (size_t i = 0; i + 1 < d->plan.n_path; i++)
            if (memcmp(&d->plan.path[i], span, sizeof who->held[h]) == 0 &&
                !d->plan.n_holders[i])
                return false;
    }
    return part;
}

// Plan model i for those that are to hold nothing of an earlier one; the result
// goes into args and d->wanted.
static void decide(struct deciding *d, const struct seen *seen, size_t i,
                   struct sched_args *args)
{
    const struct sched_plan_model *m = &seen->models[i];
    size_t n = seen->plan.n_volunteers, n_free = 0, n_now = m->path.len / 2;

    sizes_read(d, seen->sizes[i], seen->layers[i]);
    for (size_t b = 0; b < n_now; b++)
        d->now[b] =
            (uint16_t)(m->path.ptr[b * 2] | m->path.ptr[b * 2 + 1] << 8);
    for (size_t v = 0; v < n; v++)
        if (!d->wanted[v].end)
            d->volunteers[n_free++] = about(&seen->volunteers[v], m);
    plan_make(d->shards, m->n_shards, d->volunteers, n_free, d->now, n_now,
              m->pinned, d->stages, &d->plan);
    sched_args_put(args, m->id, SYN1_ID_LEN);
    put_u16s(args, d->plan.path, d->plan.n_path);
    sched_args_u64(args, d->plan.missing);
    n_free = 0;
    for (size_t v = 0; v < n; v++) {
        struct sched_plan_span *wanted = &d->wanted[v];
        int stage = PLAN_NONE;

        if (!wanted->end) {
            stage = d->stages[n_free];
            if (stage == PLAN_WHOLE &&
                is_upgraded(d, &d->volunteers[n_free], (uint16_t)m->n_shards)) {
                memcpy(wanted->model, m->id, SYN1_ID_LEN);
                wanted->end = (uint16_t)m->n_shards;
            }
            n_free++;
        }
        if (stage < 0)
            continue;
        memcpy(wanted->model, m->id, SYN1_ID_LEN);
        wanted->first = d->plan.path[stage];
        wanted->end = d->plan.path[stage + 1];
    }
}

static void put_wanted(struct sched_args *args,
                       const struct sched_plan_volunteer *v,
                       const struct sched_plan_span *w)
{
    uint8_t ends[4] = {(uint8_t)w->first, (uint8_t)(w->first >> 8),
                       (uint8_t)w->end, (uint8_t)(w->end >> 8)};

    sched_args_text(args, v->id);
    sched_args_put(args, w->model, w->end ? SYN1_ID_LEN : 0);
    if (w->end)
        sched_args_append(args, ends, sizeof ends);
}

static void on_applied(enum err err, void *ctx)
{
    (void)err, (void)ctx; // if it was not, the next sweep says so
}

static void on_look(enum err err, const redisReply *reply, void *ctx)
{
    struct sched_store *store = ctx;
    struct sched_args args = {0};
    struct deciding *d = NULL;
    struct seen seen = {0};

    store->planning = false;
    if (!err)
        err = seen_read(reply, &seen);
    if (!err && !store->freeing)
        d = deciding_new(seen.plan.n_volunteers);
    if (d) {
        sched_args_u64(&args, seen.version);
        sched_args_u64(&args, seen.plan.n_models);
        for (size_t i = 0; i < seen.plan.n_models; i++)
            decide(d, &seen, i, &args);
        for (size_t v = 0; v < seen.plan.n_volunteers; v++)
            put_wanted(&args, &seen.volunteers[v], &d->wanted[v]);
        err = sched_call_done(store, "plan_apply", &args, on_applied, NULL);
    }
    deciding_free(d);
    seen_release(&seen);
}

void sched_plan_step(struct sched_store *store)
{
    struct sched_args args = {0};

    if (!store->planning && !store->freeing &&
        sched_link_call(store->link, "plan_look", &args, on_look, store) ==
            ERR_OK)
        store->planning = true;
}
