#include "splitter/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "splitter/json_fields.h"

static const struct {
    const char *name;
    uint32_t size;
    enum safetensors_dtype dtype;
} dtypes[] = {
    {"F32", 4, SAFETENSORS_F32},       {"F16", 2, SAFETENSORS_F16},
    {"BF16", 2, SAFETENSORS_BF16},     {"I8", 1, SAFETENSORS_I8},
    {"U8", 1, SAFETENSORS_U8},         {"I16", 2, SAFETENSORS_I16},
    {"I32", 4, SAFETENSORS_I32},       {"BOOL", 1, SAFETENSORS_OTHER},
    {"F64", 8, SAFETENSORS_OTHER},     {"I64", 8, SAFETENSORS_OTHER},
    {"U64", 8, SAFETENSORS_OTHER},     {"U32", 4, SAFETENSORS_OTHER},
    {"U16", 2, SAFETENSORS_OTHER},     {"F8_E4M3", 1, SAFETENSORS_OTHER},
    {"F8_E5M2", 1, SAFETENSORS_OTHER},
};

// What the entries of one header are parsed against.
struct parse {
    const char *where;
    struct why why;
    const uint8_t *data;
    size_t data_len;
};

static enum err dtype_parse(const struct json_fields *f,
                            struct safetensors_tensor *t, uint32_t *size)
{
    const char *name;
    enum err err = json_fields_text(f, "dtype", 16, &name);

    if (err)
        return err;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(name, dtypes[i].name) != 0)
            continue;
        t->dtype = dtypes[i].dtype;
        t->dtype_name = dtypes[i].name;
        *size = dtypes[i].size;
        return ERR_OK;
    }
    return json_fields_fail(f, ERR_UNSUPPORTED, "dtype",
                            json_fields_get(f, "dtype"), "is not known");
}

// *n_bytes becomes the product of the dimensions times size.
static enum err shape_parse(const struct json_fields *f, uint32_t size,
                            struct safetensors_tensor *t, uint64_t *n_bytes)
{
    const json_t *shape;
    enum err err =
        json_fields_array(f, "shape", 0, SAFETENSORS_DIMS_MAX, &shape);
    uint64_t n = size;

    if (err)
        return err;
    t->n_dims = (uint32_t)json_array_size(shape);
    for (uint32_t i = 0; i < t->n_dims; i++) {
        const json_t *dim = json_array_get(shape, i);

        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return json_fields_fail(f, ERR_FORMAT, "shape", shape,
                                    "is not a list of sizes");
        t->dims[i] = (uint64_t)json_integer_value(dim);
        if (t->dims[i] && n > INT64_MAX / t->dims[i])
            return json_fields_fail(f, ERR_RANGE, "shape", shape,
                                    "is too large");
        n *= t->dims[i];
    }
    *n_bytes = n;
    return ERR_OK;
}

static enum err offsets_parse(const struct json_fields *f,
                              const struct parse *p, uint64_t n_bytes,
                              struct safetensors_tensor *t)
{
    const json_t *offsets, *begin, *end;
    enum err err = json_fields_array(f, "data_offsets", 2, 2, &offsets);

    if (err)
        return err;
    begin = json_array_get(offsets, 0);
    end = json_array_get(offsets, 1);
    if (!json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 ||
        json_integer_value(end) < json_integer_value(begin))
        return json_fields_fail(f, ERR_FORMAT, "data_offsets", offsets,
                                "is not a begin and an end");
    uint64_t from = (uint64_t)json_integer_value(begin);
    uint64_t to = (uint64_t)json_integer_value(end);

    if (to > p->data_len)
        return json_fields_fail(f, ERR_TRUNCATED, "data_offsets", offsets,
                                "reaches past the end of the file");
    if (to - from != n_bytes)
        return json_fields_fail(f, ERR_FORMAT, "data_offsets", offsets,
                                "does not fit dtype and shape");
    t->data = p->data + from;
    t->n_bytes = (size_t)n_bytes;
    return ERR_OK;
}

static enum err tensor_parse(const struct parse *p, const char *name,
                             const json_t *entry, struct safetensors_tensor *t)
{
    char where[WHY_LEN_MAX];
    struct json_fields f = {entry, where, p->why};
    uint32_t size = 0;
    uint64_t n_bytes = 0;
    enum err err;

    if (!*name || strlen(name) > SAFETENSORS_NAME_MAX)
        return why_fail(p->why, ERR_RANGE,
                        "%s: a tensor's name is empty or over %d bytes: %.40s",
                        p->where, SAFETENSORS_NAME_MAX, name);
    if (!json_is_object(entry))
        return why_fail(p->why, ERR_FORMAT, "%s: %s: not an object", p->where,
                        name);
    (void)snprintf(where, sizeof where, "%s: %s", p->where, name);
    t->name = name;
    err = dtype_parse(&f, t, &size);
    if (!err)
        err = shape_parse(&f, size, t, &n_bytes);
    if (!err)
        err = offsets_parse(&f, p, n_bytes, t);
    return err;
}

static int by_place(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;

    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return x->n_bytes < y->n_bytes ? -1 : x->n_bytes > y->n_bytes;
}

static int by_name(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;

    return strcmp(x->name, y->name);
}

// The tensors are in order of place. Empty ones overlap nothing.
static enum err overlap_check(const struct parse *p,
                              const struct safetensors *st)
{
    const struct safetensors_tensor *last = NULL;

    for (size_t i = 0; i < st->n_tensors; i++) {
        const struct safetensors_tensor *t = &st->tensors[i];

        if (!t->n_bytes)
            continue;
        if (last && last->data + last->n_bytes > t->data)
            return why_fail(p->why, ERR_FORMAT, "%s: %s overlaps %s", p->where,
                            t->name, last->name);
        last = t;
    }
    return ERR_OK;
}

static enum err metadata_parse(const struct parse *p, const json_t *value,
                               struct safetensors *st)
{
    const char *key;
    const json_t *entry;

    if (!json_is_object(value))
        return why_fail(p->why, ERR_FORMAT, "%s: __metadata__: not an object",
                        p->where);
    // The iterator takes a json_t * that it does not change.
    json_object_foreach((json_t *)(uintptr_t)value, key, entry) if (
        !json_is_string(
            entry)) return why_fail(p->why, ERR_FORMAT,
                                    "%s: __metadata__: %.80s: not a string",
                                    p->where, key);
    st->metadata = value;
    return ERR_OK;
}

static enum err header_parse(const struct parse *p, struct safetensors *st)
{
    size_t max = json_object_size(st->header);
    const char *name;
    json_t *entry;
    enum err err;

    if (max > SAFETENSORS_TENSORS_MAX)
        return why_fail(p->why, ERR_RANGE, "%s: %zu tensors are too many",
                        p->where, max);
    st->tensors = calloc(max + 1, sizeof *st->tensors);
    if (!st->tensors)
        return why_fail(p->why, ERR_NOMEM, "%s: out of memory", p->where);
    json_object_foreach(st->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) {
            err = metadata_parse(p, entry, st);
        } else {
            err = tensor_parse(p, name, entry, &st->tensors[st->n_tensors]);
            st->n_tensors++;
        }
        if (err)
            return err;
    }
    qsort(st->tensors, st->n_tensors, sizeof *st->tensors, by_place);
    err = overlap_check(p, st);
    qsort(st->tensors, st->n_tensors, sizeof *st->tensors, by_name);
    return err;
}

enum err safetensors_parse(const uint8_t *buf, size_t len, const char *where,
                           struct why why, struct safetensors *out)
{
    struct bytes in = {buf, len};
    struct safetensors st = {0};
    const uint8_t *json;
    uint64_t json_len;
    enum err err;

    if (!bytes_u64(&in, &json_len))
        return why_fail(why, ERR_TRUNCATED,
                        "%s: %zu bytes are too short for safetensors", where,
                        len);
    if (json_len > SAFETENSORS_HEADER_MAX)
        return why_fail(why, ERR_RANGE,
                        "%s: header length %" PRIu64 " is over %d", where,
                        json_len, SAFETENSORS_HEADER_MAX);
    if (!bytes_take(&in, (size_t)json_len, &json))
        return why_fail(why, ERR_TRUNCATED,
                        "%s: header length %" PRIu64
                        " reaches past the end of the file",
                        where, json_len);
    err = json_fields_parse(json, (size_t)json_len, where, why, &st.header);
    if (err)
        return err;
    struct parse p = {where, why, in.ptr, in.len};

    err = header_parse(&p, &st);
    if (err) {
        safetensors_release(&st);
        return err;
    }
    *out = st;
    return ERR_OK;
}

void safetensors_release(struct safetensors *st)
{
    free(st->tensors);
    json_decref(st->header);
    *st = (struct safetensors){0};
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *st,
                                                  const char *name)
{
    struct safetensors_tensor key = {.name = name};

    if (!st->n_tensors)
        return NULL;
    return bsearch(&key, st->tensors, st->n_tensors, sizeof *st->tensors,
                   by_name);
}
