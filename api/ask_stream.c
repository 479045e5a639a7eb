#include "api/ask_stream.h"

#include <stdlib.h>
#include <string.h>

#include "api/result_line.h"
#include "tokenizer/tokenizer.h"

// One event; value is stolen. name NULL: an unnamed one.
static enum err event_put(struct api_ask_stream *s, const char *name,
                          json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    enum err err = text ? ERR_OK : ERR_NOMEM;

    json_decref(value);
    if (!err && name)
        err = text_put(&s->out, "event: ", 7);
    if (!err && name)
        err = text_put(&s->out, name, strlen(name));
    if (!err && name)
        err = text_put(&s->out, "\n", 1);
    if (!err)
        err = text_put(&s->out, "data: ", 6);
    if (!err)
        err = text_put(&s->out, text, strlen(text));
    if (!err)
        err = text_put(&s->out, "\n\n", 2);
    free(text);
    return err;
}

// A chunk with these choices (stolen).
static json_t *chunk(const struct api_ask_stream *s, json_t *choices)
{
    json_t *usage = s->usage ? json_null() : NULL;

    return json_pack("{s:s+, s:s, s:I, s:s, s:o, s:o*}", "id",
                     s->chat ? "chatcmpl-" : "cmpl-", s->id, "object",
                     s->chat ? "chat.completion.chunk" : "text_completion",
                     "created", (json_int_t)s->created_s, "model",
                     s->model->manifest.name, "choices", choices, "usage",
                     usage);
}

// finish NULL: there is more to come.
static enum err text_tell(struct api_ask_stream *s, uint64_t index,
                          const char *text, size_t len, const char *finish,
                          json_t *synapse)
{
    struct api_ask_choice *c = &s->choices[index];
    json_t *choice, *delta;

    if (s->chat) {
        delta = json_object();
        if (!c->begun)
            json_object_set_new(delta, "role", json_string("assistant"));
        if (!c->begun || len > 0)
            json_object_set_new(delta, "content",
                                json_stringn(text ? text : "", len));
        choice = json_pack("{s:I, s:o, s:n, s:s?}", "index", (json_int_t)index,
                           "delta", delta, "logprobs", "finish_reason", finish);
    } else {
        choice = json_pack("{s:I, s:s%, s:n, s:s?}", "index", (json_int_t)index,
                           "text", text ? text : "", len, "logprobs",
                           "finish_reason", finish);
    }
    c->begun = true;
    choice = chunk(s, json_pack("[o]", choice));
    if (choice && synapse)
        json_object_set(choice, "synapse", synapse);
    return event_put(s, NULL, choice);
}

// Bytes that both texts begin with, to the end of a character.
static size_t common(const struct text *sent, const char *text, size_t len)
{
    size_t n = 0;

    while (n < sent->len && n < len && sent->ptr[n] == text[n])
        n++;
    while (n > 0 && n < sent->len &&
           ((unsigned char)sent->ptr[n] & 0xc0) == 0x80)
        n--;
    return n;
}

static enum err retract(struct api_ask_stream *s, uint64_t index, size_t keep)
{
    struct api_ask_choice *c = &s->choices[index];
    size_t characters = 0;
    json_t *value = chunk(s, json_array());

    for (size_t i = 0; i < keep; i++)
        characters += ((unsigned char)c->sent.ptr[i] & 0xc0) != 0x80;
    c->sent.len = keep;
    if (value)
        json_object_set_new(value, "synapse",
                            json_pack("{s:{s:I, s:I}}", "retract", "index",
                                      (json_int_t)index, "position",
                                      (json_int_t)characters));
    return event_put(s, "retract", value);
}

// The client is to have exactly this text of a choice.
static enum err text_move(struct api_ask_stream *s, uint64_t index,
                          const char *text, size_t len)
{
    struct api_ask_choice *c = &s->choices[index];
    size_t same = common(&c->sent, text, len);
    enum err err = ERR_OK;

    if (same < c->sent.len)
        err = retract(s, index, same);
    if (!err && same < len)
        err = text_tell(s, index, text + same, len - same, NULL, NULL);
    if (!err && same < len)
        err = text_put(&c->sent, text + same, len - same);
    return err;
}

// How much of an unfinished text may be told: not what may begin a stop string.
static size_t tellable(const struct api_ask_stream *s, const struct text *text)
{
    size_t len = api_result_stop(s->stops, text->ptr, text->len);

    if (len < text->len || s->stop_len == 0)
        return len;
    len = len > s->stop_len - 1 ? len - (s->stop_len - 1) : 0;
    while (len > 0 && len < text->len &&
           ((unsigned char)text->ptr[len] & 0xc0) == 0x80)
        len--;
    return len;
}

static enum err open_look(struct api_ask_stream *s,
                          const struct sched_ask_line *line)
{
    struct tokenizer_stream decoder;
    struct text text = {0};
    enum err err = ERR_OK;
    size_t len;

    tokenizer_stream_init(&decoder, s->model->tokenizer,
                          TOKENIZER_SKIP_SPECIAL);
    for (uint32_t i = 0; !err && i < line->n_tokens; i++)
        err = tokenizer_stream_put(&decoder, line->tokens[i], &text);
    len = text.len > 0 ? tellable(s, &text) : 0;
    // An unfinished text that has become shorter is what a stop string may hide
    // or a rollback: then it is taken back.
    if (!err)
        err = text_move(s, line->number, text.ptr ? text.ptr : "", len);
    text_release(&text);
    return err;
}

static enum err final_look(struct api_ask_stream *s,
                           const struct sched_result *r)
{
    struct api_ask_choice *c = &s->choices[r->number];
    const json_t *choice, *text;
    json_t *body = NULL;
    enum err err = api_result_body(s->models, s->id, r, &body);

    if (err)
        return err;
    choice = json_array_get(json_object_get(body, "choices"), 0);
    text = s->chat
               ? json_object_get(json_object_get(choice, "message"), "content")
               : json_object_get(choice, "text");
    err = text_move(s, r->number, json_string_value(text),
                    json_string_length(text));
    if (!err)
        err = text_tell(
            s, r->number, "", 0,
            json_string_value(json_object_get(choice, "finish_reason")),
            json_object_get(body, "synapse"));
    c->done = true;
    s->n_done++;
    s->n_prompt = r->n_prompt;
    s->n_tokens += r->n_tokens;
    json_decref(body);
    return err;
}

static enum err end_put(struct api_ask_stream *s)
{
    json_t *value;
    enum err err = ERR_OK;

    if (s->usage) {
        value = chunk(s, json_array());
        if (value)
            json_object_set_new(
                value, "usage",
                json_pack("{s:I, s:I, s:I}", "prompt_tokens",
                          (json_int_t)s->n_prompt, "completion_tokens",
                          (json_int_t)s->n_tokens, "total_tokens",
                          (json_int_t)(s->n_prompt + s->n_tokens)));
        err = event_put(s, NULL, value);
    }
    return err ? err : text_put(&s->out, "data: [DONE]\n\n", 14);
}

enum err api_ask_stream_look(struct api_ask_stream *s,
                             const struct sched_ask *ask, bool *over)
{
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < ask->n_open && !s->confirmed_only; i++)
        if (ask->lines[i].number < SCHED_ASK_LINES_MAX)
            err = open_look(s, &ask->lines[i]);
    for (size_t i = 0; !err && i < ask->n_final; i++)
        if (ask->results[i].number < SCHED_ASK_LINES_MAX &&
            !s->choices[ask->results[i].number].done)
            err = final_look(s, &ask->results[i]);
    *over = !err && s->n_done == ask->n_lines;
    return *over ? end_put(s) : err;
}

enum err api_ask_stream_fail(struct api_ask_stream *s, const char *why)
{
    return event_put(s, NULL,
                     json_pack("{s:{s:s, s:s, s:n, s:s}}", "error", "message",
                               why, "type", "server_error", "param", "code",
                               "interrupted"));
}

void api_ask_stream_release(struct api_ask_stream *s)
{
    for (size_t i = 0; i < SCHED_ASK_LINES_MAX; i++)
        text_release(&s->choices[i].sent);
    text_release(&s->out);
    json_decref(s->stops);
}
