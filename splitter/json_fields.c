#include "splitter/json_fields.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_SHOWN = 60 }; // bytes of a value that a failure's line quotes

enum err json_fields_fail(const struct json_fields *f, enum err err,
                          const char *key, const json_t *value,
                          const char *says)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY |
                                               JSON_REAL_PRECISION(9))
                       : NULL;

    if (text)
        err = why_fail(f->why, err, "%s: %.80s: %.*s%s %s", f->where, key,
                       VALUE_SHOWN, text,
                       strlen(text) > VALUE_SHOWN ? "..." : "", says);
    else
        err = why_fail(f->why, err, "%s: %.80s: %s", f->where, key, says);
    free(text);
    return err;
}

enum err json_fields_parse(const void *buf, size_t len, const char *where,
                           struct why why, json_t **root)
{
    json_error_t error = {.line = 0};
    // jansson reads NULL as a bad argument, and an empty file maps to NULL.
    json_t *json =
        json_loadb(len ? buf : "", len, JSON_REJECT_DUPLICATES, &error);

    if (!json)
        return why_fail(why, ERR_FORMAT, "%s: not valid JSON: line %d: %s",
                        where, error.line, error.text);
    if (!json_is_object(json)) {
        json_decref(json);
        return why_fail(why, ERR_FORMAT, "%s: not a JSON object", where);
    }
    *root = json;
    return ERR_OK;
}

const json_t *json_fields_get(const struct json_fields *f, const char *key)
{
    const json_t *value = json_object_get(f->object, key);

    return json_is_null(value) ? NULL : value;
}

enum err json_fields_u64(const struct json_fields *f, const char *key,
                         uint64_t min, uint64_t max, uint64_t *out)
{
    const json_t *value = json_fields_get(f, key);
    char says[80];
    json_int_t v;

    if (!value)
        return json_fields_fail(f, ERR_FORMAT, key, NULL, "missing");
    if (!json_is_integer(value))
        return json_fields_fail(f, ERR_FORMAT, key, value,
                                "is not a whole number");
    v = json_integer_value(value);
    if (v < 0 || (uint64_t)v < min || (uint64_t)v > max) {
        (void)snprintf(says, sizeof says, "is out of range (%ju to %ju)",
                       (uintmax_t)min, (uintmax_t)max);
        return json_fields_fail(f, ERR_RANGE, key, value, says);
    }
    *out = (uint64_t)v;
    return ERR_OK;
}

enum err json_fields_u32(const struct json_fields *f, const char *key,
                         uint32_t min, uint32_t max, uint32_t *out)
{
    uint64_t v = 0;
    enum err err = json_fields_u64(f, key, min, max, &v);

    if (!err)
        *out = (uint32_t)v;
    return err;
}

enum err json_fields_u32_or(const struct json_fields *f, const char *key,
                            uint32_t min, uint32_t max, uint32_t fallback,
                            uint32_t *out)
{
    if (json_fields_get(f, key))
        return json_fields_u32(f, key, min, max, out);
    *out = fallback;
    return ERR_OK;
}

enum err json_fields_real(const struct json_fields *f, const char *key,
                          double min, double max, double *out)
{
    const json_t *value = json_fields_get(f, key);
    char says[80];
    double v;

    if (!value)
        return json_fields_fail(f, ERR_FORMAT, key, NULL, "missing");
    if (!json_is_number(value))
        return json_fields_fail(f, ERR_FORMAT, key, value, "is not a number");
    v = json_number_value(value);
    if (!isfinite(v) || v < min || v > max) {
        (void)snprintf(says, sizeof says, "is out of range (%g to %g)", min,
                       max);
        return json_fields_fail(f, ERR_RANGE, key, value, says);
    }
    *out = v;
    return ERR_OK;
}

enum err json_fields_real_or(const struct json_fields *f, const char *key,
                             double min, double max, double fallback,
                             double *out)
{
    if (json_fields_get(f, key))
        return json_fields_real(f, key, min, max, out);
    *out = fallback;
    return ERR_OK;
}

enum err json_fields_bool_or(const struct json_fields *f, const char *key,
                             bool fallback, bool *out)
{
    const json_t *value = json_fields_get(f, key);

    if (value && !json_is_boolean(value))
        return json_fields_fail(f, ERR_FORMAT, key, value,
                                "is not true or false");
    *out = value ? json_is_true(value) : fallback;
    return ERR_OK;
}

enum err json_fields_text(const struct json_fields *f, const char *key,
                          size_t max_len, const char **out)
{
    const json_t *value = json_fields_get(f, key);

    if (!value)
        return json_fields_fail(f, ERR_FORMAT, key, NULL, "missing");
    if (!json_is_string(value))
        return json_fields_fail(f, ERR_FORMAT, key, value, "is not a string");
    if (!json_string_length(value))
        return json_fields_fail(f, ERR_RANGE, key, value, "is empty");
    if (json_string_length(value) > max_len)
        return json_fields_fail(f, ERR_RANGE, key, value, "is too long");
    *out = json_string_value(value);
    return ERR_OK;
}

enum err json_fields_array(const struct json_fields *f, const char *key,
                           size_t min, size_t max, const json_t **out)
{
    const json_t *value = json_fields_get(f, key);
    char says[80];

    if (!value)
        return json_fields_fail(f, ERR_FORMAT, key, NULL, "missing");
    if (!json_is_array(value))
        return json_fields_fail(f, ERR_FORMAT, key, value, "is not a list");
    if (json_array_size(value) < min || json_array_size(value) > max) {
        (void)snprintf(says, sizeof says, "must have %zu to %zu entries", min,
                       max);
        return json_fields_fail(f, ERR_RANGE, key, value, says);
    }
    *out = value;
    return ERR_OK;
}
