#include "api/batch_line.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/chat.h"
#include "api/fields.h"
#include "api/query.h"
#include "api/secret.h"
#include "base/sampling.h"
#include "tokenizer/tokenizer.h"

static const char *const known_text[] = {"model",
                                         "prompt",
                                         "max_tokens",
                                         "temperature",
                                         "top_p",
                                         "top_k",
                                         "seed",
                                         "stop",
                                         "presence_penalty",
                                         "user",
                                         "frequency_penalty",
                                         "logit_bias",
                                         "ignore_eos",
                                         "n",
                                         "best_of",
                                         "echo",
                                         "stream",
                                         "logprobs",
                                         "suffix",
                                         "stream_options",
                                         "custom_id",
                                         NULL};

static const char *const known_chat[] = {"model",
                                         "messages",
                                         "max_tokens",
                                         "max_completion_tokens",
                                         "temperature",
                                         "top_p",
                                         "top_k",
                                         "seed",
                                         "stop",
                                         "presence_penalty",
                                         "frequency_penalty",
                                         "logit_bias",
                                         "ignore_eos",
                                         "user",
                                         "n",
                                         "stream",
                                         "stream_options",
                                         "logprobs",
                                         "top_logprobs",
                                         "tools",
                                         "tool_choice",
                                         "response_format",
                                         "custom_id",
                                         NULL};

static struct bytes bytes_of(const void *ptr, size_t len)
{
    return (struct bytes){ptr, len};
}

// Turn the line into an error line.
static enum err error_set(struct api_batch_line *out, uint64_t number,
                          const char *code, const char *param,
                          const char *message)
{
    char field[API_PARAM_MAX + 32];
    json_t *error;

    if (out->plain)
        snprintf(field, sizeof field, "%s", *param ? param : "body");
    else
        snprintf(field, sizeof field, "requests[%" PRIu64 "]%s%s", number,
                 *param ? "." : "", param);
    error = json_pack("{s:s, s:s, s:s}", "code", code, "message", message,
                      "param", field);
    if (!error) // the name of an unknown field may be cut inside a character
        error = json_pack("{s:s, s:s, s:s}", "code", code, "message",
                          "the request is malformed", "param", "requests");
    out->error = error ? json_dumps(error, JSON_COMPACT) : NULL;
    json_decref(error);
    if (!out->error)
        return ERR_NOMEM;
    out->line.error = bytes_of(out->error, strlen(out->error));
    return ERR_OK;
}

static void line_begin(struct api_batch_line *out, uint64_t number)
{
    int n;

    memset(out, 0, sizeof *out);
    out->line.number = number;
    n = snprintf(out->custom_id, sizeof out->custom_id, "request-%" PRIu64,
                 number + 1);
    out->line.custom_id = bytes_of(out->custom_id, (size_t)n);
}

enum err api_batch_line_too_long(uint64_t number, struct api_batch_line *out)
{
    char text[64];

    line_begin(out, number);
    snprintf(text, sizeof text, "the request is over %d bytes long",
             API_LINE_LEN_MAX);
    return error_set(out, number, "request_too_large", "", text);
}

// What other servers take and this one does not: only its neutral value.
static void unsupported(struct api_fields *f, const char *name, int64_t neutral)
{
    const json_t *v = api_fields_get(f, name);

    if (v && !json_is_false(v) &&
        !(json_is_integer(v) && json_integer_value(v) == neutral))
        api_fields_wrong(f, name, "%s is not supported here: leave it out",
                         name);
}

static void unsupported_read(struct api_fields *f, bool chat)
{
    static const char *const text[] = {"echo", "stream", "suffix",
                                       "stream_options", NULL};
    static const char *const messages[] = {"stream", "stream_options", "tools",
                                           "tool_choice", NULL};
    const json_t *format = api_fields_get(f, "response_format");
    const char *type = json_string_value(json_object_get(format, "type"));

    unsupported(f, "best_of", 1);
    for (size_t i = 0; (chat ? messages : text)[i]; i++)
        unsupported(f, (chat ? messages : text)[i], INT64_MIN);
    if (format && (!type || strcmp(type, "text") != 0))
        api_fields_wrong(f, "response_format",
                         "response_format may only be text here");
}

static void custom_id_read(struct api_fields *f, struct api_batch_line *out)
{
    const char *id =
        api_fields_text(f, "custom_id", false, SCHED_CUSTOM_ID_MAX, NULL);

    if (!id)
        return;
    if (!*id) {
        api_fields_wrong(f, "custom_id", "custom_id must not be empty");
        return;
    }
    snprintf(out->custom_id, sizeof out->custom_id, "%s", id);
    out->line.custom_id = bytes_of(out->custom_id, strlen(out->custom_id));
}

// "stop" as one string or a list of up to four; kept as a JSON list.
static enum err stop_read(struct api_fields *f, struct api_batch_line *out)
{
    const json_t *v = api_fields_get(f, "stop");
    json_t *list = NULL;
    enum err err = ERR_OK;

    if (!v || (json_is_array(v) && json_array_size(v) == 0))
        return ERR_OK;
    list = json_array();
    if (json_is_string(v))
        json_array_append(list, (json_t *)(uintptr_t)v);
    else if (json_is_array(v) && json_array_size(v) <= SCHED_STOPS_MAX)
        json_array_extend(list, (json_t *)(uintptr_t)v);
    else
        api_fields_wrong(f, "stop",
                         "stop must be a string or a list of up to "
                         "%d strings",
                         SCHED_STOPS_MAX);
    for (size_t i = 0; !f->wrong && i < json_array_size(list); i++) {
        const json_t *s = json_array_get(list, i);

        if (!json_is_string(s) || json_string_length(s) == 0 ||
            json_string_length(s) > API_STOP_LEN_MAX)
            api_fields_wrong(f, "stop",
                             "stop[%zu] must be a string of 1 to %d bytes", i,
                             API_STOP_LEN_MAX);
    }
    if (!f->wrong) {
        out->stops = json_dumps(list, JSON_COMPACT);
        if (out->stops)
            out->line.stops = bytes_of(out->stops, strlen(out->stops));
        else
            err = ERR_NOMEM;
    }
    json_decref(list);
    return err;
}

static int32_t q16(double x)
{
    return (int32_t)lround(x * 65536);
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

// {"token id": bias, ...}
static void bias_read(struct api_fields *f, const struct api_model *model,
                      struct api_batch_line *out)
{
    const json_t *v = api_fields_get(f, "logit_bias");
    const char *key;
    json_t *item;
    size_t n = 0;

    if (v && (!json_is_object(v) || json_object_size(v) > API_BIAS_MAX)) {
        api_fields_wrong(f, "logit_bias",
                         "logit_bias must be an object of up to %d token ids",
                         API_BIAS_MAX);
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        uint64_t id;
        double x = json_number_value(item);

        if (!api_query_number(key, &id) || id >= model->manifest.arch.n_vocab ||
            !json_is_number(item) || !(x >= -100 && x <= 100)) {
            api_fields_wrong(f, "logit_bias",
                             "logit_bias takes token ids of the model with "
                             "numbers between -100 and 100");
            return;
        }
        put_u32(out->bias + n * 8, (uint32_t)id);
        put_u32(out->bias + n * 8 + 4, (uint32_t)q16(x));
        n++;
    }
    out->line.n_bias = (uint16_t)n;
    out->line.bias = out->bias;
}

// A completion's "logprobs" is how many alternatives to tell; a chat has
// "logprobs" for whether, and "top_logprobs" for how many.
static void logprobs_read(struct api_fields *f, bool chat,
                          struct syn1_sampling *s)
{
    const char *name = chat ? "top_logprobs" : "logprobs";
    bool wanted = chat ? api_fields_bool(f, "logprobs", false)
                       : api_fields_get(f, name) != NULL;

    s->n_top = (uint8_t)api_fields_int(f, name, false, 0, SYN1_TOP_MAX, 0);
    if (wanted)
        s->flags |= SYN1_LOGPROBS;
    else if (api_fields_get(f, name))
        api_fields_wrong(f, name, "%s needs \"logprobs\": true", name);
}

// Seeds that we draw, and those of further choices, have 53 bits, so that every
// JSON reader can repeat them.
static enum err seed_read(struct api_fields *f, struct api_batch_line *out)
{
    uint64_t seed;
    enum err err;

    if (api_fields_get(f, "seed")) {
        out->line.sampling.seed =
            (uint64_t)api_fields_int(f, "seed", false, INT64_MIN, INT64_MAX, 0);
        out->line.seed_given = true;
        return ERR_OK;
    }
    err = api_secret_bytes(&seed, sizeof seed);
    if (!err)
        out->line.sampling.seed =
            seed % ((UINT64_C(1) << 53) - SCHED_CHOICES_MAX);
    return err;
}

static enum err sampling_read(struct api_fields *f,
                              const struct api_model *model, bool chat,
                              struct api_batch_line *out)
{
    struct syn1_sampling *s = &out->line.sampling;
    double temperature = api_fields_real(f, "temperature", 0, 2, 1);
    double top_p = api_fields_real(f, "top_p", 0, 1, 1);
    enum err err;

    s->top_k =
        (uint32_t)api_fields_int(f, "top_k", false, 0, ARCH_VOCAB_MAX, 0);
    s->presence_q16 = q16(api_fields_real(f, "presence_penalty", -2, 2, 0));
    s->frequency_q16 = q16(api_fields_real(f, "frequency_penalty", -2, 2, 0));
    if (api_fields_bool(f, "ignore_eos", false))
        s->flags |= SYN1_IGNORE_END;
    if (!f->wrong && sampling_from_floats(temperature, top_p, &s->inv_temp_q16,
                                          &s->top_p_q16))
        api_fields_wrong(f, "top_p", "top_p must be above 0 and at most 1");
    if (s->inv_temp_q16 == 0)
        out->blob |= API_BLOB_GREEDY;
    out->line.blob = bytes_of(&out->blob, 1);
    bias_read(f, model, out);
    logprobs_read(f, chat, s);
    err = seed_read(f, out);
    return err ? err : stop_read(f, out);
}

// The prompt of a chat; with it comes the token that ends the answer.
static enum err messages_read(struct api_fields *f,
                              const struct api_model *model,
                              struct api_batch_line *out)
{
    bool has_end = false;
    enum err err =
        api_chat_encode(f, model, &out->prompt, &out->stop, &has_end);

    if (has_end) {
        out->line.n_stop = 1;
        out->line.stop = &out->stop;
    }
    out->blob |= API_BLOB_CHAT;
    return err;
}

static enum err text_read(struct api_fields *f, const struct api_model *model,
                          struct api_batch_line *out)
{
    const json_t *v = api_fields_get(f, "prompt");
    enum err err;

    if (f->wrong)
        return ERR_OK;
    if (!json_is_string(v)) {
        api_fields_wrong(f, "prompt",
                         v ? "prompt must be a string" : "prompt is missing");
        return ERR_OK;
    }
    err = tokenizer_encode(model->tokenizer, json_string_value(v),
                           json_string_length(v), TOKENIZER_ADD_SPECIAL,
                           &out->prompt);
    if (err == ERR_RANGE || err == ERR_FULL) {
        api_fields_wrong(f, "prompt", "prompt cannot be tokenised: %s",
                         err_text(err));
        return ERR_OK;
    }
    return err;
}

static enum err prompt_read(struct api_fields *f, const struct api_model *model,
                            bool chat, struct api_batch_line *out)
{
    const char *name = chat ? "messages" : "prompt";
    uint32_t context = model->manifest.arch.n_ctx;
    enum err err =
        chat ? messages_read(f, model, out) : text_read(f, model, out);

    if (!err && out->prompt.len == 0)
        api_fields_wrong(f, name, "%s must not be empty", name);
    if (!err && out->prompt.len >= context)
        api_fields_wrong(f, name,
                         "%s has %zu tokens, and model %s takes at most "
                         "%u with at least one to answer: shorten it",
                         name, out->prompt.len, model->manifest.name,
                         context - 1);
    out->line.prompt = out->prompt.ptr;
    out->line.n_prompt = (uint32_t)out->prompt.len;
    return err;
}

// The model of a request; NULL after a mistake.
static const struct api_model *model_read(struct api_fields *f,
                                          const struct api_line_rules *rules)
{
    const struct api_models *models = rules->models;
    const struct api_model *one = rules->model     ? rules->model
                                  : models->n == 1 ? &models->items[0]
                                                   : NULL;
    const char *name =
        api_fields_text(f, "model", !one, 256, one ? one->manifest.name : "");
    const struct api_model *m = api_models_find(models, name);
    char list[160];

    if (f->wrong)
        return NULL;
    api_models_names(models, list, sizeof list);
    if (!m)
        api_fields_wrong(f, "model",
                         "this server has no model %.64s; it has %s", name,
                         list);
    else if (rules->model && m != rules->model)
        api_fields_wrong(f, "model",
                         "the batch is for model %s, this "
                         "request for another",
                         rules->model->manifest.name);
    return f->wrong ? NULL : m;
}

static uint32_t max_tokens_read(struct api_fields *f, bool chat,
                                const struct api_model *model)
{
    // A chat answer may be as long as the context; a completion is short.
    int64_t usual = chat ? model->manifest.arch.n_ctx : 16;
    const char *name = chat && api_fields_get(f, "max_completion_tokens")
                           ? "max_completion_tokens"
                           : "max_tokens";

    return (uint32_t)api_fields_int(f, name, false, 1, SYN1_POS_MAX, usual);
}

static enum err request_read(struct api_fields *f,
                             const struct api_line_rules *rules,
                             struct api_batch_line *out)
{
    const struct api_model *model;
    enum err err;

    api_fields_only(f, rules->chat ? known_chat : known_text);
    model = model_read(f, rules);
    if (!model)
        return ERR_OK;
    unsupported_read(f, rules->chat);
    (void)api_fields_text(f, "user", false, API_USER_MAX, NULL); // of no effect
    out->line.max_tokens = max_tokens_read(f, rules->chat, model);
    out->line.n_choices =
        (uint32_t)api_fields_int(f, "n", false, 1, SCHED_CHOICES_MAX, 1);
    memcpy(out->line.model, model->id, SYN1_ID_LEN);
    err = sampling_read(f, model, rules->chat, out);
    return err ? err : prompt_read(f, model, rules->chat, out);
}

enum err api_batch_line_value(const struct api_line_rules *rules,
                              uint64_t number, const json_t *value,
                              struct api_batch_line *out)
{
    struct api_fields f;
    enum err err = ERR_OK;

    line_begin(out, number);
    out->plain = rules->wrapped || rules->single;
    api_fields_init(&f, value);
    if (!rules->single)
        custom_id_read(&f, out);
    if (rules->wrapped && !f.wrong)
        api_fields_init(&f, json_object_get(value, "body"));
    if (!f.wrong)
        err = request_read(&f, rules, out);
    if (!err && f.wrong)
        err = error_set(out, number,
                        strcmp(f.param, "model") ? "invalid_field"
                                                 : "model_not_found",
                        f.param, f.message);
    return err;
}

enum err api_batch_line_read(const struct api_line_rules *rules,
                             uint64_t number, const char *text, size_t len,
                             struct api_batch_line *out)
{
    json_error_t error;
    json_t *value;
    char message[API_MESSAGE_MAX + 1];
    enum err err;

    value = json_loadb(
        text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY,
        &error);
    if (value) {
        err = api_batch_line_value(rules, number, value, out);
        json_decref(value);
        return err;
    }
    line_begin(out, number);
    out->plain = rules->wrapped;
    snprintf(message, sizeof message, "not valid JSON at column %d: %s",
             error.column, error.text);
    return error_set(out, number, "invalid_json", "", message);
}

void api_batch_line_release(struct api_batch_line *line)
{
    token_ids_release(&line->prompt);
    free(line->stops);
    free(line->error);
    memset(line, 0, sizeof *line);
}
