#include "api/logprobs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum err api_logprobs_init(struct api_logprobs *p,
                           const struct tokenizer *tokenizer,
                           const uint32_t *ids, size_t n, struct bytes raw)
{
    struct tokenizer_stream stream;
    enum err err = ERR_OK;

    *p = (struct api_logprobs){.tokenizer = tokenizer,
                               .ids = ids,
                               .n = n,
                               .raw = raw,
                               .n_top = raw.len ? (raw.len / n - 4) / 8 : 0};
    p->starts = malloc((n + 1) * sizeof *p->starts);
    if (!p->starts)
        return ERR_NOMEM;
    tokenizer_stream_init(&stream, tokenizer, TOKENIZER_SKIP_SPECIAL);
    for (size_t i = 0; !err && i < n; i++) {
        p->starts[i] = p->text.len;
        err = tokenizer_stream_put(&stream, ids[i], &p->text);
    }
    return err;
}

void api_logprobs_release(struct api_logprobs *p)
{
    text_release(&p->text);
    free(p->starts);
    p->starts = NULL;
}

size_t api_logprobs_within(const struct api_logprobs *p, size_t len)
{
    size_t n = 0;

    while (n < p->n && p->starts[n] < len)
        n++;
    return n;
}

// One token and its log-probability.
struct prob {
    struct text bytes, text; // what it stands for, and the same as UTF-8
    double logprob;
};

static void prob_release(struct prob *prob)
{
    text_release(&prob->bytes);
    text_release(&prob->text);
}

// A token's bytes as they are inside of a text: the first one of a text may
// lose a blank, so it is decoded behind itself.
static enum err prob_init(struct prob *prob, const struct tokenizer *tokenizer,
                          uint32_t id, uint32_t q16)
{
    const uint32_t twice[] = {id, id};
    struct text both = {0};
    size_t n_first;
    enum err err;

    memset(prob, 0, sizeof *prob);
    prob->logprob = (double)(int32_t)q16 / 65536;
    err = tokenizer_decode(tokenizer, twice, 1, 0, &both);
    n_first = both.len;
    both.len = 0;
    if (!err)
        err = tokenizer_decode(tokenizer, twice, 2, 0, &both);
    if (!err)
        err = text_put(&prob->bytes, both.ptr ? both.ptr + n_first : "",
                       both.len - n_first);
    if (!err)
        err = text_put_utf8(&prob->text, prob->bytes.ptr ? prob->bytes.ptr : "",
                            prob->bytes.len, NULL);
    text_release(&both);
    return err;
}

// Number j of token i: 0 is the token itself, the others its alternatives.
static enum err prob_read(const struct api_logprobs *p, size_t i, size_t j,
                          struct prob *out)
{
    const uint8_t *at = p->raw.ptr + i * (4 + 8 * p->n_top);

    if (j == 0)
        return prob_init(out, p->tokenizer, p->ids[i], bytes_peek_u32(at));
    at += 4 + 8 * (j - 1);
    return prob_init(out, p->tokenizer, bytes_peek_u32(at),
                     bytes_peek_u32(at + 4));
}

// ---- completions ----

// The name of a token; free it.
static char *name_of(const struct prob *prob)
{
    size_t cap = 8 + 4 * prob->bytes.len + prob->text.len, at;
    char *name = calloc(1, cap);

    if (!name || !prob->text.len)
        return name;
    if (prob->text.len == prob->bytes.len &&
        memcmp(prob->text.ptr, prob->bytes.ptr, prob->text.len) == 0) {
        memcpy(name, prob->text.ptr, prob->text.len);
        return name;
    }
    at = (size_t)snprintf(name, cap, "bytes:");
    for (size_t i = 0; i < prob->bytes.len; i++)
        at += (size_t)snprintf(name + at, cap - at, "\\x%02x",
                               (unsigned char)prob->bytes.ptr[i]);
    return name;
}

static size_t characters(const char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

// Add token i to the four lists.
static enum err text_add(const struct api_logprobs *p, size_t i, json_t *lists)
{
    json_t *top = json_object();
    enum err err = top ? ERR_OK : ERR_NOMEM;

    for (size_t j = p->n_top + 1; !err && j-- > 0;) {
        struct prob prob;
        char *name;

        err = prob_read(p, i, j, &prob);
        name = err ? NULL : name_of(&prob);
        if (!name || json_object_set_new(top, name, json_real(prob.logprob)) ||
            (j == 0 &&
             (json_array_append_new(json_object_get(lists, "tokens"),
                                    json_string(name)) ||
              json_array_append_new(json_object_get(lists, "token_logprobs"),
                                    json_real(prob.logprob)))))
            err = ERR_NOMEM;
        free(name);
        prob_release(&prob);
    }
    if (!err && json_array_append_new(
                    json_object_get(lists, "text_offset"),
                    json_integer((json_int_t)characters(
                        p->text.ptr ? p->text.ptr : "", p->starts[i]))))
        err = ERR_NOMEM;
    if (json_array_append(json_object_get(lists, "top_logprobs"), top))
        err = ERR_NOMEM;
    json_decref(top);
    return err;
}

// ---- chats ----

static json_t *chat_one(const struct prob *prob)
{
    json_t *bytes = json_array();

    for (size_t i = 0; i < prob->bytes.len; i++)
        json_array_append_new(bytes,
                              json_integer((unsigned char)prob->bytes.ptr[i]));
    return json_pack("{s:s%, s:f, s:o}", "token",
                     prob->text.ptr ? prob->text.ptr : "", prob->text.len,
                     "logprob", prob->logprob, "bytes", bytes);
}

static enum err chat_add(const struct api_logprobs *p, size_t i, json_t *lists)
{
    json_t *own = NULL, *top = json_array();
    enum err err = top ? ERR_OK : ERR_NOMEM;

    for (size_t j = 0; !err && j <= p->n_top; j++) {
        struct prob prob;
        json_t *one;

        err = prob_read(p, i, j, &prob);
        one = err ? NULL : chat_one(&prob);
        if (!one)
            err = ERR_NOMEM;
        else if (j == 0)
            own = one;
        else if (json_array_append_new(top, one))
            err = ERR_NOMEM;
        prob_release(&prob);
    }
    if (!err && (json_object_set(own, "top_logprobs", top) ||
                 json_array_append(json_object_get(lists, "content"), own)))
        err = ERR_NOMEM;
    json_decref(own);
    json_decref(top);
    return err;
}

json_t *api_logprobs_json(const struct api_logprobs *p, size_t from, size_t to,
                          bool chat)
{
    json_t *lists =
        chat ? json_pack("{s:[], s:n}", "content", "refusal")
             : json_pack("{s:[], s:[], s:[], s:[]}", "tokens", "token_logprobs",
                         "top_logprobs", "text_offset");
    enum err err = lists ? ERR_OK : ERR_NOMEM;

    for (size_t i = from; !err && i < to; i++)
        err = chat ? chat_add(p, i, lists) : text_add(p, i, lists);
    if (!err)
        return lists;
    json_decref(lists);
    return NULL;
}

// ---- what a receipt vouches for ----

enum { SCALE = 65536 };

// value with each number scaled; NULL: no memory, or one of them is none.
static json_t *scaled(const json_t *value)
{
    double n = json_number_value(value) * SCALE;
    json_t *copy, *item;
    const char *name;
    size_t i;

    switch (json_typeof(value)) {
    case JSON_INTEGER:
    case JSON_REAL:
        return fabs(n) < 0x1p52 && n == floor(n) ? json_integer((json_int_t)n)
                                                 : NULL;
    case JSON_ARRAY:
        copy = json_array();
        json_array_foreach(value, i,
                           item) if (json_array_append_new(copy, scaled(item)))
        {
            json_decref(copy);
            return NULL;
        }
        return copy;
    case JSON_OBJECT:
        copy = json_object();
        json_object_foreach(
            (json_t *)(uintptr_t)value, name,
            item) if (json_object_set_new(copy, name, scaled(item)))
        {
            json_decref(copy);
            return NULL;
        }
        return copy;
    default:
        return json_deep_copy(value);
    }
}

enum err api_logprobs_hash(const json_t *logprobs, uint8_t out[SHA256_LEN])
{
    json_t *copy = logprobs ? scaled(logprobs) : NULL;
    char *text =
        copy ? json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY)
             : NULL;
    enum err err = !copy ? ERR_FORMAT : !text ? ERR_NOMEM : ERR_OK;

    if (!err)
        sha256(text, strlen(text), out);
    free(text);
    json_decref(copy);
    return err;
}
