#include "api/batch_body.h"

#include <string.h>

void api_batch_body_init(struct api_batch_body *body, api_batch_write_fn *write,
                         void *ctx)
{
    memset(body, 0, sizeof *body);
    body->write = write;
    body->ctx = ctx;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static enum err wrong(struct api_batch_body *b, enum err err, const char *why)
{
    b->why = why;
    return err;
}

static enum err flush(struct api_batch_body *b)
{
    enum err err = ERR_OK;

    if (b->n_pending > 0)
        err = b->write(b->ctx, b->pending, b->n_pending);
    b->n_pending = 0;
    return err ? wrong(b, err, "the request file cannot be written") : ERR_OK;
}

static enum err line_put(struct api_batch_body *b, char c)
{
    enum err err = ERR_OK;

    if (b->n_pending == sizeof b->pending)
        err = flush(b);
    if (!err)
        b->pending[b->n_pending++] = c;
    return err;
}

static enum err head_put(struct api_batch_body *b, char c)
{
    if (b->head_len == API_BATCH_HEAD_MAX)
        return wrong(b, ERR_FULL, "what stands beside requests is too large");
    b->head[b->head_len++] = c;
    return ERR_OK;
}

// An element ends here, at a comma or at the end of the list.
static enum err element_end(struct api_batch_body *b, bool last)
{
    if (!b->element) {
        if (last && b->n_lines == 0)
            return ERR_OK; // an empty list
        return wrong(b, ERR_FORMAT, "a comma too many in requests");
    }
    if (b->n_lines == API_BATCH_LINES_MAX)
        return wrong(b, ERR_FULL, "more than 50,000 requests");
    b->n_lines++;
    b->element = false;
    return line_put(b, '\n');
}

// A byte inside the list of requests.
static enum err element_byte(struct api_batch_body *b, char c)
{
    if (b->in_string) {
        if (b->escaped)
            b->escaped = false;
        else if (c == '\\')
            b->escaped = true;
        else if (c == '"')
            b->in_string = false;
        // A bare line break has no place in a JSON string. It must stay wrong,
        // and may not cut the line.
        return line_put(b, (char)(c == '\n' ? 1 : c));
    }
    if (b->depth == 2 && (c == ',' || c == ']')) {
        enum err err = element_end(b, c == ']');

        if (!err && c == ']') {
            b->place = API_BATCH_HEAD;
            b->depth = 1;
            err = head_put(b, c);
        }
        return err;
    }
    if (is_space(c))
        return b->element ? line_put(b, ' ') : ERR_OK;
    b->element = true;
    if (c == '"') {
        b->in_string = true;
    } else if (c == '{' || c == '[') {
        b->depth++;
    } else if (c == '}' || c == ']') {
        if (b->depth == 2)
            return wrong(b, ERR_FORMAT, "a bracket too many in requests");
        b->depth--;
    }
    return line_put(b, c);
}

static bool key_is_requests(const struct api_batch_body *b)
{
    static const char name[] = "requests";

    return b->head_len - b->key_at == sizeof name - 1 &&
           memcmp(b->head + b->key_at, name, sizeof name - 1) == 0;
}

// A byte of a string in the head.
static enum err head_string_byte(struct api_batch_body *b, char c)
{
    if (b->escaped) {
        b->escaped = false;
    } else if (c == '\\') {
        b->escaped = true;
    } else if (c == '"') {
        b->in_string = false;
        if (b->in_key)
            b->requests_next = key_is_requests(b);
        b->in_key = false;
    }
    return head_put(b, c);
}

static enum err list_begin(struct api_batch_body *b)
{
    b->requests_next = false;
    if (b->seen)
        return wrong(b, ERR_FORMAT, "requests is there twice");
    b->seen = true;
    b->place = API_BATCH_ELEMENT;
    b->depth = 2;
    return ERR_OK;
}

// A byte of the head, that is of the object around the list.
static enum err head_byte(struct api_batch_body *b, char c)
{
    enum err err = ERR_OK;

    if (b->in_string)
        return head_string_byte(b, c);
    err = head_put(b, c);
    if (err || is_space(c))
        return err;
    if (b->depth == 1 && c == '[' && b->requests_next)
        return list_begin(b);
    if (c == '"') {
        b->in_string = true;
        b->in_key = b->depth == 1 && b->key_next;
        b->key_at = b->head_len;
    } else if (c == '{' || c == '[') {
        b->depth++;
    } else if (c == '}' || c == ']') {
        b->depth--;
        if (b->depth == 0)
            b->place = API_BATCH_END;
    }
    if (c != ':')
        b->key_next = b->depth == 1 && c == ',';
    if (c != ':' && c != '"')
        b->requests_next = false;
    return ERR_OK;
}

enum err api_batch_body_put(struct api_batch_body *b, const char *buf,
                            size_t len)
{
    enum err err = ERR_OK;

    for (size_t i = 0; !err && i < len; i++) {
        char c = buf[i];

        switch (b->place) {
        case API_BATCH_START:
            if (is_space(c))
                break;
            if (c != '{')
                return wrong(b, ERR_FORMAT, "the body must be a JSON object");
            b->place = API_BATCH_HEAD;
            b->depth = 1;
            b->key_next = true;
            err = head_put(b, c);
            break;
        case API_BATCH_HEAD:
            err = head_byte(b, c);
            break;
        case API_BATCH_ELEMENT:
            err = element_byte(b, c);
            break;
        case API_BATCH_END:
            if (!is_space(c))
                return wrong(b, ERR_FORMAT, "something follows the object");
            break;
        }
    }
    return err;
}

enum err api_batch_body_finish(struct api_batch_body *b)
{
    if (b->place != API_BATCH_END)
        return wrong(b, ERR_TRUNCATED, "the body ends inside the JSON object");
    b->head[b->head_len] = '\0';
    return flush(b);
}
