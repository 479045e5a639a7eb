#include "api/accounts.h"

#include <string.h>

#include "api/query.h"
#include "api/reply.h"
#include "api/server.h"
#include "scheduler/account.h"

json_t *api_account_reliability(uint64_t agreed, uint64_t disagreements)
{
    uint64_t n = agreed + disagreements;

    return n ? json_real((double)agreed / (double)n) : json_null();
}

json_t *api_account_backends(const char *text)
{
    json_t *list = json_array();

    while (*text) {
        size_t len = strcspn(text, ",");

        if (len > 0)
            json_array_append_new(list, json_stringn(text, len));
        text += len;
        text += *text == ',';
    }
    return list;
}

static json_t *pending_json(const char *reason, const char *text,
                            const struct sched_pending *p)
{
    return json_pack("{s:s, s:s, s:I, s:I}", "reason", reason, "text", text,
                     "lines", (json_int_t)p->lines, "credit",
                     (json_int_t)p->credit);
}

static void on_account(enum err err, const struct sched_account *a, void *ctx)
{
    struct api_request *req = ctx;

    if (err == ERR_NOT_FOUND) {
        api_reply_error(req, 404, "account", "account_not_found",
                        "nobody has joined with this account");
        return;
    }
    if (err) {
        api_reply_err(req, err);
        return;
    }
    api_reply_json(
        req, 200,
        json_pack(
            "{s:s, s:s, s:s, s:I, s:[o, o], s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
            "s:o, s:b, s:I, s:I, s:o}",
            "object", "account", "account", req->args[0], "name", a->name,
            "credit", (json_int_t)a->credit, "pending",
            pending_json("check", "another volunteer recomputes these lines",
                         &a->checking),
            pending_json("later_checks",
                         "these lines count when checks of later work agree",
                         &a->later),
            "units", (json_int_t)a->units, "tokens", (json_int_t)a->tokens,
            "checks", (json_int_t)a->checks, "agreed", (json_int_t)a->agreed,
            "valid_run", (json_int_t)a->run, "disagreements",
            (json_int_t)a->disagreements, "faults", (json_int_t)a->faults,
            "reliability", api_account_reliability(a->agreed, a->disagreements),
            "banned", a->banned, "online", (json_int_t)a->online, "rank",
            (json_int_t)a->rank, "backends",
            api_account_backends(a->backends)));
}

void api_account_get(struct api_request *req)
{
    uint8_t id[SCHED_HASH_LEN];
    enum err err;

    if (!api_query_hex(req->args[0], id, sizeof id)) {
        api_reply_error(req, 400, "account", "invalid_field",
                        "an account is 64 hex digits");
        return;
    }
    err = sched_account_get(req->server->store, req->args[0], on_account, req);
    if (err)
        api_reply_err(req, err);
}
