#include "api/overview.h"

#include "api/batches.h"
#include "api/keys.h"
#include "api/reply.h"
#include "api/server.h"
#include "scheduler/overview.h"

static json_t *lie_json(const struct sched_lie *lie)
{
    return json_pack("{s:I, s:s, s:s, s:b}", "at",
                     (json_int_t)(lie->at_ms / 1000), "account", lie->account,
                     "name", lie->name, "banned", lie->banned);
}

static void on_overview(enum err err, const struct sched_overview *now,
                        void *ctx)
{
    json_t *batches, *lies;

    if (err) {
        api_reply_err(ctx, err);
        return;
    }
    batches = json_array();
    lies = json_array();
    for (size_t i = 0; i < now->n_batches; i++)
        json_array_append_new(
            batches, json_pack("{s:s, s:o}", "key", now->batches[i].key,
                               "batch", api_batch_json(&now->batches[i])));
    for (size_t i = 0; i < now->n_lies; i++)
        json_array_append_new(lies, lie_json(&now->lies[i]));
    api_reply_json(ctx, 200,
                   json_pack("{s:s, s:I, s:o, s:o}", "object", "overview",
                             "open_batches", (json_int_t)now->n_open, "batches",
                             batches, "lies", lies));
}

static void get(struct api_request *req, const char *key)
{
    enum err err = sched_overview_get(req->server->store, on_overview, req);

    (void)key;
    if (err)
        api_reply_err(req, err);
}

void api_overview_get(struct api_request *req)
{
    api_key_find_for(req, SCHED_OPERATE, get);
}
