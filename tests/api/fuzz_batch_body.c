// The body of a batch: any bytes, in any pieces, are cut or refused alike, and
// what is valid JSON loses nothing.
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/batch_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sink {
    char *text;
    size_t len, cap;
};

static enum err on_write(void *ctx, const char *buf, size_t len)
{
    struct sink *sink = ctx;

    if (sink->cap - sink->len < len)
        return ERR_FULL;
    memcpy(sink->text + sink->len, buf, len);
    sink->len += len;
    return ERR_OK;
}

static enum err cut(const char *text, size_t size, size_t piece,
                    struct sink *sink, struct api_batch_body *body)
{
    enum err err = ERR_OK;

    sink->len = 0;
    api_batch_body_init(body, on_write, sink);
    for (size_t at = 0; !err && at < size; at += piece)
        err = api_batch_body_put(body, text + at,
                                 size - at < piece ? size - at : piece);
    return err ? err : api_batch_body_finish(body);
}

// If all of it is valid JSON, the lines must be its requests.
static void compare(const char *text, size_t size, const struct sink *sink,
                    const struct api_batch_body *body)
{
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    json_t *list = json_object_get(root, "requests");
    const char *line = sink->text;

    if (json_is_array(list) && body->seen) {
        if (json_array_size(list) != body->n_lines)
            abort();
        for (size_t i = 0; i < json_array_size(list); i++) {
            const char *end =
                memchr(line, '\n', sink->len - (size_t)(line - sink->text));
            json_t *one;

            if (!end)
                abort();
            one = json_loadb(line, (size_t)(end - line), JSON_DECODE_ANY, NULL);
            if (!json_equal(one, json_array_get(list, i)))
                abort();
            json_decref(one);
            line = end + 1;
        }
    }
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct api_batch_body *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    struct sink whole = {malloc(2 * size + 8), 0, 2 * size + 8};
    struct sink parts = {malloc(2 * size + 8), 0, 2 * size + 8};
    const char *text = (const char *)data;
    enum err err;

    if (!a || !b || !whole.text || !parts.text)
        abort();
    err = cut(text, size, size ? size : 1, &whole, a);
    if (cut(text, size, 1, &parts, b) != err)
        abort();
    if (!err) {
        if (whole.len != parts.len ||
            memcmp(whole.text, parts.text, whole.len) != 0 ||
            strcmp(a->head, b->head) != 0 || a->n_lines != b->n_lines)
            abort();
        compare(text, size, &whole, a);
    }
    free(whole.text);
    free(parts.text);
    free(a);
    free(b);
    return 0;
}
