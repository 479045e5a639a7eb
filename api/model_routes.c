#include "api/model_routes.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/models.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/server.h"

static json_t *model_json(const struct api_model *m, const char *name)
{
    const char *real = m->manifest.name;

    return json_pack(
        "{s:s, s:s, s:I, s:s, s:{s:s, s:I, s:I, s:s?}}", "id", name, "object",
        "model", "created", (json_int_t)(m->made_ms / 1000), "owned_by",
        "synapse", "synapse", "model_id", m->id_hex, "context",
        (json_int_t)m->manifest.arch.n_ctx, "bytes", (json_int_t)m->n_bytes,
        "alias_of", name == real ? NULL : real);
}

void api_model_list(struct api_request *req)
{
    const struct api_models *models = &req->server->models;
    json_t *data = json_array();

    for (size_t i = 0; i < models->n; i++)
        json_array_append_new(data, model_json(&models->items[i],
                                               models->items[i].manifest.name));
    for (size_t i = 0; i < models->n_aliases; i++)
        json_array_append_new(data, model_json(models->aliases[i].model,
                                               models->aliases[i].name));
    api_reply_json(req, 200,
                   json_pack("{s:s, s:o}", "object", "list", "data", data));
}

static const struct api_model *model_of(struct api_request *req)
{
    const struct api_model *m =
        api_models_find(&req->server->models, req->args[0]);
    char names[160];

    api_models_names(&req->server->models, names, sizeof names);
    if (!m)
        api_reply_error(req, 404, "model", "model_not_found",
                        "this server has no model %s; it has %s", req->args[0],
                        names);
    return m;
}

void api_model_get(struct api_request *req)
{
    const struct api_model *m = model_of(req);
    const char *name;

    if (!m)
        return;
    name = api_models_alias_of(&req->server->models, req->args[0]);
    api_reply_json(req, 200, model_json(m, name ? name : m->manifest.name));
}

// A file of the model's folder, which is never changed under its hash.
static void file_serve(struct api_request *req, const struct api_model *m,
                       const char *name, uint64_t n_bytes,
                       const uint8_t hash[SHA256_LEN], const char *type,
                       bool immutable)
{
    char etag[2 * SHA256_LEN + 1];
    struct stat st;
    int fd = openat(m->dir_fd, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) || (uint64_t)st.st_size != n_bytes) {
        if (fd >= 0)
            close(fd);
        api_reply_error(req, 500, NULL, "file_changed",
                        "%s of model %s was changed or removed on the server",
                        name, m->manifest.name);
        return;
    }
    api_query_hex_put(hash, SHA256_LEN, etag);
    api_reply_file(req, &(struct api_reply_file){.fd = fd,
                                                 .size = n_bytes,
                                                 .content_type = type,
                                                 .etag = etag,
                                                 .immutable = immutable});
}

void api_model_manifest(struct api_request *req)
{
    const struct api_model *m = model_of(req);

    if (!m)
        return;
    // By its id it can never change; by its name it can.
    file_serve(req, m, MANIFEST_FILE, m->manifest_len, m->id,
               "application/json", strlen(req->args[0]) == API_MODEL_ID_HEX);
}

void api_model_shard(struct api_request *req)
{
    const struct api_model *m = model_of(req);

    if (!m)
        return;
    for (uint32_t i = 0; i < m->manifest.n_shards; i++) {
        const struct manifest_file *f = &m->manifest.shards[i].file;

        if (strcmp(f->name, req->args[1]) == 0) {
            file_serve(req, m, f->name, f->n_bytes, f->sha256,
                       "application/octet-stream", true);
            return;
        }
    }
    for (uint32_t i = 0; i < m->manifest.n_files; i++) {
        const struct manifest_file *f = &m->manifest.files[i];

        if (strcmp(f->name, req->args[1]) == 0) {
            file_serve(req, m, f->name, f->n_bytes, f->sha256,
                       "application/octet-stream", true);
            return;
        }
    }
    api_reply_error(req, 404, "file", "shard_not_found",
                    "model %s has no shard %s", m->manifest.name, req->args[1]);
}
