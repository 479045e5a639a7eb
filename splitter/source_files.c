#include "splitter/source_files.h"

#include <stdlib.h>
#include <string.h>

#include "splitter/json_fields.h"

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

static int by_name(const void *a, const void *b)
{
    const struct source_file *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static struct source_file *file_find(const struct source_files *s,
                                     const char *name)
{
    for (size_t lo = 0, hi = s->n_files; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        int order = strcmp(name, s->files[mid].name);

        if (!order)
            return &s->files[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static enum err file_open(struct source_file *file, const char *dir,
                          struct why why)
{
    enum err err = file_map_init(&file->map, dir, file->name, why);

    if (!err)
        err = safetensors_parse(file->map.data, file->map.len, file->name, why,
                                &file->tensors);
    return err;
}

// A name in the index is not allowed to leave the folder.
static bool file_name_ok(const char *name)
{
    return name && *name && *name != '.' &&
           strlen(name) <= SOURCE_FILE_NAME_MAX && !strpbrk(name, "/\\");
}

// Collect the different file names of the index, sorted.
static enum err index_names(struct source_files *s, struct why why)
{
    size_t n_map = json_object_size(s->weight_map), n = 0;
    const char *tensor;
    json_t *value;

    if (n_map == 0 || n_map > SAFETENSORS_TENSORS_MAX)
        return why_fail(why, ERR_RANGE, "%s: weight_map has %zu entries",
                        index_name, n_map);
    const char **names = calloc(n_map, sizeof *names);

    if (!names)
        return why_fail(why, ERR_NOMEM, "%s: out of memory", index_name);
    json_object_foreach(s->weight_map, tensor, value)
    {
        const char *name = json_string_value(value);

        if (!file_name_ok(name)) {
            free(names);
            return why_fail(why, ERR_FORMAT,
                            "%s: weight_map: %.80s: %.80s is not a file name",
                            index_name, tensor, name ? name : "this");
        }
        size_t at = 0;

        while (at < n && strcmp(names[at], name) != 0)
            at++;
        if (at == n)
            names[n++] = name;
        if (n > SOURCE_FILES_MAX)
            break;
    }
    if (n <= SOURCE_FILES_MAX)
        s->files = calloc(n + 1, sizeof *s->files);
    for (size_t i = 0; s->files && i < n; i++)
        memcpy(s->files[i].name, names[i], strlen(names[i]) + 1);
    free(names);
    if (n > SOURCE_FILES_MAX)
        return why_fail(why, ERR_RANGE, "%s: more than %d files", index_name,
                        SOURCE_FILES_MAX);
    if (!s->files)
        return why_fail(why, ERR_NOMEM, "%s: out of memory", index_name);
    s->n_files = n;
    qsort(s->files, n, sizeof *s->files, by_name);
    return ERR_OK;
}

static enum err index_check(const struct source_files *s, struct why why)
{
    const char *tensor;
    json_t *value;

    json_object_foreach(s->weight_map, tensor, value)
    {
        const struct source_file *file = file_find(s, json_string_value(value));

        if (!file || !safetensors_find(&file->tensors, tensor))
            return why_fail(why, ERR_NOT_FOUND,
                            "%s: weight_map: %.80s is not in %.80s", index_name,
                            tensor, json_string_value(value));
    }
    return ERR_OK;
}

static enum err index_load(struct source_files *s, const char *dir,
                           struct why why)
{
    struct file_map map;
    enum err err = file_map_init(&map, dir, index_name, why);

    if (err == ERR_NOT_FOUND)
        return why_fail(why, err, "%s: no such file in %s, nor %s", single_name,
                        dir, index_name);
    if (err)
        return err;
    err = json_fields_parse(map.data, map.len, index_name, why, &s->index);
    file_map_release(&map);
    if (err)
        return err;
    s->where = index_name;
    s->weight_map = json_object_get(s->index, "weight_map");
    if (!json_is_object(s->weight_map))
        return why_fail(why, ERR_FORMAT, "%s: weight_map: not an object",
                        index_name);
    err = index_names(s, why);
    for (size_t i = 0; !err && i < s->n_files; i++)
        err = file_open(&s->files[i], dir, why);
    return err ? err : index_check(s, why);
}

static enum err single_load(struct source_files *s, const char *dir,
                            struct why why)
{
    s->where = single_name;
    s->files = calloc(1, sizeof *s->files);
    if (!s->files)
        return why_fail(why, ERR_NOMEM, "%s: out of memory", single_name);
    s->n_files = 1;
    memcpy(s->files[0].name, single_name, sizeof single_name);
    return file_open(&s->files[0], dir, why);
}

enum err source_files_init(struct source_files *s, const char *dir,
                           struct why why)
{
    struct source_files made = {0};
    enum err err = single_load(&made, dir, why);

    if (err == ERR_NOT_FOUND) {
        source_files_release(&made);
        err = index_load(&made, dir, why);
    }
    if (err)
        source_files_release(&made);
    else
        *s = made;
    return err;
}

void source_files_release(struct source_files *s)
{
    for (size_t i = 0; i < s->n_files; i++) {
        safetensors_release(&s->files[i].tensors);
        file_map_release(&s->files[i].map);
    }
    free(s->files);
    json_decref(s->index);
    *s = (struct source_files){0};
}

const struct safetensors_tensor *
source_files_find(const struct source_files *s, const char *name,
                  const struct source_file **file)
{
    const char *file_name = single_name;

    if (s->index)
        file_name = json_string_value(json_object_get(s->weight_map, name));
    *file = file_name ? file_find(s, file_name) : NULL;
    return *file ? safetensors_find(&(*file)->tensors, name) : NULL;
}
