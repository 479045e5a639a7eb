#include "api/models.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/query.h"
#include "splitter/why.h"
#include "tokenizer/tokenizer.h"

enum { MODEL_PATH_MAX = 4096 };

// Read the whole of a small file. *made_ms: when it was last changed.
static enum err file_read(int dir_fd, const char *name, char **text,
                          size_t *len, int64_t *made_ms)
{
    enum err err = ERR_IO;
    char *buf = NULL;
    struct stat st;
    size_t done = 0;
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return ERR_NOT_FOUND;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < 0 ||
        st.st_size > MANIFEST_BYTES_MAX)
        goto done;
    buf = malloc((size_t)st.st_size + 1);
    if (!buf) {
        err = ERR_NOMEM;
        goto done;
    }
    while (done < (size_t)st.st_size) {
        ssize_t n = read(fd, buf + done, (size_t)st.st_size - done);

        if (n <= 0)
            goto done;
        done += (size_t)n;
    }
    buf[done] = '\0';
    *text = buf;
    *len = done;
    *made_ms = (int64_t)st.st_mtime * 1000;
    buf = NULL;
    err = ERR_OK;

done:
    free(buf);
    close(fd);
    return err;
}

// Every shard is there and as long as the manifest says. (Whoever loads one
// checks its hash.)
static enum err shards_check(const struct api_model *m, const char *dir,
                             struct why why)
{
    for (uint32_t i = 0; i < m->manifest.n_shards; i++) {
        const struct manifest_file *f = &m->manifest.shards[i].file;
        struct stat st;

        if (fstatat(m->dir_fd, f->name, &st, 0))
            return why_fail(why, ERR_NOT_FOUND, "%s/%s: missing", dir, f->name);
        if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != f->n_bytes)
            return why_fail(why, ERR_FORMAT,
                            "%s/%s: has %lld bytes, the manifest says %llu",
                            dir, f->name, (long long)st.st_size,
                            (unsigned long long)f->n_bytes);
    }
    return ERR_OK;
}

static void model_release(struct api_model *m)
{
    tokenizer_free(m->tokenizer);
    manifest_release(&m->manifest);
    free(m->manifest_text);
    if (m->dir_fd >= 0)
        close(m->dir_fd);
}

// The text of the chat template in tokenizer_config.json: a string, or of
// several named ones the default.
static const char *template_of(const json_t *config)
{
    const json_t *v = json_object_get(config, "chat_template");

    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        const char *name = json_string_value(json_object_get(item, "name"));

        if (name && strcmp(name, "default") == 0)
            return json_string_value(json_object_get(item, "template"));
    }
    return json_string_value(v);
}

// Which chat template does the model have? It may be a file of its own.
static enum err chat_find(struct api_model *m)
{
    char *text = NULL;
    size_t len;
    int64_t made_ms;
    json_t *config;
    enum err err;

    err = file_read(m->dir_fd, "chat_template.jinja", &text, &len, &made_ms);
    if (!err) {
        api_chat_template_read(text, &m->chat);
    } else if (err == ERR_NOT_FOUND) {
        err = file_read(m->dir_fd, "tokenizer_config.json", &text, &len,
                        &made_ms);
        if (!err) {
            config = json_loadb(text, len, 0, NULL);
            api_chat_template_read(template_of(config), &m->chat);
            json_decref(config);
        }
    }
    free(text);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err model_load(const char *dir, struct api_model *out,
                           char *why_text, size_t why_len)
{
    struct why why = {why_text, why_len};
    struct api_model m = {.dir_fd = -1};
    char path[MODEL_PATH_MAX];
    enum err err;

    m.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m.dir_fd < 0)
        return why_fail(why, ERR_NOT_FOUND, "%s: no such folder", dir);
    err = file_read(m.dir_fd, MANIFEST_FILE, &m.manifest_text, &m.manifest_len,
                    &m.made_ms);
    if (err) {
        why_fail(why, err, "%s/%s: cannot be read", dir, MANIFEST_FILE);
        goto done;
    }
    err = manifest_parse(m.manifest_text, m.manifest_len, why, &m.manifest);
    if (err)
        goto done;
    sha256(m.manifest_text, m.manifest_len, m.id);
    api_query_hex_put(m.id, sizeof m.id, m.id_hex);
    for (uint32_t i = 0; i < m.manifest.n_shards; i++) {
        m.n_bytes += m.manifest.shards[i].file.n_bytes;
        m.n_params += m.manifest.shards[i].n_params;
    }
    err = shards_check(&m, dir, why);
    if (err)
        goto done;
    if (snprintf(path, sizeof path, "%s/tokenizer.json", dir) >=
        (int)sizeof path) {
        err = why_fail(why, ERR_RANGE, "%s: the path is too long", dir);
        goto done;
    }
    err = tokenizer_load(path, &m.tokenizer, why_text, why_len);
    if (err)
        goto done;
    err = chat_find(&m);
    if (err) {
        why_fail(why, err, "%s: its chat template cannot be read", dir);
        goto done;
    }
    *out = m;
    m = (struct api_model){.dir_fd = -1};

done:
    model_release(&m);
    return err;
}

static enum err add(struct api_models *models, const char *dir, char *why,
                    size_t why_len)
{
    struct why line = {why, why_len};
    struct api_model *m = &models->items[models->n];
    enum err err;

    if (models->n == API_MODELS_MAX)
        return why_fail(line, ERR_FULL, "%s: more than %d models", dir,
                        API_MODELS_MAX);
    err = model_load(dir, m, why, why_len);
    if (err)
        return err;
    if (api_models_find(models, m->manifest.name)) {
        err = why_fail(line, ERR_EXISTS, "%s: a second model is named %s", dir,
                       m->manifest.name);
        model_release(m);
        return err;
    }
    models->n++;
    return ERR_OK;
}

static bool has_manifest(const char *dir)
{
    char path[MODEL_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/" MANIFEST_FILE, dir);

    return n > 0 && n < (int)sizeof path && access(path, F_OK) == 0;
}

enum err api_models_load(const char *dir, struct api_models *models, char *why,
                         size_t why_len)
{
    struct why line = {why, why_len};
    struct dirent **names = NULL;
    char path[MODEL_PATH_MAX];
    enum err err = ERR_OK;
    int n;

    models->n = models->n_aliases = 0;
    if (has_manifest(dir))
        return add(models, dir, why, why_len);
    n = scandir(dir, &names, NULL, alphasort);
    if (n < 0)
        return why_fail(line, ERR_NOT_FOUND, "%s: no such folder", dir);
    for (int i = 0; i < n; i++) {
        int len = snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);

        if (err == ERR_OK && names[i]->d_name[0] != '.' && len > 0 &&
            len < (int)sizeof path && has_manifest(path))
            err = add(models, path, why, why_len);
        free(names[i]);
    }
    free(names);
    if (err == ERR_OK && models->n == 0)
        err = why_fail(line, ERR_NOT_FOUND,
                       "%s: no model folder there (make one by `synapse "
                       "split`)",
                       dir);
    if (err)
        api_models_release(models);
    return err;
}

void api_models_release(struct api_models *models)
{
    for (size_t i = 0; i < models->n; i++)
        model_release(&models->items[i]);
    models->n = models->n_aliases = 0;
}

static bool is_printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 127)
            return false;
    return true;
}

enum err api_models_alias(struct api_models *models, const char *text,
                          char *why_text, size_t why_len)
{
    struct why why = {why_text, why_len};
    struct api_alias *alias = &models->aliases[models->n_aliases];
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : 0;
    const struct api_model *model;

    if (len == 0 || len > API_ALIAS_LEN_MAX || !is_printable(text))
        return why_fail(why, ERR_FORMAT, "%.300s: write NAME=MODEL", text);
    if (models->n_aliases == API_ALIASES_MAX)
        return why_fail(why, ERR_FULL, "more than %d", API_ALIASES_MAX);
    model = api_models_find(models, equals + 1);
    if (!model)
        return why_fail(why, ERR_NOT_FOUND, "%.300s: there is no model %.300s",
                        text, equals + 1);
    memcpy(alias->name, text, len);
    alias->name[len] = '\0';
    if (api_models_find(models, alias->name))
        return why_fail(why, ERR_EXISTS, "%.300s: that name is taken", text);
    alias->model = model;
    models->n_aliases++;
    return ERR_OK;
}

void api_models_names(const struct api_models *models, char *out, size_t cap)
{
    size_t at = 0;

    *out = '\0';
    for (size_t i = 0; i < models->n + models->n_aliases && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%s", i ? ", " : "",
                               i < models->n
                                   ? models->items[i].manifest.name
                                   : models->aliases[i - models->n].name);
}

const char *api_models_alias_of(const struct api_models *models,
                                const char *name)
{
    for (size_t i = 0; i < models->n_aliases; i++)
        if (strcmp(models->aliases[i].name, name) == 0)
            return models->aliases[i].name;
    return NULL;
}

const struct api_model *api_models_find(const struct api_models *models,
                                        const char *name)
{
    for (size_t i = 0; i < models->n; i++) {
        const struct api_model *m = &models->items[i];

        if (strcmp(m->manifest.name, name) == 0 ||
            strcasecmp(m->id_hex, name) == 0)
            return m;
    }
    for (size_t i = 0; i < models->n_aliases; i++)
        if (strcmp(models->aliases[i].name, name) == 0)
            return models->aliases[i].model;
    return NULL;
}
