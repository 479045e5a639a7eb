// fields.h - reading a JSON object field by field, with the first mistake named
// for the client.
#ifndef API_FIELDS_H
#define API_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { API_PARAM_MAX = 127, API_MESSAGE_MAX = 255 };

struct api_fields {
    const json_t *object;
    // The first mistake; all later readers do nothing.
    bool wrong;
    char param[API_PARAM_MAX + 1];
    char message[API_MESSAGE_MAX + 1];
};

// Begin with value; anything but an object is a mistake.
void api_fields_init(struct api_fields *f, const json_t *value);

// Each of these returns the value, or fallback if the field is absent or null
// (a mistake if it is required), or after a mistake.
const char *api_fields_text(struct api_fields *f, const char *name,
                            bool required, size_t bytes_max,
                            const char *fallback);
int64_t api_fields_int(struct api_fields *f, const char *name, bool required,
                       int64_t min, int64_t max, int64_t fallback);
double api_fields_real(struct api_fields *f, const char *name, double min,
                       double max, double fallback);
bool api_fields_bool(struct api_fields *f, const char *name, bool fallback);

// The field itself, or NULL if it is absent or null.
const json_t *api_fields_get(struct api_fields *f, const char *name);

// Note a mistake, unless there is one already.
void api_fields_wrong(struct api_fields *f, const char *param, const char *fmt,
                      ...) __attribute__((format(printf, 3, 4)));

// Every key must be in names (NULL at the end).
void api_fields_only(struct api_fields *f, const char *const *names);

#endif
