#include "api/quota.h"

#include <inttypes.h>
#include <stdlib.h>

#include "api/reply.h"
#include "api/server.h"

// Lines become final all the time: when exactly, nobody knows.
enum { REQUESTS_RETRY_S = 30, BYTES_RETRY_S = 3600 };

struct refusal {
    struct api_request *req;
    uint64_t requests, bytes;
};

static int64_t seconds(int64_t ms)
{
    return ms > 0 ? (ms + 999) / 1000 : 1;
}

bool api_quota_find(const struct sched_key *key, uint64_t requests,
                    uint64_t bytes, struct api_quota *out)
{
    const struct sched_rights *r = &key->rights;
    uint64_t bytes_max = r->bytes ? r->bytes : API_STORED_MAX;

    if (requests && r->requests &&
        (requests > r->requests || key->requests > r->requests - requests))
        *out = (struct api_quota){"requests_queued", key->requests, r->requests,
                                  requests > r->requests, REQUESTS_RETRY_S};
    else if (requests && r->tokens && key->tokens >= r->tokens)
        *out = (struct api_quota){"tokens_per_day", key->tokens, r->tokens,
                                  false, seconds(key->day_ms)};
    else if (bytes && (bytes > bytes_max || key->bytes > bytes_max - bytes))
        *out = (struct api_quota){
            "bytes_stored", key->bytes, bytes_max, bytes > bytes_max,
            key->bytes_ms ? seconds(key->bytes_ms) : BYTES_RETRY_S};
    else
        return false;
    return true;
}

void api_quota_reply(struct api_request *req, const struct sched_key *key,
                     uint64_t requests, uint64_t bytes)
{
    struct api_quota q;

    if (!api_quota_find(key, requests, bytes, &q)) {
        req->retry_s = 1;
        api_reply_error(req, 429, NULL, "quota_exceeded",
                        "a quota of this key was used up just now, try again");
        return;
    }
    if (q.never) {
        api_reply_error(req, 400, q.name, "quota_exceeded",
                        "this alone is over the quota %s of this key, %" PRIu64
                        ": send less at once",
                        q.name, q.limit);
        return;
    }
    req->retry_s = q.retry_s;
    api_reply_error(req, 429, q.name, "quota_exceeded",
                    "the quota %s of this key is used up (%" PRIu64
                    " of %" PRIu64 "): try again in %" PRId64 " s",
                    q.name, q.used, q.limit, q.retry_s);
}

static void on_key(enum err err, const struct sched_key *key, void *ctx)
{
    struct refusal refusal = *(struct refusal *)ctx;

    free(ctx);
    if (err)
        api_reply_err(refusal.req, err);
    else
        api_quota_reply(refusal.req, key, refusal.requests, refusal.bytes);
}

void api_quota_refuse(struct api_request *req, const char *key,
                      uint64_t requests, uint64_t bytes)
{
    struct refusal *refusal = malloc(sizeof *refusal);
    enum err err = ERR_NOMEM;

    if (refusal) {
        *refusal = (struct refusal){req, requests, bytes};
        err = sched_key_get(req->server->store, key, on_key, refusal);
    }
    if (err) {
        free(refusal);
        api_reply_err(req, err);
    }
}
