#include "api/plan.h"

#include <string.h>

#include "api/fields.h"
#include "api/keys.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/server.h"
#include "scheduler/plan.h"
#include "scheduler/plan_make.h"

enum { NAME_MAX_LEN = 255 };

static uint16_t boundary(struct bytes path, size_t i)
{
    return (uint16_t)(path.ptr[i * 2] | path.ptr[i * 2 + 1] << 8);
}

// Does the volunteer hold that span of the model?
static bool holds(const struct sched_plan_volunteer *v,
                  const struct sched_plan_model *m, uint16_t first,
                  uint16_t end)
{
    for (size_t i = 0; i < v->spans.len / SCHED_PLAN_SPAN_LEN; i++) {
        struct sched_plan_span s = sched_plan_span_at(v->spans, i);

        if (s.first == first && s.end == end &&
            memcmp(s.model, m->id, sizeof m->id) == 0)
            return true;
    }
    return false;
}

static bool wants(const struct sched_plan_volunteer *v,
                  const struct sched_plan_model *m, uint16_t first,
                  uint16_t end)
{
    return v->wanted.end == end && v->wanted.first == first &&
           memcmp(v->wanted.model, m->id, sizeof m->id) == 0;
}

static json_t *span_json(const struct sched_plan *plan,
                         const struct sched_plan_model *m, uint16_t first,
                         uint16_t end)
{
    json_t *held = json_array(), *coming = json_array();

    for (size_t i = 0; i < plan->n_volunteers; i++) {
        const struct sched_plan_volunteer *v = &plan->volunteers[i];

        if (holds(v, m, first, end))
            json_array_append_new(held, json_string(v->id));
        else if (wants(v, m, first, end))
            json_array_append_new(coming, json_string(v->id));
    }
    return json_pack("{s:i, s:i, s:o, s:o}", "first", (int)first, "end",
                     (int)end, "held_by", held, "to_be_held_by", coming);
}

static json_t *model_json(const struct sched_plan *plan,
                          const struct sched_plan_model *m)
{
    json_t *spans = json_array();
    char id[2 * SYN1_ID_LEN + 1];

    json_array_append_new(spans, span_json(plan, m, 0, (uint16_t)m->n_shards));
    for (size_t i = 0; i + 1 < m->path.len / 2; i++)
        json_array_append_new(spans, span_json(plan, m, boundary(m->path, i),
                                               boundary(m->path, i + 1)));
    api_query_hex_put(m->id, SYN1_ID_LEN, id);
    return json_pack(
        "{s:s, s:s, s:i, s:I, s:b, s:o, s:o}", "id", id, "name", m->name,
        "shards", (int)m->n_shards, "queued", (json_int_t)m->queued, "pinned",
        m->pinned, "missing_shard",
        m->missing ? json_integer(m->missing) : json_null(), "spans", spans);
}

// [first, end] of a span of one model, or null.
static json_t *ends_json(const struct sched_plan_span *span)
{
    return span->end ? json_pack("[i, i]", (int)span->first, (int)span->end)
                     : json_null();
}

static json_t *volunteer_json(const struct sched_plan_volunteer *v)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:o}", "id", v->id, "name",
                     v->name, "backend", v->backend, "memory",
                     (json_int_t)v->memory, "rows_per_second",
                     (json_int_t)v->speed, "to_hold", ends_json(&v->wanted),
                     "pinned_to", ends_json(&v->pinned));
}

static void on_plan(enum err err, const struct sched_plan *plan, void *ctx)
{
    json_t *models, *volunteers;

    if (err) {
        api_reply_err(ctx, err);
        return;
    }
    models = json_array();
    volunteers = json_array();
    for (size_t i = 0; i < plan->n_models; i++)
        json_array_append_new(models, model_json(plan, &plan->models[i]));
    for (size_t i = 0; i < plan->n_volunteers; i++)
        json_array_append_new(volunteers, volunteer_json(&plan->volunteers[i]));
    api_reply_json(ctx, 200,
                   json_pack("{s:s, s:o, s:o}", "object", "plan", "models",
                             models, "volunteers", volunteers));
}

void api_plan_get(struct api_request *req)
{
    enum err err = sched_plan_get(req->server->store, on_plan, req);

    if (err)
        api_reply_err(req, err);
}

static void on_pinned(enum err err, void *ctx)
{
    if (err)
        api_reply_err(ctx, err);
    else
        api_reply_nothing(ctx);
}

// Ascending shard numbers, from 0 to the last if it is a path.
static size_t path_read(struct api_fields *f, const char *name, bool whole,
                        uint32_t n_shards, uint16_t *out)
{
    const json_t *list = api_fields_get(f, name);
    size_t n = json_array_size(list);
    json_int_t last = -1;

    if (!list || f->wrong)
        return 0;
    if (!json_is_array(list) || n < 2 || n > n_shards + (size_t)1 ||
        (!whole && n != 2))
        api_fields_wrong(f, name, "%s must be a list of shard numbers%s", name,
                         whole ? "" : ", first and end");
    for (size_t i = 0; !f->wrong && i < n; i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t v = json_integer_value(item);

        if (!json_is_integer(item) || v <= last || v < 0 || v > n_shards)
            api_fields_wrong(f, name, "%s must ascend within 0 .. %u", name,
                             (unsigned)n_shards);
        last = v;
        out[i] = (uint16_t)v;
    }
    if (!f->wrong && whole && (out[0] != 0 || out[n - 1] != n_shards))
        api_fields_wrong(f, name, "%s must begin with 0 and end with %u", name,
                         (unsigned)n_shards);
    return f->wrong ? 0 : n;
}

static void pin(struct api_request *req, struct api_fields *f)
{
    static const char *const names[] = {"model", "volunteer", "path", "span",
                                        NULL};
    uint16_t path[PLAN_SHARDS_MAX + 1];
    const struct api_model *m;
    const char *volunteer;
    char served[160];
    size_t n;

    api_fields_only(f, names);
    m = api_models_find(&req->server->models,
                        api_fields_text(f, "model", true, NAME_MAX_LEN, ""));
    volunteer = api_fields_text(f, "volunteer", false, SCHED_NAME_MAX, NULL);
    api_models_names(&req->server->models, served, sizeof served);
    if (!f->wrong && !m)
        api_fields_wrong(f, "model",
                         "there is no such model here; this server has %s",
                         served);
    if (!f->wrong && m->manifest.n_shards > PLAN_SHARDS_MAX)
        api_fields_wrong(f, "model", "it has too many shards to be split");
    n = path_read(f, volunteer ? "span" : "path", !volunteer,
                  m ? m->manifest.n_shards : 0, path);
    if (f->wrong) {
        api_reply_error(req, 400, f->param,
                        strcmp(f->param, "model") ? "invalid_field"
                                                  : "model_not_found",
                        "%s", f->message);
        return;
    }
    enum err err = sched_plan_pin(req->server->store, m->id, volunteer, path, n,
                                  on_pinned, req);
    if (err)
        api_reply_err(req, err);
}

static void on_key(struct api_request *req, const char *key)
{
    struct api_fields f;
    json_t *body = api_request_json(req);

    (void)key;
    if (!body)
        return;
    api_fields_init(&f, body);
    pin(req, &f);
    json_decref(body);
}

void api_plan_pin(struct api_request *req)
{
    api_key_find_for(req, SCHED_OPERATE, on_key);
}
