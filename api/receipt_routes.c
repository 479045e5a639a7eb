#include "api/receipt_routes.h"

#include <openssl/crypto.h>

#include "api/log.h"
#include "api/receipt.h"
#include "api/reply.h"
#include "api/secret.h"
#include "api/server.h"
#include "api/toll.h"
#include "scheduler/key.h"

_Static_assert((int)SCHED_HASH_LEN == (int)API_SIGN_SECRET_LEN,
               "the store keeps another length");

static void on_key(enum err err, const uint8_t secret[SCHED_HASH_LEN],
                   void *ctx)
{
    struct api_server *server = ctx;
    struct api_signer *signer = NULL;

    if (!err)
        err = api_signer_new(secret, &signer);
    if (err) {
        if (err != ERR_STORE)
            api_log(API_LOG_ERROR, "signing_key", "error=\"%s\"",
                    err_text(err));
        return;
    }
    api_signer_free(server->signer);
    server->signer = signer;
    api_toll_key(secret, server->toll_key);
}

void api_signer_load(struct api_server *server)
{
    uint8_t fresh[API_SIGN_SECRET_LEN];
    enum err err = api_secret_bytes(fresh, sizeof fresh);

    if (!err)
        err = sched_signing_key(server->store, fresh, on_key, server);
    if (err)
        api_log(API_LOG_ERROR, "signing_key", "error=\"%s\"", err_text(err));
    OPENSSL_cleanse(fresh, sizeof fresh);
}

void api_receipt_key(struct api_request *req)
{
    const struct api_signer *signer = req->server->signer;

    if (signer)
        api_reply_json(req, 200,
                       json_pack("{s:s, s:s}", "algorithm", "Ed25519",
                                 "public_key", api_signer_key(signer)));
    else
        api_reply_err(req, ERR_STORE);
}
