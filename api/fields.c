#include "api/fields.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void api_fields_wrong(struct api_fields *f, const char *param, const char *fmt,
                      ...)
{
    va_list ap;

    if (f->wrong)
        return;
    f->wrong = true;
    snprintf(f->param, sizeof f->param, "%s", param);
    va_start(ap, fmt);
    vsnprintf(f->message, sizeof f->message, fmt, ap);
    va_end(ap);
}

void api_fields_init(struct api_fields *f, const json_t *value)
{
    memset(f, 0, sizeof *f);
    f->object = value;
    if (!json_is_object(value))
        api_fields_wrong(f, "", "this must be a JSON object");
}

const json_t *api_fields_get(struct api_fields *f, const char *name)
{
    const json_t *v;

    if (f->wrong)
        return NULL;
    v = json_object_get(f->object, name);
    return json_is_null(v) ? NULL : v;
}

static const json_t *field(struct api_fields *f, const char *name,
                           bool required)
{
    const json_t *v = api_fields_get(f, name);

    if (!v && required)
        api_fields_wrong(f, name, "%s is missing", name);
    return v;
}

const char *api_fields_text(struct api_fields *f, const char *name,
                            bool required, size_t bytes_max,
                            const char *fallback)
{
    const json_t *v = field(f, name, required);

    if (!v)
        return fallback;
    if (!json_is_string(v)) {
        api_fields_wrong(f, name, "%s must be a string", name);
    } else if (json_string_length(v) > bytes_max) {
        api_fields_wrong(f, name, "%s is over %zu bytes long", name, bytes_max);
    } else if (strlen(json_string_value(v)) != json_string_length(v)) {
        api_fields_wrong(f, name, "%s holds a NUL character", name);
    } else {
        return json_string_value(v);
    }
    return fallback;
}

int64_t api_fields_int(struct api_fields *f, const char *name, bool required,
                       int64_t min, int64_t max, int64_t fallback)
{
    const json_t *v = field(f, name, required);
    json_int_t n;

    if (!v)
        return fallback;
    if (!json_is_integer(v)) {
        api_fields_wrong(f, name, "%s must be a whole number", name);
        return fallback;
    }
    n = json_integer_value(v);
    if (n < min || n > max) {
        api_fields_wrong(f, name, "%s must be between %" PRId64 " and %" PRId64,
                         name, min, max);
        return fallback;
    }
    return n;
}

double api_fields_real(struct api_fields *f, const char *name, double min,
                       double max, double fallback)
{
    const json_t *v = field(f, name, false);
    double x;

    if (!v)
        return fallback;
    if (!json_is_number(v)) {
        api_fields_wrong(f, name, "%s must be a number", name);
        return fallback;
    }
    x = json_number_value(v);
    if (!(x >= min && x <= max)) {
        api_fields_wrong(f, name, "%s must be between %g and %g", name, min,
                         max);
        return fallback;
    }
    return x;
}

bool api_fields_bool(struct api_fields *f, const char *name, bool fallback)
{
    const json_t *v = field(f, name, false);

    if (!v)
        return fallback;
    if (!json_is_boolean(v)) {
        api_fields_wrong(f, name, "%s must be true or false", name);
        return fallback;
    }
    return json_is_true(v);
}

void api_fields_only(struct api_fields *f, const char *const *names)
{
    void *it;

    if (f->wrong)
        return;
    // jansson's iterator wants a plain pointer and only reads through it.
    it = json_object_iter((json_t *)(uintptr_t)f->object);
    for (; it; it = json_object_iter_next((json_t *)(uintptr_t)f->object, it)) {
        const char *key = json_object_iter_key(it);
        size_t i = 0;

        while (names[i] && strcmp(names[i], key) != 0)
            i++;
        if (!names[i]) {
            api_fields_wrong(f, key, "%.64s is not known here", key);
            return;
        }
    }
}
