#include "api/chat.h"

#include <stdlib.h>
#include <string.h>

#include "api/models.h"
#include "tokenizer/tokenizer.h"

struct message {
    const char *role;
    char *text; // content, its parts joined
    size_t len;
};

struct chat {
    struct message *messages;
    size_t n;
};

// A prompt in the making: plain text gathers until a special token comes.
struct prompt {
    const struct tokenizer *tokenizer;
    struct token_ids *out;
    struct text plain;
    const char *missing; // a special token that the model does not have
    enum err err;
};

// ---- reading the messages ----

static void chat_release(struct chat *chat)
{
    for (size_t i = 0; i < chat->n; i++)
        free(chat->messages[i].text);
    free(chat->messages);
}

// Content is a string, or a list of {"type": "text", "text": ...}.
static enum err content_read(struct api_fields *f, const json_t *v,
                             struct text *out)
{
    enum err err = ERR_OK;

    if (json_is_string(v))
        return text_put(out, json_string_value(v), json_string_length(v));
    for (size_t i = 0; !err && i < json_array_size(v); i++) {
        const json_t *part = json_array_get(v, i);
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *text = json_object_get(part, "text");

        if (!type || strcmp(type, "text") != 0 || !json_is_string(text)) {
            api_fields_wrong(f, "messages", "content may only have text parts");
            return ERR_OK;
        }
        err = text_put(out, json_string_value(text), json_string_length(text));
    }
    if (!json_is_array(v))
        api_fields_wrong(f, "messages",
                         "each message needs content: a string or a list of "
                         "text parts");
    return err;
}

static enum err message_read(struct api_fields *f, const json_t *v,
                             struct message *out)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    const char *role = json_string_value(json_object_get(v, "role"));
    struct text text = {0};
    enum err err;

    if (role && strcmp(role, "developer") == 0)
        role = "system";
    for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0)
            out->role = roles[i];
    if (!out->role) {
        api_fields_wrong(f, "messages",
                         "the role of a message must be system, developer, "
                         "user or assistant");
        return ERR_OK;
    }
    err = content_read(f, json_object_get(v, "content"), &text);
    if (err) {
        text_release(&text);
        return err;
    }
    out->text = text.ptr; // the message's now
    out->len = text.len;
    return ERR_OK;
}

static enum err chat_read(struct api_fields *f, struct chat *out)
{
    const json_t *v = api_fields_get(f, "messages");
    size_t n = json_array_size(v);
    enum err err = ERR_OK;

    if (f->wrong)
        return ERR_OK;
    if (!json_is_array(v) || n == 0 || n > API_CHAT_MESSAGES_MAX) {
        api_fields_wrong(f, "messages",
                         "messages must be a list of 1 to %d messages",
                         API_CHAT_MESSAGES_MAX);
        return ERR_OK;
    }
    out->messages = calloc(n, sizeof *out->messages);
    if (!out->messages)
        return ERR_NOMEM;
    for (size_t i = 0; !err && !f->wrong && i < n; i++)
        err = message_read(f, json_array_get(v, i), &out->messages[out->n++]);
    return err;
}

// ---- writing the prompt ----

static void put_text(struct prompt *p, const char *text, size_t len)
{
    if (!p->err && len > 0)
        p->err = text_put(&p->plain, text, len);
}

static void put(struct prompt *p, const char *text)
{
    put_text(p, text, strlen(text));
}

// Encode the plain text so far. flags: besides TOKENIZER_PLAIN.
static void flush(struct prompt *p, int flags)
{
    if (!p->err && (p->plain.len > 0 || flags))
        p->err =
            tokenizer_encode(p->tokenizer, p->plain.ptr ? p->plain.ptr : "",
                             p->plain.len, TOKENIZER_PLAIN | flags, p->out);
    p->plain.len = 0;
}

static void put_special(struct prompt *p, const char *token)
{
    uint32_t id;

    flush(p, 0);
    if (!tokenizer_find(p->tokenizer, token, &id))
        p->missing = token;
    else if (!p->err)
        p->err = token_ids_put(p->out, id);
}

static bool has_system(const struct chat *chat)
{
    return strcmp(chat->messages[0].role, "system") == 0;
}

static void chatml_message(struct prompt *p, const char *role, const char *text,
                           size_t len)
{
    put_special(p, "<|im_start|>");
    put(p, role);
    put(p, "\n");
    put_text(p, text, len);
    put_special(p, "<|im_end|>");
    put(p, "\n");
}

static void chatml_put(struct prompt *p, const struct chat *chat,
                       const char *system)
{
    if (*system && !has_system(chat))
        chatml_message(p, "system", system, strlen(system));
    for (size_t i = 0; i < chat->n; i++)
        chatml_message(p, chat->messages[i].role, chat->messages[i].text,
                       chat->messages[i].len);
    put_special(p, "<|im_start|>");
    put(p, "assistant\n");
    flush(p, 0);
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// The text without the white space around it, or only without that at its end.
static void put_trimmed(struct prompt *p, const struct message *m, bool at_end)
{
    size_t from = 0, to = m->len;

    while (!at_end && from < to && is_blank(m->text[from]))
        from++;
    while (to > from && is_blank(m->text[to - 1]))
        to--;
    if (to > from)
        put_text(p, m->text + from, to - from);
}

static void llama3_header(struct prompt *p, const char *role)
{
    put_special(p, "<|start_header_id|>");
    put(p, role);
    put_special(p, "<|end_header_id|>");
    put(p, "\n\n");
}

static void llama3_put(struct prompt *p, const struct chat *chat,
                       const char *preface)
{
    size_t first = 0;

    put_special(p, "<|begin_of_text|>");
    if (*preface) {
        llama3_header(p, "system");
        put(p, preface);
        if (has_system(chat))
            put_trimmed(p, &chat->messages[first++], false);
        put_special(p, "<|eot_id|>");
    }
    for (size_t i = first; i < chat->n; i++) {
        llama3_header(p, chat->messages[i].role);
        put_trimmed(p, &chat->messages[i], false);
        put_special(p, "<|eot_id|>");
    }
    llama3_header(p, "assistant");
    flush(p, 0);
}

static void llama2_put(struct api_fields *f, struct prompt *p,
                       const struct chat *chat)
{
    size_t first = has_system(chat);

    for (size_t i = first; i < chat->n; i++) {
        bool user = (i - first) % 2 == 0;

        if (strcmp(chat->messages[i].role, user ? "user" : "assistant") != 0) {
            api_fields_wrong(f, "messages",
                             "this model takes a system message and then user "
                             "and assistant in turn");
            return;
        }
        if (user) {
            put_special(p, "<s>");
            put(p, "[INST] ");
            if (i == first && first) {
                put(p, "<<SYS>>\n");
                put_text(p, chat->messages[0].text, chat->messages[0].len);
                put(p, "\n<</SYS>>\n\n");
            }
            put_trimmed(p, &chat->messages[i], i == first && first);
            put(p, " [/INST]");
        } else {
            put(p, " ");
            put_trimmed(p, &chat->messages[i], false);
            put(p, " ");
            put_special(p, "</s>");
        }
    }
    if ((chat->n - first) % 2 == 0)
        api_fields_wrong(f, "messages", "the last message must be a user's");
    flush(p, 0);
}

static void plain_put(struct prompt *p, const struct chat *chat)
{
    for (size_t i = 0; i < chat->n; i++) {
        if (i > 0)
            put(p, "\n");
        put_text(p, chat->messages[i].text, chat->messages[i].len);
    }
    flush(p, TOKENIZER_ADD_SPECIAL);
}

static void chat_put(struct api_fields *f, const struct api_model *model,
                     struct prompt *p, const struct chat *chat)
{
    switch (model->chat.family) {
    case API_CHAT_PLAIN:
        plain_put(p, chat);
        break;
    case API_CHAT_CHATML:
        chatml_put(p, chat, model->chat.system);
        break;
    case API_CHAT_LLAMA2:
        llama2_put(f, p, chat);
        break;
    case API_CHAT_LLAMA3:
        llama3_put(p, chat, model->chat.preface);
        break;
    case API_CHAT_UNKNOWN:
        api_fields_wrong(f, "model",
                         "the chat template of model %s is none of those that "
                         "this server knows (ChatML, Llama 2, Llama 3): use "
                         "/v1/completions",
                         model->manifest.name);
        break;
    }
}

enum err api_chat_encode(struct api_fields *f, const struct api_model *model,
                         struct token_ids *out, uint32_t *end, bool *has_end)
{
    static const char *const ends[] = {
        [API_CHAT_CHATML] = "<|im_end|>",
        [API_CHAT_LLAMA2] = "</s>",
        [API_CHAT_LLAMA3] = "<|eot_id|>",
        [API_CHAT_UNKNOWN] = NULL,
    };
    struct prompt p = {.tokenizer = model->tokenizer, .out = out};
    struct chat chat = {0};
    enum err err = chat_read(f, &chat);

    if (err || f->wrong)
        goto done;
    chat_put(f, model, &p, &chat);
    err = p.err;
    if (err == ERR_RANGE || err == ERR_FULL) {
        api_fields_wrong(f, "messages", "messages cannot be tokenised: %s",
                         err_text(err));
        err = ERR_OK;
    }
    if (!err && p.missing)
        api_fields_wrong(f, "model",
                         "model %s has a chat template but no token %s",
                         model->manifest.name, p.missing);
    *has_end = ends[model->chat.family] &&
               tokenizer_find(model->tokenizer, ends[model->chat.family], end);

done:
    text_release(&p.plain);
    chat_release(&chat);
    return err;
}
