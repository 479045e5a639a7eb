#include "api/keys.h"

#include <openssl/crypto.h>
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
    enum sched_scope scope; // that is needed
    uint8_t hash[SHA256_LEN];
};

const char *api_key_scope(unsigned scope)
{
    return scope == SCHED_SUBMIT ? "submit"
           : scope == SCHED_READ ? "read"
                                 : "operate";
}

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
    if (err == ERR_NOT_FOUND ||
        (!err && CRYPTO_memcmp(key->hash.ptr, search.hash, SHA256_LEN) != 0))
        refuse(search.req);
    else if (err)
        api_reply_err(search.req, err);
    else if (!(key->rights.scopes & search.scope))
        api_reply_error(search.req, 403, NULL, "missing_scope",
                        "this key lacks the scope %s, which %s %s needs",
                        api_key_scope(search.scope), search.req->route->method,
                        search.req->route->pattern);
    else
        search.fn(search.req, key->id);
}

void api_key_find_for(struct api_request *req, enum sched_scope scope,
                      void (*fn)(struct api_request *req, const char *key))
{
    const char *text = api_request_bearer(req);
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
    *search = (struct search){.req = req, .fn = fn};
    search->scope = scope;
    // The store is searched by the hash, so time tells nothing about a key;
    // what it finds is compared in constant time.
    api_secret_hash(text, search->hash);
    err = sched_key_find(req->server->store, search->hash, on_key, search);
    if (err) {
        free(search);
        api_reply_err(req, err);
    }
}

void api_key_find(struct api_request *req,
                  void (*fn)(struct api_request *req, const char *key))
{
    bool get = strcmp(req->route->method, "GET") == 0;

    api_key_find_for(req, get ? SCHED_READ : SCHED_SUBMIT, fn);
}
