#include "splitter/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "splitter/safetensors.h"

enum { HEADER_LEN = 8 }; // the length of the JSON, before it

// One declared tensor: its bytes, and the fill that follows it.
struct part {
    uint64_t n_bytes;
    uint32_t fill;
};

struct shard_writer {
    struct why why;
    char *path, *temp_path;
    FILE *file; // NULL once closed
    struct sha256 sha;
    json_t *header, *notes;
    struct part *parts;
    size_t n_parts, cap_parts;
    size_t part;       // being written
    uint64_t part_len; // bytes of it written
    uint64_t data_len; // declared, fill counted
    uint64_t file_len; // written
};

static const struct {
    enum tensor_dtype dtype;
    enum safetensors_dtype stored;
    const char *name;
    uint32_t size;
} dtypes[] = {
    {TENSOR_I8, SAFETENSORS_I8, "I8", 1},
    {TENSOR_U8, SAFETENSORS_U8, "U8", 1},
    {TENSOR_I16, SAFETENSORS_I16, "I16", 2},
    {TENSOR_I32, SAFETENSORS_I32, "I32", 4},
};

enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

static enum err no_memory(const struct shard_writer *w)
{
    return why_fail(w->why, ERR_NOMEM, "%s: out of memory", w->path);
}

static enum err io_fail(const struct shard_writer *w, const char *path)
{
    return why_fail(w->why, ERR_IO, "%s: %s", path, strerror(errno));
}

static char *path_join(const char *dir, const char *name, const char *suffix)
{
    size_t len = strlen(dir) + strlen(name) + strlen(suffix) + 2;
    char *path = malloc(len);

    if (path)
        (void)snprintf(path, len, "%s/%s%s", dir, name, suffix);
    return path;
}

enum err shard_writer_new(const char *dir, const char *name, struct why why,
                          struct shard_writer **out)
{
    struct shard_writer *w = calloc(1, sizeof *w);
    enum err err = ERR_OK;

    if (!w)
        return why_fail(why, ERR_NOMEM, "out of memory");
    w->why = why;
    w->path = path_join(dir, name, "");
    w->temp_path = path_join(dir, name, ".part");
    w->header = json_object();
    w->notes = json_object();
    sha256_init(&w->sha);
    if (!w->path || !w->temp_path || !w->header || !w->notes ||
        json_object_set(w->header, "__metadata__", w->notes)) {
        err = why_fail(why, ERR_NOMEM, "out of memory");
        goto done;
    }
    w->file = fopen(w->temp_path, "wb");
    if (!w->file) {
        err = io_fail(w, w->temp_path);
        goto done;
    }
    *out = w;
    w = NULL;

done:
    shard_writer_free(w);
    return err;
}

void shard_writer_free(struct shard_writer *w)
{
    if (!w)
        return;
    if (w->file) {
        (void)fclose(w->file);
        (void)unlink(w->temp_path);
    }
    json_decref(w->notes);
    json_decref(w->header);
    free(w->parts);
    free(w->temp_path);
    free(w->path);
    free(w);
}

enum err shard_writer_note(struct shard_writer *w, const char *key,
                           const char *value)
{
    if (json_object_set_new(w->notes, key, json_string(value)))
        return no_memory(w);
    return ERR_OK;
}

// Append an entry of n_bytes at the data's present end to the header.
static enum err header_add(struct shard_writer *w, const char *name,
                           const char *dtype, json_t *shape, uint64_t n_bytes)
{
    uint64_t end = w->data_len + n_bytes;
    json_t *entry =
        json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", shape,
                  "data_offsets", (json_int_t)w->data_len, (json_int_t)end);

    if (!entry || json_object_set_new(w->header, name, entry))
        return no_memory(w);
    w->data_len = end;
    return ERR_OK;
}

static enum err fill_add(struct shard_writer *w, struct part *part)
{
    char name[TENSOR_NAME_MAX + 1];

    part->fill = (uint32_t)(-w->data_len % TENSOR_ALIGN);
    if (!part->fill)
        return ERR_OK;
    (void)snprintf(name, sizeof name, SHARD_PAD "%zu", w->n_parts);
    return header_add(w, name, "U8", json_pack("[I]", (json_int_t)part->fill),
                      part->fill);
}

static bool parts_grow(struct shard_writer *w)
{
    size_t cap = w->cap_parts ? 2 * w->cap_parts : 64;
    struct part *parts = realloc(w->parts, cap * sizeof *parts);

    if (!parts)
        return false;
    w->parts = parts;
    w->cap_parts = cap;
    return true;
}

enum err shard_writer_declare(struct shard_writer *w, const char *name,
                              enum tensor_dtype dtype, uint32_t n_dims,
                              const uint32_t *dims)
{
    struct part part = {0};
    size_t kind = 0;
    json_t *shape;
    enum err err;

    while (kind < N_DTYPES && dtypes[kind].dtype != dtype)
        kind++;
    if (kind == N_DTYPES || n_dims < 1 || n_dims > TENSOR_DIMS_MAX || !*name ||
        strlen(name) > TENSOR_NAME_MAX ||
        strncmp(name, SHARD_PAD, strlen(SHARD_PAD)) == 0)
        return why_fail(w->why, ERR_RANGE, "%s: %s: not a shard's tensor",
                        w->path, name);
    if (json_object_get(w->header, name))
        return why_fail(w->why, ERR_EXISTS, "%s: %s: declared twice", w->path,
                        name);
    if (w->n_parts == w->cap_parts && !parts_grow(w))
        return no_memory(w);
    part.n_bytes = dtypes[kind].size;
    shape = json_array();
    for (uint32_t i = 0; i < n_dims; i++) {
        if (dims[i] && part.n_bytes > INT64_MAX / 2 / dims[i]) {
            json_decref(shape);
            return why_fail(w->why, ERR_RANGE, "%s: %s: too large", w->path,
                            name);
        }
        part.n_bytes *= dims[i];
        if (json_array_append_new(shape, json_integer(dims[i]))) {
            json_decref(shape);
            return no_memory(w);
        }
    }
    err = header_add(w, name, dtypes[kind].name, shape, part.n_bytes);
    if (!err)
        err = fill_add(w, &part);
    if (!err)
        w->parts[w->n_parts++] = part;
    return err;
}

static enum err put(struct shard_writer *w, const void *data, size_t n_bytes)
{
    sha256_update(&w->sha, data, n_bytes);
    w->file_len += n_bytes;
    if (n_bytes && fwrite(data, 1, n_bytes, w->file) != n_bytes)
        return io_fail(w, w->temp_path);
    return ERR_OK;
}

enum err shard_writer_begin(struct shard_writer *w)
{
    static const char spaces[TENSOR_ALIGN + 1] =
        "                                "
        "                                ";
    char *json = json_dumps(w->header, JSON_COMPACT);
    uint8_t head[HEADER_LEN];
    size_t len, pad;
    enum err err;

    if (!json)
        return no_memory(w);
    len = strlen(json);
    pad = -(HEADER_LEN + len) % TENSOR_ALIGN;
    for (int i = 0; i < HEADER_LEN; i++)
        head[i] = (uint8_t)((uint64_t)(len + pad) >> 8 * i);
    err = put(w, head, sizeof head);
    if (!err)
        err = put(w, json, len);
    if (!err)
        err = put(w, spaces, pad);
    free(json);
    return err;
}

// Step over parts that are full, writing their fill.
static enum err parts_skip(struct shard_writer *w)
{
    static const uint8_t zeros[TENSOR_ALIGN] = {0};
    enum err err = ERR_OK;

    while (!err && w->part < w->n_parts &&
           w->part_len == w->parts[w->part].n_bytes) {
        err = put(w, zeros, w->parts[w->part].fill);
        w->part++;
        w->part_len = 0;
    }
    return err;
}

enum err shard_writer_write(struct shard_writer *w, const void *data,
                            size_t n_bytes)
{
    const uint8_t *p = data;
    enum err err = parts_skip(w);

    while (!err && n_bytes) {
        if (w->part == w->n_parts)
            return why_fail(w->why, ERR_RANGE,
                            "%s: more data than was declared", w->path);
        uint64_t room = w->parts[w->part].n_bytes - w->part_len;
        size_t n = n_bytes < room ? n_bytes : (size_t)room;

        err = put(w, p, n);
        p += n;
        n_bytes -= n;
        w->part_len += n;
        if (!err)
            err = parts_skip(w);
    }
    return err;
}

enum err shard_writer_finish(struct shard_writer *w, uint64_t *n_bytes,
                             uint8_t sha256[SHA256_LEN])
{
    enum err err = parts_skip(w);
    FILE *file = w->file;

    if (err)
        return err;
    if (w->part < w->n_parts)
        return why_fail(w->why, ERR_TRUNCATED,
                        "%s: less data than was declared", w->path);
    if (fflush(file) || fsync(fileno(file)))
        return io_fail(w, w->temp_path);
    w->file = NULL;
    if (fclose(file) || rename(w->temp_path, w->path)) {
        err = io_fail(w, w->temp_path);
        (void)unlink(w->temp_path);
        return err;
    }
    *n_bytes = w->file_len;
    sha256_final(&w->sha, sha256);
    return ERR_OK;
}

static enum err tensor_view(const struct safetensors_tensor *t,
                            const char *where, struct why why,
                            struct tensor *out)
{
    size_t kind = 0;

    while (kind < N_DTYPES && dtypes[kind].stored != t->dtype)
        kind++;
    if (kind == N_DTYPES)
        return why_fail(why, ERR_UNSUPPORTED,
                        "%s: %s: dtype %s does not belong in a shard", where,
                        t->name, t->dtype_name);
    if (strlen(t->name) > TENSOR_NAME_MAX)
        return why_fail(why, ERR_RANGE, "%s: %.80s: the name is too long",
                        where, t->name);
    if (t->n_dims < 1 || t->n_dims > TENSOR_DIMS_MAX)
        return why_fail(why, ERR_RANGE, "%s: %s: has %u dimensions", where,
                        t->name, t->n_dims);
    if ((uintptr_t)t->data % TENSOR_ALIGN)
        return why_fail(why, ERR_FORMAT, "%s: %s: not aligned to %d bytes",
                        where, t->name, TENSOR_ALIGN);
    *out = (struct tensor){.dtype = dtypes[kind].dtype,
                           .n_dims = t->n_dims,
                           .data = t->data,
                           .n_bytes = t->n_bytes};
    memcpy(out->name, t->name, strlen(t->name) + 1);
    for (uint32_t i = 0; i < t->n_dims; i++) {
        if (t->dims[i] > UINT32_MAX)
            return why_fail(why, ERR_RANGE, "%s: %s: a dimension is too large",
                            where, t->name);
        out->dims[i] = (uint32_t)t->dims[i];
    }
    return ERR_OK;
}

enum err shard_parse(const uint8_t *buf, size_t len, const char *where,
                     struct why why, struct tensor **tensors, size_t *n_tensors)
{
    struct safetensors st = {0};
    struct tensor *made = NULL;
    size_t n = 0;
    enum err err;

    err = safetensors_parse(buf, len, where, why, &st);
    if (err)
        return err;
    made = calloc(st.n_tensors + 1, sizeof *made);
    if (!made) {
        err = why_fail(why, ERR_NOMEM, "%s: out of memory", where);
        goto done;
    }
    for (size_t i = 0; !err && i < st.n_tensors; i++) {
        const struct safetensors_tensor *t = &st.tensors[i];

        if (strncmp(t->name, SHARD_PAD, strlen(SHARD_PAD)) != 0)
            err = tensor_view(t, where, why, &made[n++]);
    }
    if (!err) {
        *tensors = made;
        *n_tensors = n;
        made = NULL;
    }

done:
    free(made);
    safetensors_release(&st);
    return err;
}
