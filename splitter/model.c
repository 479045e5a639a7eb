#include "splitter/model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "splitter/file_map.h"
#include "splitter/shard.h"

enum { HASH_PIECE = 8 << 20 }; // bytes hashed before their memory is let go

struct mapped_shard {
    struct file_map map;
    struct tensor *tensors; // NULL: not mapped yet
    size_t n_tensors;
};

struct model {
    char *dir;
    struct file_map text; // manifest.json
    struct manifest manifest;
    struct mapped_shard *shards;
    uint8_t id[SHA256_LEN];
    char id_text[MANIFEST_HASH_LEN + 1];
};

static uint32_t n_files(const struct model *m)
{
    return m->manifest.n_shards + m->manifest.n_files;
}

// Shards first, then the other files.
static const struct manifest_file *file_at(const struct model *m, uint32_t i)
{
    uint32_t n_shards = m->manifest.n_shards;

    return i < n_shards ? &m->manifest.shards[i].file
                        : &m->manifest.files[i - n_shards];
}

// Map a file of the folder; it must have the size that the manifest says.
static enum err file_map_checked(const struct model *m,
                                 const struct manifest_file *file,
                                 struct file_map *map, struct why why)
{
    enum err err = file_map_init(map, m->dir, file->name, why);
    size_t len;

    if (err)
        return err;
    len = map->len;
    if (len == file->n_bytes)
        return ERR_OK;
    file_map_release(map);
    return why_fail(why, ERR_TRUNCATED,
                    "%s: has %zu bytes, the manifest says %" PRIu64, file->name,
                    len, file->n_bytes);
}

static enum err sizes_check(const struct model *m, struct why why)
{
    enum err err = ERR_OK;

    for (uint32_t i = 0; !err && i < n_files(m); i++) {
        struct file_map map = {0};

        err = file_map_checked(m, file_at(m, i), &map, why);
        file_map_release(&map);
    }
    return err;
}

enum err model_open(const char *dir, struct model **out, char *why_text,
                    size_t why_len)
{
    struct why why = {why_text, why_len};
    struct model *m = calloc(1, sizeof *m);
    enum err err;

    if (!m)
        return why_fail(why, ERR_NOMEM, "out of memory");
    m->dir = strdup(dir);
    if (!m->dir) {
        err = why_fail(why, ERR_NOMEM, "out of memory");
        goto done;
    }
    err = file_map_init(&m->text, dir, MANIFEST_FILE, why);
    if (err)
        goto done;
    err = manifest_parse(m->text.data, m->text.len, why, &m->manifest);
    if (err)
        goto done;
    sha256(m->text.data, m->text.len, m->id);
    manifest_hash_text(m->id, m->id_text);
    m->shards = calloc(m->manifest.n_shards, sizeof *m->shards);
    if (!m->shards) {
        err = why_fail(why, ERR_NOMEM, "out of memory");
        goto done;
    }
    err = sizes_check(m, why);
    if (err)
        goto done;
    *out = m;
    m = NULL;

done:
    model_free(m);
    return err;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; m->shards && i < m->manifest.n_shards; i++) {
        free(m->shards[i].tensors);
        file_map_release(&m->shards[i].map);
    }
    free(m->shards);
    manifest_release(&m->manifest);
    file_map_release(&m->text);
    free(m->dir);
    free(m);
}

const struct manifest *model_manifest(const struct model *m)
{
    return &m->manifest;
}

const char *model_dir(const struct model *m)
{
    return m->dir;
}

const uint8_t *model_manifest_bytes(const struct model *m, size_t *len)
{
    *len = m->text.len;
    return m->text.data;
}

const uint8_t *model_id(const struct model *m)
{
    return m->id;
}

const char *model_id_text(const struct model *m)
{
    return m->id_text;
}

static void map_hash(const struct file_map *map, uint8_t out[SHA256_LEN])
{
    struct sha256 sha;

    sha256_init(&sha);
    for (size_t at = 0; at < map->len;) {
        size_t n = map->len - at < HASH_PIECE ? map->len - at : HASH_PIECE;

        sha256_update(&sha, map->data + at, n);
        file_map_drop(map, at, n);
        at += n;
    }
    sha256_final(&sha, out);
}

enum err model_verify(const struct model *m, char *why_text, size_t why_len)
{
    struct why why = {why_text, why_len};

    for (uint32_t i = 0; i < n_files(m); i++) {
        const struct manifest_file *file = file_at(m, i);
        struct file_map map = {0};
        uint8_t hash[SHA256_LEN];
        enum err err = file_map_checked(m, file, &map, why);

        if (err)
            return err;
        map_hash(&map, hash);
        file_map_release(&map);
        if (memcmp(hash, file->sha256, sizeof hash) != 0)
            return why_fail(why, ERR_CHECKSUM,
                            "%s: its SHA-256 is not the manifest's",
                            file->name);
    }
    return ERR_OK;
}

static uint64_t shard_bytes(const struct model *m)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < m->manifest.n_shards; i++)
        sum += m->manifest.shards[i].file.n_bytes;
    return sum;
}

enum err model_shard_map(struct model *m, uint32_t shard,
                         const struct tensor **tensors, size_t *n_tensors,
                         char *why_text, size_t why_len)
{
    struct why why = {why_text, why_len};
    const struct manifest_file *file;
    struct mapped_shard *s;
    enum err err;

    if (shard >= m->manifest.n_shards)
        return why_fail(why, ERR_RANGE, "shard %" PRIu32 " of %" PRIu32, shard,
                        m->manifest.n_shards);
    s = &m->shards[shard];
    file = &m->manifest.shards[shard].file;
    if (!s->tensors) {
        err = file_map_checked(m, file, &s->map, why);
        if (!err && file_map_fits(shard_bytes(m)))
            file_map_load(&s->map);
        if (!err)
            err = shard_parse(s->map.data, s->map.len, file->name, why,
                              &s->tensors, &s->n_tensors);
        if (err) {
            file_map_release(&s->map);
            return err;
        }
    }
    *tensors = s->tensors;
    *n_tensors = s->n_tensors;
    return ERR_OK;
}
