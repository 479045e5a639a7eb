// json_fields.h - reading a JSON object of known keys, where every failure
// names the file, the key and the value.
#ifndef SPLITTER_JSON_FIELDS_H
#define SPLITTER_JSON_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "splitter/why.h"

struct json_fields {
    const json_t *object;
    const char *where; // what a failure's line begins with: "config.json"
    struct why why;
};

// Parse len bytes that must be one JSON object without duplicate keys. On
// ERR_OK the caller owns *root; else ERR_FORMAT.
MUST_USE enum err json_fields_parse(const void *buf, size_t len,
                                    const char *where, struct why why,
                                    json_t **root);

// The value of key; NULL if it is absent or null.
const json_t *json_fields_get(const struct json_fields *f, const char *key);

// Each reads one key. ERR_FORMAT: absent (without a default) or of another
// type; ERR_RANGE: a number outside min .. max. *out is untouched on failure.
MUST_USE enum err json_fields_u64(const struct json_fields *f, const char *key,
                                  uint64_t min, uint64_t max, uint64_t *out);
MUST_USE enum err json_fields_u32(const struct json_fields *f, const char *key,
                                  uint32_t min, uint32_t max, uint32_t *out);
// As json_fields_u32; where the key is absent or null *out = fallback.
MUST_USE enum err json_fields_u32_or(const struct json_fields *f,
                                     const char *key, uint32_t min,
                                     uint32_t max, uint32_t fallback,
                                     uint32_t *out);
MUST_USE enum err json_fields_real(const struct json_fields *f, const char *key,
                                   double min, double max, double *out);
MUST_USE enum err json_fields_real_or(const struct json_fields *f,
                                      const char *key, double min, double max,
                                      double fallback, double *out);
MUST_USE enum err json_fields_bool_or(const struct json_fields *f,
                                      const char *key, bool fallback,
                                      bool *out);
// A string of 1 .. max_len bytes, borrowed from the object.
MUST_USE enum err json_fields_text(const struct json_fields *f, const char *key,
                                   size_t max_len, const char **out);
// An array of min .. max entries, borrowed from the object.
MUST_USE enum err json_fields_array(const struct json_fields *f,
                                    const char *key, size_t min, size_t max,
                                    const json_t **out);

// Fail with `WHERE: KEY: VALUE SAYS`, the value as compact JSON, cut short;
// without a value `WHERE: KEY: SAYS`.
enum err json_fields_fail(const struct json_fields *f, enum err err,
                          const char *key, const json_t *value,
                          const char *says);

#endif
