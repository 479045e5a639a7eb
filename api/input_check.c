#include "api/input_check.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/batch_body.h"
#include "api/batch_line.h"
#include "base/sha256.h"

enum { SLOTS = 1 << 17 }; // more than twice API_BATCH_LINES_MAX, two words each

_Static_assert(SLOTS > 2 * API_BATCH_LINES_MAX, "the table would fill up");

enum err api_input_check_init(struct api_input_check *check,
                              const char *endpoint)
{
    memset(check, 0, sizeof *check);
    snprintf(check->endpoint, sizeof check->endpoint, "%s", endpoint);
    check->seen = calloc(SLOTS, 2 * sizeof *check->seen);
    return check->seen ? ERR_OK : ERR_NOMEM;
}

void api_input_check_release(struct api_input_check *check)
{
    free(check->seen);
    check->seen = NULL;
    check->code = NULL;
}

bool api_input_is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    return true;
}

__attribute__((format(printf, 3, 4))) static bool
wrong(struct api_input_check *c, const char *code, const char *fmt, ...)
{
    va_list ap;

    c->code = code;
    va_start(ap, fmt);
    vsnprintf(c->why, sizeof c->why, fmt, ap);
    va_end(ap);
    for (char *p = c->why; *p; p++)
        if ((unsigned char)*p >= 127 || (unsigned char)*p < ' ')
            *p = '?'; // what a client sent may be cut inside a character
    return false;
}

// Put an id into the table. False: it is there.
static bool id_add(struct api_input_check *c, const char *id, size_t len)
{
    uint8_t hash[SHA256_LEN];
    uint64_t key[2];
    size_t at;

    sha256(id, len, hash);
    memcpy(key, hash, sizeof key);
    key[0] |= 1; // never an empty slot
    for (at = (size_t)(key[1] % SLOTS); c->seen[2 * at]; at = (at + 1) % SLOTS)
        if (memcmp(c->seen + 2 * at, key, sizeof key) == 0)
            return false;
    memcpy(c->seen + 2 * at, key, sizeof key);
    return true;
}

static bool object_check(struct api_input_check *c, const json_t *line)
{
    const json_t *id = json_object_get(line, "custom_id");
    const char *method = json_string_value(json_object_get(line, "method"));
    const char *url = json_string_value(json_object_get(line, "url"));

    if (!json_is_object(line))
        return wrong(c, "invalid_json_line", "This line is not a JSON object.");
    if (!json_is_string(id) || json_string_length(id) == 0 ||
        json_string_length(id) > SCHED_CUSTOM_ID_MAX)
        return wrong(c, "invalid_custom_id",
                     "custom_id must be a text of 1 to %d bytes.",
                     SCHED_CUSTOM_ID_MAX);
    if (!method || strcmp(method, "POST") != 0)
        return wrong(c, "invalid_method", "method must be POST.");
    if (!url || strcmp(url, c->endpoint) != 0)
        return wrong(c, "invalid_url",
                     "url must be %s, the endpoint of the batch.", c->endpoint);
    if (!json_is_object(json_object_get(line, "body")))
        return wrong(c, "invalid_body", "body must be a JSON object.");
    if (!id_add(c, json_string_value(id), json_string_length(id)))
        return wrong(c, "duplicate_custom_id",
                     "The custom_id %.64s is there already: each must be "
                     "its line's own.",
                     json_string_value(id));
    return true;
}

bool api_input_check_line(struct api_input_check *c, const char *text,
                          size_t len)
{
    json_error_t error;
    json_t *line;
    bool ok;

    c->n_lines++;
    if (api_input_is_blank(text, len))
        return true;
    if (len > API_LINE_LEN_MAX)
        return wrong(c, "line_too_long", "A line may have %d bytes.",
                     API_LINE_LEN_MAX);
    if (c->n_checked == API_BATCH_LINES_MAX)
        return wrong(c, "too_many_requests", "A batch may have %d requests.",
                     API_BATCH_LINES_MAX);
    line = json_loadb(text, len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (!line)
        return wrong(c, "invalid_json_line",
                     "This line is not valid JSON at column %d: %s",
                     error.column, error.text);
    ok = object_check(c, line);
    json_decref(line);
    if (ok)
        c->n_checked++;
    return ok;
}

bool api_input_check_end(struct api_input_check *c)
{
    if (c->n_checked > 0)
        return true;
    c->n_lines = 1;
    return wrong(c, "empty_file", "The input file has no requests.");
}
