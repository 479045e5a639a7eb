#include "api/volunteers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/entry.h"
#include "api/fields.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/secret.h"
#include "api/server.h"

enum {
    NAME_CHARS_MAX = 40,
    ACCOUNT_LEN = 32,
    WAIT_MS = 20000, // how long a volunteer should let itself be held
};

bool api_volunteer_who(struct api_request *req, struct sched_who *out)
{
    const char *token = api_request_bearer(req);
    size_t len = strlen(req->args[0]);

    if (!token || len > SCHED_ID_MAX ||
        strspn(req->args[0], "abcdefghijklmnopqrstuvwxyz0123456789_") != len) {
        api_volunteer_refuse(req, ERR_DENIED);
        return false;
    }
    out->id = req->args[0];
    api_secret_hash(token, out->token_hash);
    return true;
}

void api_volunteer_refuse(struct api_request *req, enum err err)
{
    if (err == ERR_DENIED)
        api_reply_error(req, 401, NULL, "unknown_volunteer",
                        "no such volunteer, or a wrong token: join again by "
                        "POST /v1/volunteers");
    else
        api_reply_err(req, err);
}

static void on_done(enum err err, void *ctx)
{
    if (err)
        api_volunteer_refuse(ctx, err);
    else
        api_reply_nothing(ctx);
}

// ---- joining ----

struct join {
    char id[API_ID_MAX + 1];
    char token[API_TOKEN_LEN + 1];
    char *name;
    struct api_entry entry;
};

static void join_free(void *ctx)
{
    struct join *join = ctx;

    free(join->name);
    free(join);
}

static json_t *models_json(const struct api_models *models)
{
    json_t *list = json_array();

    for (size_t i = 0; i < models->n; i++) {
        const struct api_model *m = &models->items[i];
        json_t *shards = json_array();

        for (uint32_t k = 0; k < m->manifest.n_shards; k++) {
            const struct manifest_file *f = &m->manifest.shards[k].file;
            char hash[2 * SHA256_LEN + 1];

            api_query_hex_put(f->sha256, SHA256_LEN, hash);
            json_array_append_new(
                shards, json_pack("{s:I, s:s, s:I, s:s}", "index",
                                  (json_int_t)k, "file", f->name, "bytes",
                                  (json_int_t)f->n_bytes, "sha256", hash));
        }
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:I, s:I, s:o}", "id", m->id_hex, "name",
                      m->manifest.name, "bytes", (json_int_t)m->n_bytes,
                      "context", (json_int_t)m->manifest.arch.n_ctx, "shards",
                      shards));
    }
    return list;
}

static void on_joined(enum err err, const struct sched_entry *entry, void *ctx)
{
    struct api_request *req = ctx;
    const struct join *join = req->ctx;
    char account[2 * SHA256_LEN + 1];

    if (err) {
        api_reply_err(req, err);
        return;
    }
    if (entry->kind != SCHED_ENTERED) {
        api_entry_refuse(req, &join->entry, entry);
        return;
    }
    api_query_hex_put(join->entry.account, SHA256_LEN, account);
    api_reply_json(req, 201,
                   json_pack("{s:s, s:s, s:s, s:s, s:o, s:i, s:i}", "id",
                             join->id, "token", join->token, "account_id",
                             account, "name", join->name, "models",
                             models_json(&req->server->models), "wait_ms",
                             WAIT_MS, "progress_ms",
                             (int)req->server->options.progress_ms));
}

// Is this the operator? Without the header: not a referee, no mistake.
static void referee_check(struct api_request *req, struct api_fields *f,
                          struct sched_joiner *joiner)
{
    const char *key = api_request_header(req, "X-Synapse-Operator");

    joiner->referee = api_fields_bool(f, "referee", false);
    if (joiner->referee &&
        (!key || !api_secret_equal(key, req->server->operator_key)))
        api_fields_wrong(f, "referee",
                         "only the operator's volunteers, who "
                         "send X-Synapse-Operator, may be "
                         "referees");
}

static void joiner_read(struct api_request *req, struct api_fields *f,
                        struct sched_joiner *j)
{
    uint8_t account[ACCOUNT_LEN];
    const char *text = api_fields_text(f, "account", true, 256, "");

    if (!f->wrong && !api_query_hex(text, account, sizeof account))
        api_fields_wrong(f, "account",
                         "account must be 64 hex digits: 32 "
                         "random bytes that you keep");
    else if (!f->wrong)
        sha256(account, sizeof account, j->account);
    j->name = api_fields_text(f, "name", false, SCHED_NAME_MAX, "");
    if (api_query_name_len(j->name) < 0 ||
        api_query_name_len(j->name) > NAME_CHARS_MAX)
        api_fields_wrong(f, "name",
                         "name must be at most %d characters, without control "
                         "characters",
                         NAME_CHARS_MAX);
    j->backend = api_fields_text(f, "backend", true, 32, "");
    if (!f->wrong &&
        (!*j->backend ||
         strspn(j->backend, "abcdefghijklmnopqrstuvwxyz0123456789-_.") !=
             strlen(j->backend)))
        api_fields_wrong(f, "backend",
                         "backend must be lower-case letters, "
                         "digits and dashes, such as wasm-simd");
    text = api_fields_text(f, "kernel_class", true, 32, "");
    if (!f->wrong && strcmp(text, "exact") != 0 && strcmp(text, "f32") != 0)
        api_fields_wrong(f, "kernel_class",
                         "kernel_class must be \"exact\" or \"f32\"");
    j->kernel_class = strcmp(text, "f32") == 0;
    j->memory =
        (uint64_t)api_fields_int(f, "memory", true, 0, INT64_C(1) << 52, 0);
    j->threads = (uint32_t)api_fields_int(f, "threads", true, 1, 4096, 1);
    referee_check(req, f, j);
}

// Its address block, "" in a place that volunteers may share.
static void block_of(struct api_request *req, char out[API_BLOCK_TEXT_MAX])
{
    const struct api_options *opt = &req->server->options;
    struct api_address address;

    api_request_address(req, &address);
    api_address_block(&address, out);
    for (size_t i = 0; i < opt->n_same_place; i++)
        if (api_cidr_has(&opt->same_place[i], &address))
            *out = '\0';
}

void api_volunteer_join(struct api_request *req)
{
    struct sched_joiner joiner = {0};
    struct api_entry entry = {0};
    struct api_fields f;
    struct join *join;
    json_t *body = api_request_json(req);
    enum err err;

    if (!body)
        return;
    api_fields_init(&f, body);
    joiner_read(req, &f, &joiner);
    memcpy(entry.account, joiner.account, SHA256_LEN);
    block_of(req, entry.block);
    api_entry_read(req->server, &f, &entry);
    if (f.wrong) {
        api_reply_error(req, strcmp(f.param, "referee") ? 400 : 403, f.param,
                        "invalid_field", "%s", f.message);
        goto done;
    }
    join = calloc(1, sizeof *join);
    if (!join) {
        api_reply_err(req, ERR_NOMEM);
        goto done;
    }
    req->ctx = join;
    req->ctx_free = join_free;
    join->name = strdup(joiner.name);
    join->entry = entry;
    err = join->name ? api_secret_id("vol_", join->id) : ERR_NOMEM;
    if (!err)
        err = api_secret_token(join->token);
    if (!err) {
        joiner.who.id = join->id;
        api_secret_hash(join->token, joiner.who.token_hash);
        joiner.block = entry.block;
        if (entry.proof == API_PROOF_PAID) {
            joiner.paid_bits = entry.toll.bits;
            joiner.paid_until_ms = entry.toll.until_ms;
        }
        err = sched_volunteer_join(req->server->store, &joiner, on_joined, req);
    }
    if (err)
        api_reply_err(req, err);

done:
    json_decref(body);
}

// ---- signs of life ----

void api_volunteer_progress(struct api_request *req)
{
    uint8_t units[SYN1_HELD_MAX * SYN1_ID_LEN];
    struct sched_who who;
    struct api_fields f;
    const json_t *list;
    json_t *body;
    size_t n = 0;
    uint32_t tokens;
    enum err err;

    if (!api_volunteer_who(req, &who))
        return;
    body = api_request_json(req);
    if (!body)
        return;
    api_fields_init(&f, body);
    tokens = (uint32_t)api_fields_int(&f, "tokens", false, 0, 100000000, 0);
    list = api_fields_get(&f, "units");
    if (!f.wrong &&
        (!json_is_array(list) || json_array_size(list) > SYN1_HELD_MAX))
        api_fields_wrong(&f, "units",
                         "units must be a list of at most %d unit "
                         "ids",
                         SYN1_HELD_MAX);
    for (size_t i = 0; !f.wrong && i < json_array_size(list); i++, n++) {
        const char *id = json_string_value(json_array_get(list, i));

        if (!id || !api_query_hex(id, units + n * SYN1_ID_LEN, SYN1_ID_LEN))
            api_fields_wrong(&f, "units", "units[%zu] must be 32 hex digits",
                             i);
    }
    if (f.wrong) {
        api_reply_error(req, 400, f.param, "invalid_field", "%s", f.message);
    } else {
        err = sched_volunteer_progress(req->server->store, &who, units, n,
                                       tokens, on_done, req);
        if (err)
            api_volunteer_refuse(req, err);
    }
    json_decref(body);
}

void api_volunteer_leave(struct api_request *req)
{
    struct sched_who who;
    enum err err;

    if (!api_volunteer_who(req, &who))
        return;
    err = sched_volunteer_leave(req->server->store, &who, on_done, req);
    if (err)
        api_volunteer_refuse(req, err);
}
