#include "tokenizer/member.h"

#include <stdarg.h>
#include <stdio.h>

enum err complain(const struct complaint *to, enum err err, const char *format,
                  ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(to->ptr, to->len, format, args);
    va_end(args);
    // Strings of the file may be in it: keep it one line.
    for (char *c = to->ptr; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return err;
}

static const json_t *member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_null(value) ? NULL : value;
}

enum err member_bool(const struct complaint *to, const json_t *object,
                     const char *place, const char *key, bool otherwise,
                     bool *out)
{
    const json_t *value = member(object, key);

    if (value && !json_is_boolean(value))
        return complain(to, ERR_FORMAT, "%s.%s must be true or false", place,
                        key);
    *out = value ? json_is_true(value) : otherwise;
    return ERR_OK;
}

enum err member_text(const struct complaint *to, const json_t *object,
                     const char *place, const char *key, const char **ptr,
                     size_t *len)
{
    const json_t *value = member(object, key);

    if (value && !json_is_string(value))
        return complain(to, ERR_FORMAT, "%s.%s must be a string", place, key);
    *ptr = value ? json_string_value(value) : NULL;
    *len = value ? json_string_length(value) : 0;
    return ERR_OK;
}

enum err member_need_text(const struct complaint *to, const json_t *object,
                          const char *place, const char *key, const char **ptr,
                          size_t *len)
{
    enum err err = member_text(to, object, place, key, ptr, len);

    if (!err && !*ptr)
        return complain(to, ERR_FORMAT, "%s.%s is missing", place, key);
    return err;
}

enum err member_number(const struct complaint *to, const json_t *object,
                       const char *place, const char *key, uint32_t max,
                       uint32_t *out)
{
    const json_t *value = member(object, key);
    json_int_t v = json_integer_value(value);

    if (!value || !json_is_integer(value))
        return complain(to, ERR_FORMAT, "%s.%s must be an integer", place, key);
    if (v < 0 || v > (json_int_t)max)
        return complain(to, ERR_RANGE, "%s.%s must be 0 to %u", place, key,
                        (unsigned)max);
    *out = (uint32_t)v;
    return ERR_OK;
}

enum err member_list(const struct complaint *to, const json_t *object,
                     const char *place, const char *key, json_t **out)
{
    json_t *value = json_object_get(object, key);

    if (!json_is_array(value))
        return complain(to, ERR_FORMAT, "%s.%s must be a list", place, key);
    *out = value;
    return ERR_OK;
}

enum err member_type(const struct complaint *to, const json_t *object,
                     const char *place, const char **type)
{
    size_t len;

    if (!json_is_object(object))
        return complain(to, ERR_FORMAT, "%s must be an object", place);
    return member_need_text(to, object, place, "type", type, &len);
}
