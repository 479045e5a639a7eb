#include "api/keys.h"

#include <stdlib.h>
#include <string.h>

#include "api/reply.h"
#include "api/secret.h"
#include "api/server.h"
#include "scheduler/key.h"

#define KEY_PREFIX "sk-syn-"

struct search {
    struct api_request *req;
    void (*fn)(struct api_request *req, const char *key);
};

static void refuse(struct api_request *req)
{
    api_reply_error(req, 401, NULL, "invalid_api_key",
                    "send a valid API key as \"Authorization: Bearer "
                    "sk-syn-...\"; the operator makes one by `synapse keys "
                    "create`");
}

static void on_key(enum err err, const struct sched_key *key, void *ctx)
{
    struct search search = *(struct search *)ctx;

    free(ctx);
    if (err == ERR_OK)
        search.fn(search.req, key->id);
    else if (err == ERR_NOT_FOUND)
        refuse(search.req);
    else
        api_reply_err(search.req, err);
}

void api_key_find(struct api_request *req,
                  void (*fn)(struct api_request *req, const char *key))
{
    const char *text = api_request_bearer(req);
    uint8_t hash[SHA256_LEN];
    struct search *search;
    enum err err;

    if (!text || strncmp(text, KEY_PREFIX, sizeof KEY_PREFIX - 1) != 0) {
        refuse(req);
        return;
    }
    search = malloc(sizeof *search);
    if (!search) {
        api_reply_err(req, ERR_NOMEM);
        return;
    }
    *search = (struct search){req, fn};
    // The store is searched by the hash, so time tells nothing about a key.
    api_secret_hash(text, hash);
    err = sched_key_find(req->server->store, hash, on_key, search);
    if (err) {
        free(search);
        api_reply_err(req, err);
    }
}
