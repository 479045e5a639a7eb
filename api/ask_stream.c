#include "api/ask_stream.h"

#include <stdlib.h>
#include <string.h>

#include "api/logprobs.h"
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

// finish NULL: there is more to come. logprobs is stolen; NULL: none.
static enum err text_tell(struct api_ask_stream *s, uint64_t index,
                          const char *text, size_t len, json_t *logprobs,
                          const char *finish, json_t *synapse)
{
    struct api_ask_choice *c = &s->choices[index];
    json_t *choice, *delta;

    if (!logprobs)
        logprobs = json_null();
    if (s->chat) {
        delta = json_object();
        if (!c->begun)
            json_object_set_new(delta, "role", json_string("assistant"));
        if (!c->begun || len > 0)
            json_object_set_new(delta, "content",
                                json_stringn(text ? text : "", len));
        choice = json_pack("{s:I, s:o, s:o, s:s?}", "index", (json_int_t)index,
                           "delta", delta, "logprobs", logprobs,
                           "finish_reason", finish);
    } else {
        choice = json_pack("{s:I, s:s%, s:o, s:s?}", "index", (json_int_t)index,
                           "text", text ? text : "", len, "logprobs", logprobs,
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

// How many of the tokens that were told are still so.
static size_t told_same(const struct api_ask_choice *c,
                        const struct api_logprobs *p)
{
    size_t each = 4 + p->raw.len / p->n, i = 0;

    while (i < c->n_told && i < p->n &&
           bytes_peek_u32((const uint8_t *)c->told.ptr + i * each) ==
               p->ids[i] &&
           memcmp(c->told.ptr + i * each + 4, p->raw.ptr + i * (each - 4),
                  each - 4) == 0)
        i++;
    return i;
}

// Tell text from..len, with the tokens that begin in it.
static enum err text_add(struct api_ask_stream *s, uint64_t index,
                         const char *text, size_t from, size_t len,
                         const struct api_logprobs *p)
{
    struct api_ask_choice *c = &s->choices[index];
    json_t *probs = NULL;
    enum err err = ERR_OK;

    if (p) {
        size_t each = p->raw.len / p->n, to = api_logprobs_within(p, len);

        probs = api_logprobs_json(p, c->n_told, to, s->chat);
        for (; !err && c->n_told < to; c->n_told++) {
            uint8_t id[4];
            struct bytes_out b = {id, sizeof id, 0, false};

            bytes_put_u32(&b, p->ids[c->n_told]);
            err = text_put(&c->told, id, sizeof id);
            if (!err)
                err = text_put(&c->told, p->raw.ptr + c->n_told * each, each);
        }
    }
    if (err) {
        json_decref(probs);
        return err;
    }
    err = text_tell(s, index, text + from, len - from, probs, NULL, NULL);
    return err ? err : text_put(&c->sent, text + from, len - from);
}

// The client is to have exactly this text of a choice, and these
// log-probabilities of it (NULL: none).
static enum err text_move(struct api_ask_stream *s, uint64_t index,
                          const char *text, size_t len,
                          const struct api_logprobs *p)
{
    struct api_ask_choice *c = &s->choices[index];
    size_t same = common(&c->sent, text, len);
    size_t n_same = p ? told_same(c, p) : 0;
    enum err err = ERR_OK;

    if (p && n_same < c->n_told && n_same < p->n && p->starts[n_same] < same)
        same = p->starts[n_same];
    if (same < c->sent.len)
        err = retract(s, index, same);
    if (p) {
        size_t within = api_logprobs_within(p, same);

        c->n_told = n_same < within ? n_same : within;
        c->told.len = c->n_told * (4 + p->raw.len / p->n);
    }
    if (!err && same < len)
        err = text_add(s, index, text, same, len, p);
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
    bool probs = line->logprobs.len > 0;
    struct api_logprobs p;
    enum err err;
    size_t len;

    // The text of the tokens so far, with their log-probabilities if wanted.
    err = api_logprobs_init(&p, s->model->tokenizer, line->tokens,
                            line->n_tokens, line->logprobs);
    len = p.text.len > 0 ? tellable(s, &p.text) : 0;
    // An unfinished text that has become shorter is what a stop string may hide
    // or a rollback: then it is taken back.
    if (!err)
        err = text_move(s, line->number, p.text.ptr ? p.text.ptr : "", len,
                        probs ? &p : NULL);
    api_logprobs_release(&p);
    return err;
}

// The last chunk of a choice, and what is missing before it.
static enum err final_tell(struct api_ask_stream *s,
                           const struct sched_result *r, const json_t *body,
                           const struct api_logprobs *p)
{
    const json_t *choice = json_array_get(json_object_get(body, "choices"), 0);
    const json_t *text =
        s->chat ? json_object_get(json_object_get(choice, "message"), "content")
                : json_object_get(choice, "text");
    enum err err = text_move(s, r->number, json_string_value(text),
                             json_string_length(text), p);

    if (err)
        return err;
    return text_tell(
        s, r->number, "", 0, NULL,
        json_string_value(json_object_get(choice, "finish_reason")),
        json_object_get(body, "synapse"));
}

static enum err final_look(struct api_ask_stream *s,
                           const struct sched_result *r)
{
    struct api_logprobs p;
    json_t *body = NULL;
    enum err err = api_result_body(s->models, s->id, r, &body);

    if (err)
        return err;
    err = api_logprobs_init(&p, s->model->tokenizer, r->tokens, r->n_tokens,
                            r->logprobs);
    if (!err)
        err = final_tell(s, r, body, r->logprobs.len ? &p : NULL);
    api_logprobs_release(&p);
    s->choices[r->number].done = true;
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
    for (size_t i = 0; i < SCHED_ASK_LINES_MAX; i++) {
        text_release(&s->choices[i].sent);
        text_release(&s->choices[i].told);
    }
    text_release(&s->out);
    json_decref(s->stops);
}
