#include "api/entry.h"

#include <inttypes.h>
#include <string.h>

#include "api/query.h"
#include "api/reply.h"

enum {
    STATUS_PAY_FIRST = 428, // Precondition Required
    STATUS_TOO_MANY = 429,
};

static struct api_toll_payer payer_of(const struct api_entry *entry)
{
    return (struct api_toll_payer){entry->account, entry->block};
}

void api_entry_read(const struct api_server *server, struct api_fields *f,
                    struct api_entry *entry)
{
    const json_t *value = api_fields_get(f, "proof_of_work");
    struct api_toll_payer payer = payer_of(entry);
    const char *challenge, *nonce_text;
    uint8_t nonce[TOLL_NONCE_LEN];
    struct api_fields proof;
    enum err err;

    entry->proof = API_PROOF_NONE;
    if (f->wrong || !value)
        return;
    api_fields_init(&proof, value);
    challenge = api_fields_text(&proof, "challenge", true, API_TOLL_TEXT, "");
    nonce_text = api_fields_text(&proof, "nonce", true, 2 * TOLL_NONCE_LEN, "");
    if (proof.wrong) {
        char param[API_PARAM_MAX + 1];

        snprintf(param, sizeof param, "proof_of_work%s%.64s",
                 *proof.param ? "." : "", proof.param);
        api_fields_wrong(f, param, "proof_of_work: %s", proof.message);
        return;
    }
    err = api_toll_read(server->toll_key, &payer, challenge, &entry->toll);
    if (err == ERR_FORMAT)
        api_fields_wrong(f, "proof_of_work.challenge",
                         "challenge must be the %d hex digits that a join was "
                         "answered with",
                         API_TOLL_TEXT);
    else if (!api_query_hex(nonce_text, nonce, sizeof nonce))
        api_fields_wrong(f, "proof_of_work.nonce",
                         "nonce must be %d hex digits", 2 * TOLL_NONCE_LEN);
    else if (err)
        entry->proof = API_PROOF_FOREIGN;
    else if (!api_toll_is_paid(challenge, nonce, entry->toll.bits))
        api_fields_wrong(f, "proof_of_work.nonce",
                         "nonce does not solve the challenge: "
                         "SHA-256(SHA-256(challenge) || nonce) must begin with "
                         "%u zero bits",
                         entry->toll.bits);
    else
        entry->proof = API_PROOF_PAID;
}

// ---- the answer to who has to pay ----

struct reason {
    const char *code, *message;
};

static struct reason reason_of(const struct api_entry *entry,
                               const struct sched_entry *why)
{
    if (entry->proof == API_PROOF_FOREIGN)
        return (struct reason){
            "proof_of_work_foreign",
            "that challenge was given to another account or address: solve "
            "this one and join again with it"};
    if (entry->proof == API_PROOF_PAID && why->now_ms >= entry->toll.until_ms)
        return (struct reason){"proof_of_work_expired",
                               "that challenge has expired: solve this one and "
                               "join again with it"};
    if (entry->proof == API_PROOF_PAID)
        return (struct reason){
            "proof_of_work_outgrown",
            "many accounts have come from this address meanwhile: solve this "
            "challenge and join again with it"};
    return (struct reason){
        "proof_of_work_required",
        "this address has opened many accounts lately: solve proof_of_work "
        "and join again with it"};
}

static void ask_toll(struct api_request *req, const struct api_entry *entry,
                     const struct sched_entry *why)
{
    struct api_toll toll = {(uint8_t)why->bits, why->now_ms + API_TOLL_MS};
    struct api_toll_payer payer = payer_of(entry);
    struct reason reason = reason_of(entry, why);
    char challenge[API_TOLL_TEXT + 1];
    enum err err =
        req->server->signer // else the key is not known yet
            ? api_toll_make(req->server->toll_key, &payer, &toll, challenge)
            : ERR_STORE;

    if (err) {
        api_reply_err(req, err);
        return;
    }
    api_reply_json(req, STATUS_PAY_FIRST,
                   json_pack("{s:{s:s, s:s, s:s, s:s}, s:{s:s, s:i, s:I}}",
                             "error", "message", reason.message, "type",
                             "invalid_request_error", "param", "proof_of_work",
                             "code", reason.code, "proof_of_work", "challenge",
                             challenge, "bits", (int)toll.bits, "expires_at",
                             (json_int_t)(toll.until_ms / 1000)));
}

void api_entry_refuse(struct api_request *req, const struct api_entry *entry,
                      const struct sched_entry *why)
{
    if (why->kind == SCHED_ENTRY_TOLL) {
        ask_toll(req, entry, why);
        return;
    }
    req->retry_s = why->retry_ms / 1000 + 1;
    if (why->kind == SCHED_ENTRY_CLOSED)
        api_reply_error(req, STATUS_TOO_MANY, "account", "too_many_accounts",
                        "this address has opened as many accounts as it may "
                        "within an hour: try again in %" PRId64
                        " s, or join with one that it has",
                        req->retry_s);
    else
        api_reply_error(req, STATUS_TOO_MANY, "account", "too_many_volunteers",
                        "this account has as many volunteers as it may until "
                        "its work has proven right: try again in %" PRId64 " s",
                        req->retry_s);
}
