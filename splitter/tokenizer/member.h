// member.h - reading members of JSON objects with errors that name the place.
#ifndef TOKENIZER_MEMBER_H
#define TOKENIZER_MEMBER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tokenizer/text.h"

// Where the one line about an error goes.
struct complaint {
    char *ptr;
    size_t len;
};

// Write the line, return err.
enum err complain(const struct complaint *to, enum err err, const char *format,
                  ...) __attribute__((format(printf, 3, 4)));

// Readers of member key of object, which stands at place in the file. Where the
// member is missing or null the default is given. ERR_FORMAT if it is of
// another type.
MUST_USE enum err member_bool(const struct complaint *to, const json_t *object,
                              const char *place, const char *key,
                              bool otherwise, bool *out);

// The string of a member: a view, NULL where it is missing or null.
MUST_USE enum err member_text(const struct complaint *to, const json_t *object,
                              const char *place, const char *key,
                              const char **ptr, size_t *len);

// A member that must be there: an integer 0 .. max, a string, an array.
MUST_USE enum err member_number(const struct complaint *to,
                                const json_t *object, const char *place,
                                const char *key, uint32_t max, uint32_t *out);
MUST_USE enum err member_need_text(const struct complaint *to,
                                   const json_t *object, const char *place,
                                   const char *key, const char **ptr,
                                   size_t *len);
MUST_USE enum err member_list(const struct complaint *to, const json_t *object,
                              const char *place, const char *key, json_t **out);

// The member "type" of a part such as the normaliser.
MUST_USE enum err member_type(const struct complaint *to, const json_t *object,
                              const char *place, const char **type);

#endif
