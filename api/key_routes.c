#include "api/key_routes.h"

#include "api/keys.h"
#include "api/reply.h"
#include "api/server.h"
#include "scheduler/key.h"

static json_t *scopes_json(unsigned scopes)
{
    json_t *list = json_array();

    for (unsigned bit = 1; bit <= SCHED_SCOPES; bit <<= 1)
        if (scopes & bit)
            json_array_append_new(list, json_string(api_key_scope(bit)));
    return list;
}

static json_t *quota_json(uint64_t used, uint64_t limit)
{
    return json_pack("{s:I, s:o}", "used", (json_int_t)used, "limit",
                     limit ? json_integer((json_int_t)limit) : json_null());
}

static json_t *key_json(const struct sched_key *k)
{
    const struct sched_rights *r = &k->rights;

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:o, s:{s:o, s:o, s:o}}", "id",
        k->id, "object", "key", "name", k->name, "hint", k->hint, "scopes",
        scopes_json(r->scopes), "priority", (json_int_t)r->priority,
        "created_at", (json_int_t)(k->created_ms / 1000), "revoked_at",
        k->revoked_ms ? json_integer(k->revoked_ms / 1000) : json_null(),
        "quotas", "requests_queued", quota_json(k->requests, r->requests),
        "bytes_stored", quota_json(k->bytes, r->bytes), "tokens_per_day",
        quota_json(k->tokens, r->tokens));
}

static void on_keys(enum err err, const struct sched_key *keys, size_t n,
                    void *ctx)
{
    struct api_request *req = ctx;
    json_t *data;

    if (err) {
        api_reply_err(req, err);
        return;
    }
    data = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(data, key_json(&keys[i]));
    api_reply_json(req, 200,
                   json_pack("{s:s, s:o}", "object", "list", "data", data));
}

static void list(struct api_request *req, const char *key)
{
    enum err err = sched_key_list(req->server->store, on_keys, req);

    (void)key;
    if (err)
        api_reply_err(req, err);
}

void api_key_list(struct api_request *req)
{
    api_key_find_for(req, SCHED_OPERATE, list);
}
