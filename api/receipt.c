#include "api/receipt.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/logprobs.h"
#include "splitter/format.h"

enum { SIGNATURE_LEN = 64, SIGNATURE_TEXT = 88, PREFIX_MAX = 32 };

struct api_signer {
    EVP_PKEY *key;
    char text[API_SIGN_KEY_TEXT + 1];
};

enum err api_signer_new(const uint8_t secret[API_SIGN_SECRET_LEN],
                        struct api_signer **out)
{
    struct api_signer *s = calloc(1, sizeof *s);
    uint8_t public[API_SIGN_KEY_LEN];
    size_t len = sizeof public;

    if (s)
        s->key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret,
                                              API_SIGN_SECRET_LEN);
    if (!s || !s->key ||
        EVP_PKEY_get_raw_public_key(s->key, public, &len) != 1) {
        api_signer_free(s);
        return ERR_NOMEM;
    }
    EVP_EncodeBlock((unsigned char *)s->text, public, (int)len);
    *out = s;
    return ERR_OK;
}

void api_signer_free(struct api_signer *signer)
{
    if (!signer)
        return;
    EVP_PKEY_free(signer->key);
    free(signer);
}

const char *api_signer_key(const struct api_signer *signer)
{
    return signer->text;
}

// ---- what is signed ----

// The version's prefix and the canonical text; free it. NULL: no memory.
static char *signed_text(const json_t *receipt, size_t *len)
{
    char prefix[PREFIX_MAX];
    size_t n_prefix = (size_t)snprintf(
        prefix, sizeof prefix, "synapse-receipt-v%d\n",
        (int)json_integer_value(json_object_get(receipt, "version")));
    json_t *copy = json_copy((json_t *)(uintptr_t)receipt);
    char *json = NULL, *out = NULL;

    if (copy) {
        json_object_del(copy, "signature");
        json = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
        json_decref(copy);
    }
    if (json) {
        size_t n = strlen(json);

        *len = n_prefix + n;
        out = malloc(*len + 1);
        if (out) {
            memcpy(out, prefix, n_prefix);
            memcpy(out + n_prefix, json, n + 1);
        }
        free(json);
    }
    return out;
}

// Exactly len bytes from base64. False: it is not that.
static bool base64_read(const char *text, uint8_t *out, size_t len)
{
    size_t n = strlen(text), want = (len + 2) / 3 * 4;
    size_t pad = (3 - len % 3) % 3, body = want - pad;
    uint8_t buf[SIGNATURE_LEN + 2];

    if (n != want || len > SIGNATURE_LEN ||
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "abcdefghijklmnopqrstuvwxyz"
                     "0123456789+/") != body ||
        strspn(text + body, "=") != pad)
        return false;
    if (EVP_DecodeBlock(buf, (const unsigned char *)text, (int)n) !=
        (int)(want / 4 * 3))
        return false;
    memcpy(out, buf, len);
    return true;
}

static bool sign(const struct api_signer *signer, json_t *receipt)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t raw[SIGNATURE_LEN];
    char base64[SIGNATURE_TEXT + 1];
    size_t len = 0, n_raw = sizeof raw;
    char *text = signed_text(receipt, &len);
    bool ok = md && text &&
              EVP_DigestSignInit(md, NULL, NULL, NULL, signer->key) == 1 &&
              EVP_DigestSign(md, raw, &n_raw, (const uint8_t *)text, len) == 1;

    if (ok) {
        EVP_EncodeBlock((unsigned char *)base64, raw, (int)n_raw);
        ok =
            json_object_set_new(receipt, "signature", json_string(base64)) == 0;
    }
    EVP_MD_CTX_free(md);
    free(text);
    return ok;
}

enum err api_receipt_check(const json_t *value)
{
    const char *key = json_string_value(json_object_get(value, "key"));
    const char *sig = json_string_value(json_object_get(value, "signature"));
    json_int_t version = json_integer_value(json_object_get(value, "version"));
    uint8_t raw_key[API_SIGN_KEY_LEN], raw[SIGNATURE_LEN];
    EVP_PKEY *public = NULL;
    EVP_MD_CTX *md = NULL;
    char *text = NULL;
    size_t len = 0;
    enum err err = ERR_NOMEM;

    if (version < 1 || version > API_RECEIPT_VERSION)
        return ERR_VERSION;
    if (!key || !sig || !base64_read(key, raw_key, sizeof raw_key) ||
        !base64_read(sig, raw, sizeof raw))
        return ERR_FORMAT;
    text = signed_text(value, &len);
    md = EVP_MD_CTX_new();
    public = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw_key,
                                         sizeof raw_key);
    if (text && md && public &&
        EVP_DigestVerifyInit(md, NULL, NULL, NULL, public) == 1)
        err = EVP_DigestVerify(md, raw, sizeof raw, (const uint8_t *)text,
                               len) == 1
                  ? ERR_OK
                  : ERR_DENIED;
    EVP_PKEY_free(public);
    EVP_MD_CTX_free(md);
    free(text);
    return err;
}

// ---- making one ----

static json_t *ids_json(const uint8_t *ids, uint32_t n)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(
            list, json_integer(bytes_peek_u32(ids + (size_t)i * 4)));
    return list;
}

static json_t *tokens_json(const struct sched_result *r)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < r->n_tokens; i++)
        json_array_append_new(list, json_integer(r->tokens[i]));
    return list;
}

static json_t *bias_json(const struct sched_proof *p)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < p->n_bias; i++) {
        const uint8_t *at = p->bias + (size_t)i * 8;

        json_array_append_new(
            list, json_pack("[I, I]", (json_int_t)bytes_peek_u32(at),
                            (json_int_t)(int32_t)bytes_peek_u32(at + 4)));
    }
    return list;
}

static json_t *sampling_json(const struct sched_proof *p)
{
    const struct syn1_sampling *s = &p->sampling;
    char seed[24];

    snprintf(seed, sizeof seed, "%" PRIu64, s->seed);
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:o, s:o, s:o}", "inv_temp_q16",
        (json_int_t)s->inv_temp_q16, "top_p_q16", (json_int_t)s->top_p_q16,
        "top_k", (json_int_t)s->top_k, "presence_q16",
        (json_int_t)s->presence_q16, "frequency_q16",
        (json_int_t)s->frequency_q16, "seed", seed, "ignore_end",
        (s->flags & SYN1_IGNORE_END) != 0, "logit_bias", bias_json(p),
        "stop_tokens", ids_json(p->stop, p->n_stop), "logprobs",
        s->flags & SYN1_LOGPROBS ? json_integer(s->n_top) : json_null());
}

static json_t *checks_json(const struct sched_proof *p)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < p->n_checks; i++) {
        const struct sched_check *c = &p->checks[i];
        json_t *span = c->span_end
                           ? json_pack("[i, i]", c->span_first, c->span_end)
                           : NULL;

        json_array_append_new(list, json_pack("{s:s, s:b, s:o*}", "backend",
                                              c->backend, "referee", c->referee,
                                              "span", span));
    }
    return list;
}

static void hex_write(const uint8_t hash[SHA256_LEN],
                      char out[2 * SHA256_LEN + 1])
{
    for (size_t i = 0; i < SHA256_LEN; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

// The hash of the delivered log-probabilities; null: there are none. NULL: no
// memory.
static json_t *logprobs_json(const json_t *logprobs)
{
    char hex[2 * SHA256_LEN + 1];
    uint8_t hash[SHA256_LEN];

    if (!logprobs || json_is_null(logprobs))
        return json_null();
    if (api_logprobs_hash(logprobs, hash))
        return NULL;
    hex_write(hash, hex);
    return json_string(hex);
}

enum err api_receipt_make(const struct api_signer *signer,
                          const struct sched_result *r,
                          const struct api_receipt_of *of, json_t **out)
{
    char hex[2 * SHA256_LEN + 1];
    uint8_t hash[SHA256_LEN];
    json_t *makers = json_array(), *receipt;

    sha256(of->text, of->text_len, hash);
    hex_write(hash, hex);
    for (uint32_t i = 0; i < r->n_makers; i++)
        json_array_append_new(makers, json_string(r->makers[i].backend));
    receipt = json_pack(
        "{s:i, s:s, s:s%, s:s, s:s, s:i, s:s, s:o, s:o, s:o, s:s, s:s, s:o, "
        "s:o, s:o, s:I, s:s}",
        "version", (int)API_RECEIPT_VERSION, "batch", of->batch, "custom_id",
        r->custom_id.ptr ? (const char *)r->custom_id.ptr : "",
        r->custom_id.len, "model", of->model, "model_id", of->model_id,
        "arithmetic", (int)FORMAT_ARITHMETIC, "class",
        r->near ? "f32" : "exact", "prompt_tokens",
        ids_json(r->proof.prompt, r->n_prompt), "tokens", tokens_json(r),
        "sampling", sampling_json(&r->proof), "finish_reason",
        of->finish_reason, "text_sha256", hex, "logprobs_sha256",
        logprobs_json(of->logprobs), "computed_by", makers, "checked_by",
        checks_json(&r->proof), "final_at", (json_int_t)(r->final_ms / 1000),
        "key", api_signer_key(signer));
    if (!receipt || !sign(signer, receipt)) {
        json_decref(receipt);
        return ERR_NOMEM;
    }
    *out = receipt;
    return ERR_OK;
}

// ---- reading one ----

// An integer in min .. max. False: it is none.
static bool number_read(const json_t *v, json_int_t min, json_int_t max,
                        json_int_t *out)
{
    json_int_t n = json_integer_value(v);

    if (!json_is_integer(v) || n < min || n > max)
        return false;
    *out = n;
    return true;
}

static bool hex_read(const char *text, uint8_t out[SHA256_LEN])
{
    static const char digits[] = "0123456789abcdef";

    if (!text || strlen(text) != 2 * SHA256_LEN)
        return false;
    for (size_t i = 0; i < SHA256_LEN; i++) {
        const char *hi = strchr(digits, text[2 * i]);
        const char *lo = strchr(digits, text[2 * i + 1]);

        if (!hi || !lo)
            return false;
        out[i] = (uint8_t)((hi - digits) << 4 | (lo - digits));
    }
    return true;
}

static bool ids_read(const json_t *list, uint32_t *out)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_int_t id;

        if (!number_read(json_array_get(list, i), 0, UINT32_MAX, &id))
            return false;
        out[i] = (uint32_t)id;
    }
    return true;
}

static bool bias_read(const json_t *list, uint8_t *out)
{
    struct bytes_out b = {out, json_array_size(list) * 8, 0, false};

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i);
        json_int_t id, bias;

        if (json_array_size(pair) != 2 ||
            !number_read(json_array_get(pair, 0), 0, UINT32_MAX, &id) ||
            !number_read(json_array_get(pair, 1), INT32_MIN, INT32_MAX, &bias))
            return false;
        bytes_put_u32(&b, (uint32_t)id);
        bytes_put_u32(&b, (uint32_t)(int32_t)bias);
    }
    return true;
}

static bool seed_read(const char *text, uint64_t *out)
{
    uint64_t n = 0;

    if (!text || !*text)
        return false;
    for (; *text; text++) {
        uint64_t digit = (uint64_t)(*text - '0');

        if (*text < '0' || *text > '9' || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

// NULL, or the member that is wrong.
static const char *logprobs_read(const json_t *value, struct api_receipt *r)
{
    const json_t *n_top =
        json_object_get(json_object_get(value, "sampling"), "logprobs");
    const json_t *hash = json_object_get(value, "logprobs_sha256");
    json_int_t n;

    if (json_is_null(n_top))
        return json_is_null(hash) ? NULL : "logprobs_sha256";
    if (!number_read(n_top, 0, SYN1_TOP_MAX, &n))
        return "sampling.logprobs";
    if (!hex_read(json_string_value(hash), r->logprobs_hash))
        return "logprobs_sha256";
    r->sampling.flags |= SYN1_LOGPROBS;
    r->sampling.n_top = (uint8_t)n;
    return NULL;
}

// NULL, or the member that is wrong.
static const char *sampling_read(const json_t *v, struct syn1_sampling *s)
{
    json_int_t inv_temp, top_p, top_k, presence, frequency;
    const json_t *ignore = json_object_get(v, "ignore_end");

    if (!number_read(json_object_get(v, "inv_temp_q16"), 0, UINT32_MAX,
                     &inv_temp))
        return "sampling.inv_temp_q16";
    if (!number_read(json_object_get(v, "top_p_q16"), 1, 65536, &top_p))
        return "sampling.top_p_q16";
    if (!number_read(json_object_get(v, "top_k"), 0, UINT32_MAX, &top_k))
        return "sampling.top_k";
    if (!number_read(json_object_get(v, "presence_q16"), -131072, 131072,
                     &presence))
        return "sampling.presence_q16";
    if (!number_read(json_object_get(v, "frequency_q16"), -131072, 131072,
                     &frequency))
        return "sampling.frequency_q16";
    if (!seed_read(json_string_value(json_object_get(v, "seed")), &s->seed))
        return "sampling.seed";
    if (!json_is_boolean(ignore))
        return "sampling.ignore_end";
    s->inv_temp_q16 = (uint32_t)inv_temp;
    s->top_p_q16 = (uint32_t)top_p;
    s->top_k = (uint32_t)top_k;
    s->presence_q16 = (int32_t)presence;
    s->frequency_q16 = (int32_t)frequency;
    s->flags = json_is_true(ignore) ? SYN1_IGNORE_END : 0;
    return NULL;
}

// The lists, whose sizes are checked first.
static const char *lists_read(const json_t *value, struct api_receipt *r,
                              enum err *err)
{
    const json_t *prompt = json_object_get(value, "prompt_tokens");
    const json_t *tokens = json_object_get(value, "tokens");
    const json_t *sampling = json_object_get(value, "sampling");
    const json_t *bias = json_object_get(sampling, "logit_bias");
    const json_t *stop = json_object_get(sampling, "stop_tokens");
    size_t n_prompt = json_array_size(prompt),
           n_tokens = json_array_size(tokens);
    size_t n_bias = json_array_size(bias), n_stop = json_array_size(stop);
    uint32_t stops[SYN1_STOP_MAX];
    struct bytes_out b;

    *err = ERR_RANGE;
    if (n_prompt < 1 || n_prompt > SYN1_POS_MAX)
        return "prompt_tokens";
    if (!json_is_array(tokens) || n_tokens > SYN1_POS_MAX - n_prompt)
        return "tokens";
    if (!json_is_array(bias) || n_bias > SYN1_BIAS_MAX)
        return "sampling.logit_bias";
    if (!json_is_array(stop) || n_stop > SYN1_STOP_MAX)
        return "sampling.stop_tokens";
    r->ids = malloc((n_prompt + n_tokens) * sizeof *r->ids);
    r->bias = malloc(n_bias * 8 + 1);
    r->stop_bytes = malloc(n_stop * 4 + 1);
    *err = ERR_NOMEM;
    if (!r->ids || !r->bias || !r->stop_bytes)
        return "";
    *err = ERR_FORMAT;
    if (!ids_read(prompt, r->ids))
        return "prompt_tokens";
    if (!ids_read(tokens, r->ids + n_prompt))
        return "tokens";
    if (!bias_read(bias, r->bias))
        return "sampling.logit_bias";
    if (!ids_read(stop, stops))
        return "sampling.stop_tokens";
    b = (struct bytes_out){r->stop_bytes, n_stop * 4, 0, false};
    for (size_t i = 0; i < n_stop; i++)
        bytes_put_u32(&b, stops[i]);
    r->n_prompt = (uint32_t)n_prompt;
    r->n_tokens = (uint32_t)n_tokens;
    r->n_bias = (uint16_t)n_bias;
    r->n_stop = (uint16_t)n_stop;
    *err = ERR_OK;
    return NULL;
}

static const char *texts_read(const json_t *value, struct api_receipt *r)
{
    static const struct {
        const char *name;
        size_t at;
    } texts[] = {
        {"batch", offsetof(struct api_receipt, batch)},
        {"custom_id", offsetof(struct api_receipt, custom_id)},
        {"model", offsetof(struct api_receipt, model)},
        {"key", offsetof(struct api_receipt, key)},
        {"finish_reason", offsetof(struct api_receipt, finish_reason)},
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *text =
            json_string_value(json_object_get(value, texts[i].name));

        if (!text)
            return texts[i].name;
        memcpy((char *)r + texts[i].at, &text, sizeof text);
    }
    return NULL;
}

enum err api_receipt_read(const json_t *value, struct api_receipt *out,
                          const char **why)
{
    struct api_receipt r = {0};
    const json_t *class = json_object_get(value, "class");
    json_int_t version, arithmetic;
    enum err err = ERR_FORMAT;

    *why = "version";
    if (!number_read(json_object_get(value, "version"), 0, UINT32_MAX,
                     &version))
        goto done;
    err = ERR_VERSION;
    if (version < 1 || version > API_RECEIPT_VERSION)
        goto done;
    r.version = (uint32_t)version;
    err = ERR_FORMAT;
    *why = "arithmetic";
    if (!number_read(json_object_get(value, "arithmetic"), 0, UINT32_MAX,
                     &arithmetic))
        goto done;
    r.arithmetic = (uint32_t)arithmetic;
    *why = "class";
    if (!json_is_string(class) ||
        (strcmp(json_string_value(class), "exact") != 0 &&
         strcmp(json_string_value(class), "f32") != 0))
        goto done;
    r.near = strcmp(json_string_value(class), "f32") == 0;
    *why = "model_id";
    if (!hex_read(json_string_value(json_object_get(value, *why)), r.model_id))
        goto done;
    *why = "text_sha256";
    if (!hex_read(json_string_value(json_object_get(value, *why)), r.text_hash))
        goto done;
    *why = texts_read(value, &r);
    if (*why)
        goto done;
    *why = sampling_read(json_object_get(value, "sampling"), &r.sampling);
    if (!*why && version > 1)
        *why = logprobs_read(value, &r);
    if (*why)
        goto done;
    *why = lists_read(value, &r, &err);
    if (*why)
        goto done;
    *out = r;
    r = (struct api_receipt){0}; // now the caller's

done:
    api_receipt_release(&r);
    return err;
}

void api_receipt_release(struct api_receipt *receipt)
{
    free(receipt->ids);
    free(receipt->bias);
    free(receipt->stop_bytes);
    *receipt = (struct api_receipt){0};
}
