#include "api/batch_line.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/fields.h"
#include "api/query.h"
#include "api/secret.h"
#include "base/sampling.h"
#include "tokenizer/tokenizer.h"

static const char *const known[] = {"custom_id",
                                    "prompt",
                                    "max_tokens",
                                    "temperature",
                                    "top_p",
                                    "top_k",
                                    "seed",
                                    "stop",
                                    "model",
                                    "presence_penalty",
                                    "frequency_penalty",
                                    "logit_bias",
                                    "ignore_eos",
                                    "n",
                                    "best_of",
                                    "echo",
                                    "stream",
                                    "logprobs",
                                    "suffix",
                                    "user",
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

// Seeds that we draw have 53 bits, so that every JSON reader can repeat them.
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
        out->line.sampling.seed = seed & ((UINT64_C(1) << 53) - 1);
    return err;
}

static enum err sampling_read(struct api_fields *f,
                              const struct api_model *model,
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
    err = seed_read(f, out);
    return err ? err : stop_read(f, out);
}

static enum err prompt_read(struct api_fields *f, const struct api_model *model,
                            struct api_batch_line *out)
{
    const json_t *v = api_fields_get(f, "prompt");
    uint32_t context = model->manifest.arch.n_ctx;
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
    if (!err && out->prompt.len == 0)
        api_fields_wrong(f, "prompt", "prompt must not be empty");
    if (!err && out->prompt.len >= context)
        api_fields_wrong(f, "prompt",
                         "prompt has %zu tokens, and model %s takes at most "
                         "%u with at least one to answer: shorten it",
                         out->prompt.len, model->manifest.name, context - 1);
    out->line.prompt = out->prompt.ptr;
    out->line.n_prompt = (uint32_t)out->prompt.len;
    return err;
}

static enum err request_read(struct api_fields *f,
                             const struct api_models *models,
                             const struct api_model *model,
                             struct api_batch_line *out)
{
    const char *name;
    enum err err;

    custom_id_read(f, out);
    api_fields_only(f, known);
    name = api_fields_text(f, "model", false, 256, model->manifest.name);
    if (!f->wrong) {
        const struct api_model *other = api_models_find(models, name);

        if (!other)
            api_fields_wrong(f, "model", "this server has no model %.64s",
                             name);
        else if (other != model)
            api_fields_wrong(f, "model",
                             "the batch is for model %s, this "
                             "request for another",
                             model->manifest.name);
    }
    unsupported(f, "n", 1);
    unsupported(f, "best_of", 1);
    unsupported(f, "echo", INT64_MIN);
    unsupported(f, "stream", INT64_MIN);
    unsupported(f, "logprobs", INT64_MIN);
    unsupported(f, "suffix", INT64_MIN);
    out->line.max_tokens =
        (uint32_t)api_fields_int(f, "max_tokens", false, 1, SYN1_POS_MAX, 16);
    memcpy(out->line.model, model->id, SYN1_ID_LEN);
    err = sampling_read(f, model, out);
    return err ? err : prompt_read(f, model, out);
}

enum err api_batch_line_read(const struct api_models *models,
                             const struct api_model *model, uint64_t number,
                             const char *text, size_t len,
                             struct api_batch_line *out)
{
    json_error_t error;
    struct api_fields f;
    json_t *value;
    char message[API_MESSAGE_MAX + 1];
    enum err err = ERR_OK;

    line_begin(out, number);
    value = json_loadb(
        text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY,
        &error);
    if (!value) {
        snprintf(message, sizeof message, "not valid JSON at column %d: %s",
                 error.column, error.text);
        return error_set(out, number, "invalid_json", "", message);
    }
    api_fields_init(&f, value);
    err = request_read(&f, models, model, out);
    if (!err && f.wrong)
        err = error_set(out, number,
                        strcmp(f.param, "model") ? "invalid_field"
                                                 : "model_not_found",
                        f.param, f.message);
    json_decref(value);
    return err;
}

void api_batch_line_release(struct api_batch_line *line)
{
    token_ids_release(&line->prompt);
    free(line->stops);
    free(line->error);
    memset(line, 0, sizeof *line);
}
