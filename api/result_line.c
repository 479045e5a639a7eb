#include "api/result_line.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/batch_line.h"
#include "api/logprobs.h"
#include "tokenizer/tokenizer.h"

static const char *find(const char *hay, size_t n_hay, const char *needle,
                        size_t n_needle)
{
    for (size_t i = 0; i + n_needle <= n_hay; i++) {
        if (hay[i] == needle[0] && memcmp(hay + i, needle, n_needle) == 0)
            return hay + i;
    }
    return NULL;
}

size_t api_result_stop(const json_t *stops, const char *text, size_t len)
{
    size_t first = len;

    for (size_t i = 0; i < json_array_size(stops); i++) {
        const json_t *s = json_array_get(stops, i);
        const char *at =
            find(text, first, json_string_value(s), json_string_length(s));

        // Another may begin earlier though it ends later.
        if (!at)
            at = find(text, len, json_string_value(s), json_string_length(s));
        if (at && (size_t)(at - text) < first)
            first = (size_t)(at - text);
    }
    return first;
}

struct sched_cut api_result_cut(const struct sched_cut_ask *ask, void *ctx)
{
    const struct api_models *models = ctx;
    const struct api_model *model = api_models_find(models, ask->model);
    struct sched_cut cut = {.keep = ask->n_new};
    struct tokenizer_stream stream;
    struct text text = {0};
    json_t *stops = json_loadb((const char *)ask->stops, ask->stops_len,
                               JSON_ALLOW_NUL, NULL);

    if (!model || !stops)
        goto done;
    tokenizer_stream_init(&stream, model->tokenizer, TOKENIZER_SKIP_SPECIAL);
    for (uint32_t i = 0; i < ask->n_tokens; i++) {
        if (tokenizer_stream_put(&stream, ask->tokens[i], &text))
            goto done; // no memory: the text goes on, and is cut later
        if (i < ask->n_tokens - ask->n_new)
            continue;
        if (api_result_stop(stops, text.ptr, text.len) < text.len) {
            cut.keep = i - (ask->n_tokens - ask->n_new) + 1;
            cut.stopped = true;
            break;
        }
    }

done:
    text_release(&text);
    json_decref(stops);
    return cut;
}

// What was generated, as text, up to a stop string.
static enum err text_of(const struct api_model *model,
                        const struct sched_result *r, struct text *out,
                        bool *stopped)
{
    json_t *stops;
    enum err err;

    err = tokenizer_decode_text(model->tokenizer, r->tokens, r->n_tokens,
                                TOKENIZER_SKIP_SPECIAL, out);
    if (err || r->stops.len == 0)
        return err;
    stops = json_loadb((const char *)r->stops.ptr, r->stops.len, JSON_ALLOW_NUL,
                       NULL);
    if (stops) {
        size_t end = api_result_stop(stops, out->ptr, out->len);

        *stopped = end < out->len;
        out->len = end;
    }
    json_decref(stops);
    return ERR_OK;
}

static json_t *synapse_json(const struct sched_result *r)
{
    bool greedy = r->blob.len == 1 && (r->blob.ptr[0] & API_BLOB_GREEDY);
    json_t *makers = json_array(), *tokens = json_array();

    for (uint32_t i = 0; i < r->n_makers; i++) {
        const struct sched_maker *m = &r->makers[i];

        json_array_append_new(makers,
                              json_pack("{s:s, s:s, s:s}", "name", m->name,
                                        "backend", m->backend, "kernel_class",
                                        m->kernel_class ? "f32" : "exact"));
    }
    for (uint32_t i = 0; i < r->n_tokens; i++)
        json_array_append_new(tokens, json_integer(r->tokens[i]));
    // None of its own: later checks of its makers cover it.
    json_t *checker = r->checker.name[0] || r->checker.backend[0]
                          ? json_pack("{s:s, s:s}", "name", r->checker.name,
                                      "backend", r->checker.backend)
                          : json_null();
    return json_pack(
        "{s:b, s:b, s:o, s:o, s:o, s:o}", "confirmed", 1, "exact", !r->near,
        "seed",
        greedy && !r->seed_given ? json_null()
                                 : json_integer((json_int_t)r->seed),
        "computed_by", makers, "checked_by", checker, "tokens", tokens);
}

static json_t *body_json(const struct api_model *model, const char *id,
                         const struct sched_result *r, const struct text *text,
                         bool stopped, json_t *logprobs)
{
    const char *finish =
        stopped || r->finish == SCHED_FINISH_STOP ? "stop" : "length";

    return json_pack(
        "{s:s+, s:s, s:I, s:s, s:[{s:i, s:s%, s:s, s:o}], s:{s:I, s:I, s:I}, "
        "s:o}",
        "id", "cmpl-", id, "object", "text_completion", "created",
        (json_int_t)(r->final_ms / 1000), "model", model->manifest.name,
        "choices", "index", 0, "text", text->ptr ? text->ptr : "", text->len,
        "finish_reason", finish, "logprobs", logprobs, "usage", "prompt_tokens",
        (json_int_t)r->n_prompt, "completion_tokens", (json_int_t)r->n_tokens,
        "total_tokens", (json_int_t)r->n_prompt + (json_int_t)r->n_tokens,
        "synapse", synapse_json(r));
}

static json_t *chat_json(const struct api_model *model, const char *id,
                         const struct sched_result *r, const struct text *text,
                         bool stopped, json_t *logprobs)
{
    const char *finish =
        stopped || r->finish == SCHED_FINISH_STOP ? "stop" : "length";

    return json_pack(
        "{s:s+, s:s, s:I, s:s, s:[{s:i, s:{s:s, s:s%, s:n}, s:s, s:o}], "
        "s:{s:I, s:I, s:I}, s:o}",
        "id", "chatcmpl-", id, "object", "chat.completion", "created",
        (json_int_t)(r->final_ms / 1000), "model", model->manifest.name,
        "choices", "index", 0, "message", "role", "assistant", "content",
        text->ptr ? text->ptr : "", text->len, "refusal", "finish_reason",
        finish, "logprobs", logprobs, "usage", "prompt_tokens",
        (json_int_t)r->n_prompt, "completion_tokens", (json_int_t)r->n_tokens,
        "total_tokens", (json_int_t)r->n_prompt + (json_int_t)r->n_tokens,
        "synapse", synapse_json(r));
}

// The log-probabilities of the tokens that text is made of; null: not wanted.
static enum err logprobs_json(const struct api_model *model,
                              const struct sched_result *r, bool chat,
                              const struct text *text, json_t **out)
{
    struct api_logprobs p;
    enum err err;

    if (r->logprobs.len == 0) {
        *out = json_null();
        return ERR_OK;
    }
    err = api_logprobs_init(&p, model->tokenizer, r->tokens, r->n_tokens,
                            r->logprobs);
    if (!err) {
        *out =
            api_logprobs_json(&p, 0, api_logprobs_within(&p, text->len), chat);
        err = *out ? ERR_OK : ERR_NOMEM;
    }
    api_logprobs_release(&p);
    return err;
}

static json_t *line_json(const char *id, const struct sched_result *r,
                         json_t *body)
{
    json_t *error;

    if (r->error.len > 0) {
        error = json_loadb((const char *)r->error.ptr, r->error.len, 0, NULL);
        return json_pack("{s:s+, s:s%, s:n, s:o}", "id", "batch_req_", id,
                         "custom_id", r->custom_id.ptr, r->custom_id.len,
                         "response", "error", error ? error : json_null());
    }
    return json_pack("{s:s+, s:s%, s:{s:i, s:s+, s:o}, s:n}", "id",
                     "batch_req_", id, "custom_id", r->custom_id.ptr,
                     r->custom_id.len, "response", "status_code", 200,
                     "request_id", "req_", id, "body", body, "error");
}

enum err api_result_body(const struct api_models *models, const char *id,
                         const struct sched_result *r, json_t **out)
{
    const struct api_model *model = api_models_find(models, r->model);
    struct text text = {0};
    bool stopped = false;
    bool chat = r->blob.len == 1 && (r->blob.ptr[0] & API_BLOB_CHAT);
    json_t *probs = NULL;
    enum err err;

    if (!model)
        return ERR_NOT_FOUND;
    err = text_of(model, r, &text, &stopped);
    if (!err)
        err = logprobs_json(model, r, chat, &text, &probs);
    if (!err) {
        if (chat)
            *out = chat_json(model, id, r, &text, stopped, probs);
        else
            *out = body_json(model, id, r, &text, stopped, probs);
        err = *out ? ERR_OK : ERR_NOMEM;
    }
    text_release(&text);
    return err;
}

enum err api_result_merge(json_t *const *bodies, size_t n)
{
    json_t *choices = json_object_get(bodies[0], "choices"), *usage;
    json_int_t n_prompt = 0, n_tokens = 0;

    for (size_t i = 0; i < n; i++) {
        json_t *choice =
            json_array_get(json_object_get(bodies[i], "choices"), 0);

        if (!choice)
            return ERR_FORMAT;
        usage = json_object_get(bodies[i], "usage");
        n_prompt = json_integer_value(json_object_get(usage, "prompt_tokens"));
        n_tokens +=
            json_integer_value(json_object_get(usage, "completion_tokens"));
        if (i > 0 && (json_object_set_new(choice, "index",
                                          json_integer((json_int_t)i)) ||
                      json_object_set(choice, "synapse",
                                      json_object_get(bodies[i], "synapse")) ||
                      json_array_append(choices, choice)))
            return ERR_NOMEM;
    }
    usage = json_pack("{s:I, s:I, s:I}", "prompt_tokens", n_prompt,
                      "completion_tokens", n_tokens, "total_tokens",
                      n_prompt + n_tokens);
    return json_object_set_new(bodies[0], "usage", usage) ? ERR_NOMEM : ERR_OK;
}

// The receipt of a result with that body, of one choice.
static enum err receipt_make(const struct api_models *models,
                             const struct api_signer *signer, const char *batch,
                             const struct sched_result *r, const json_t *body,
                             json_t **out)
{
    const struct api_model *model = api_models_find(models, r->model);
    const json_t *choice = json_array_get(json_object_get(body, "choices"), 0);
    const json_t *text = json_object_get(choice, "text");
    struct api_receipt_of of = {.batch = batch,
                                .model = model->manifest.name,
                                .model_id = model->id_hex};

    if (!signer)
        return ERR_STORE;
    if (!text)
        text = json_object_get(json_object_get(choice, "message"), "content");
    of.finish_reason =
        json_string_value(json_object_get(choice, "finish_reason"));
    of.text = json_string_value(text);
    of.text_len = json_string_length(text);
    of.logprobs = json_object_get(choice, "logprobs");
    return api_receipt_make(signer, r, &of, out);
}

// The body of all choices of a result, with their receipts.
static enum err bodies_make(const struct api_models *models,
                            const struct api_signer *signer, const char *batch,
                            const char *id, const struct sched_result *r,
                            json_t **out)
{
    const struct sched_result *choices = r->n_choices ? r->choices : r;
    size_t n = r->n_choices ? r->n_choices : 1;
    json_t *bodies[SCHED_CHOICES_MAX] = {0};
    json_t *receipts = r->has_proof ? json_array() : NULL, *told;
    enum err err = n > SCHED_CHOICES_MAX ? ERR_FORMAT : ERR_OK;

    for (size_t i = 0; !err && i < n; i++) {
        json_t *receipt = NULL;

        err = api_result_body(models, id, &choices[i], &bodies[i]);
        if (!err && receipts)
            err = receipt_make(models, signer, batch, &choices[i], bodies[i],
                               &receipt);
        if (!err && receipts && json_array_append_new(receipts, receipt))
            err = ERR_NOMEM;
    }
    if (!err && n > 1)
        err = api_result_merge(bodies, n);
    told = json_object_get(bodies[0], "synapse");
    if (!err && receipts &&
        (n > 1 ? json_object_set(told, "receipts", receipts)
               : json_object_set(told, "receipt", json_array_get(receipts, 0))))
        err = ERR_NOMEM;
    if (!err)
        *out = json_incref(bodies[0]);
    json_decref(receipts);
    for (size_t i = 0; i < SCHED_CHOICES_MAX; i++)
        json_decref(bodies[i]);
    return err;
}

enum err api_result_line(const struct api_models *models,
                         const struct api_signer *signer, const char *batch,
                         const struct sched_result *r, char **out)
{
    json_t *body = NULL, *line;
    char id[SCHED_ID_MAX + 32];
    enum err err = ERR_OK;

    // One line, one id, however often it is told.
    snprintf(id, sizeof id, "%s_%" PRIu64,
             strncmp(batch, "batch_", 6) == 0 ? batch + 6 : batch, r->number);
    if (r->error.len == 0)
        err = bodies_make(models, signer, batch, id, r, &body);
    if (err)
        return err;
    line = line_json(id, r, body);
    *out = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    return *out ? ERR_OK : ERR_NOMEM;
}
