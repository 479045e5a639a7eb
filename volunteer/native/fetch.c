#include "native/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/sha256.h"
#include "native/download.h"
#include "splitter/manifest.h"

enum {
    LIST_MAX = 4 << 20,
    LIST_TIMEOUT_MS = 20000,
    TRIES = 6,
    BACKOFF_MAX_MS = 5000,
    LOCK_POLL_MS = 200,
    HEX_LEN = 2 * SHA256_LEN,
};

// One model on its way into its folder.
struct job {
    const struct native_fetch *fetch;
    char id[HEX_LEN + 1];
    char folder[NATIVE_PATH_MAX];
    struct manifest manifest;
    uint32_t span_first, span_end;
    uint64_t before, total; // bytes of the span before this shard; of all
    char *why;
    size_t why_len;
};

static void hex(const uint8_t *src, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", src[i]);
}

static bool is_hex(const char *s, size_t len)
{
    return strlen(s) == len && strspn(s, "0123456789abcdef") == len;
}

static enum err path_join(const char *folder, const char *leaf,
                          char out[NATIVE_PATH_MAX])
{
    int n = snprintf(out, NATIVE_PATH_MAX, "%s/%s", folder, leaf);

    return n > 0 && n < NATIVE_PATH_MAX ? ERR_OK : ERR_RANGE;
}

// A GET of a small thing, whole, with a few tries.
static enum err get_small(struct job *job, const char *url, size_t reply_max,
                          struct native_reply *out)
{
    enum err err = ERR_IO;

    for (unsigned attempt = 0; attempt < TRIES && err == ERR_IO; attempt++) {
        if (attempt)
            native_net_sleep(job->fetch->net,
                             native_backoff_ms(attempt, BACKOFF_MAX_MS));
        err = native_net_do(job->fetch->net,
                            &(struct native_request){
                                .method = "GET",
                                .url = url,
                                .timeout_ms = LIST_TIMEOUT_MS,
                                .reply_max = reply_max,
                            },
                            out);
        if (err) {
            snprintf(job->why, job->why_len, "%s: %s", url,
                     native_net_why(job->fetch->net));
            continue;
        }
        if (out->status == 200)
            return ERR_OK;
        native_reply_why(out, job->why, job->why_len);
        err = out->status == 404 ? ERR_NOT_FOUND : ERR_IO;
        native_reply_release(out);
    }
    return err;
}

// Find the model's whole id in the server's list by its first 16 bytes.
static enum err id_find(struct job *job, const uint8_t model[SYN1_ID_LEN])
{
    char url[NATIVE_URL_MAX], prefix[2 * SYN1_ID_LEN + 1];
    struct native_reply reply;
    json_t *root, *entry;
    size_t i;
    enum err err;

    hex(model, SYN1_ID_LEN, prefix);
    snprintf(url, sizeof url, "%s/v1/models", job->fetch->url);
    err = get_small(job, url, LIST_MAX, &reply);
    if (err)
        return err;
    root = json_loadb((const char *)reply.body, reply.len, 0, NULL);
    native_reply_release(&reply);
    if (!root) {
        snprintf(job->why, job->why_len, "%s: not JSON", url);
        return ERR_FORMAT;
    }
    err = ERR_NOT_FOUND;
    json_array_foreach(json_object_get(root, "data"), i, entry)
    {
        const char *id = json_string_value(
            json_object_get(json_object_get(entry, "synapse"), "model_id"));

        if (!id || !is_hex(id, HEX_LEN) ||
            strncmp(id, prefix, strlen(prefix)) != 0)
            continue;
        memcpy(job->id, id, HEX_LEN + 1);
        err = ERR_OK;
        break;
    }
    json_decref(root);
    if (err)
        snprintf(job->why, job->why_len, "the server lists no model %s",
                 prefix);
    return err;
}

// Take the folder's lock, so that one program at a time fetches into it.
static enum err lock_take(struct job *job, int *out)
{
    char path[NATIVE_PATH_MAX];
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    enum err err = path_join(job->folder, ".lock", path);
    int fd;

    if (err)
        return err;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        snprintf(job->why, job->why_len, "%s: %s", path, strerror(errno));
        return ERR_IO;
    }
    while (fcntl(fd, F_SETLK, &whole)) {
        if (errno != EACCES && errno != EAGAIN) {
            snprintf(job->why, job->why_len, "%s: %s", path, strerror(errno));
            close(fd);
            return ERR_IO;
        }
        native_net_sleep(job->fetch->net, LOCK_POLL_MS);
        if (native_net_stopped(job->fetch->net)) {
            close(fd);
            return ERR_GONE;
        }
    }
    *out = fd;
    return ERR_OK;
}

// The manifest's bytes from the server, checked against the id.
static enum err manifest_get(struct job *job, struct native_reply *out)
{
    char url[NATIVE_URL_MAX], got[HEX_LEN + 1];
    uint8_t digest[SHA256_LEN];
    enum err err;

    snprintf(url, sizeof url, "%s/v1/models/%s/manifest.json", job->fetch->url,
             job->id);
    err = get_small(job, url, MANIFEST_BYTES_MAX, out);
    if (err)
        return err;
    sha256(out->body, out->len, digest);
    hex(digest, sizeof digest, got);
    if (strcmp(got, job->id) == 0)
        return ERR_OK;
    native_reply_release(out);
    snprintf(job->why, job->why_len, "%s: its SHA-256 is not the model's id",
             url);
    return ERR_CHECKSUM;
}

static void on_shard_progress(uint64_t have, void *ctx)
{
    const struct job *job = ctx;

    if (job->fetch->on_progress)
        job->fetch->on_progress(job->manifest.name, job->before + have,
                                job->total, job->fetch->ctx);
}

static enum err shards_fetch(struct job *job)
{
    enum err err = ERR_OK;

    if (job->span_first >= job->span_end ||
        job->span_end > job->manifest.n_shards) {
        snprintf(job->why, job->why_len, "%s has %u shards, not %u",
                 job->manifest.name, (unsigned)job->manifest.n_shards,
                 (unsigned)job->span_end);
        return ERR_RANGE;
    }
    for (uint32_t i = job->span_first; i < job->span_end; i++)
        job->total += job->manifest.shards[i].file.n_bytes;
    for (uint32_t i = job->span_first; i < job->span_end && !err; i++) {
        const struct manifest_file *file = &job->manifest.shards[i].file;
        char path[NATIVE_PATH_MAX], url[NATIVE_URL_MAX];

        err = path_join(job->folder, file->name, path);
        if (err)
            return err;
        snprintf(url, sizeof url, "%s/v1/models/%s/shards/%s", job->fetch->url,
                 job->id, file->name);
        err = native_download(
            &(struct native_download){.net = job->fetch->net,
                                      .url = url,
                                      .path = path,
                                      .n_bytes = file->n_bytes,
                                      .sha256 = file->sha256,
                                      .on_progress = on_shard_progress,
                                      .ctx = job},
            job->why, job->why_len);
        job->before += file->n_bytes;
    }
    return err;
}

// Fill the folder. The manifest comes last: a folder that has one has a span.
static enum err folder_fill(struct job *job)
{
    struct native_reply reply;
    char path[NATIVE_PATH_MAX];
    enum err err = manifest_get(job, &reply);

    if (err)
        return err;
    err = manifest_parse(reply.body, reply.len,
                         (struct why){job->why, job->why_len}, &job->manifest);
    if (err)
        goto done;
    err = shards_fetch(job);
    if (!err)
        err = path_join(job->folder, MANIFEST_FILE, path);
    if (!err)
        err = native_file_put(path, reply.body, reply.len);
    manifest_release(&job->manifest);

done:
    native_reply_release(&reply);
    return err;
}

enum err native_fetch_model(const struct native_fetch *fetch,
                            const uint8_t model[SYN1_ID_LEN],
                            uint16_t span_first, uint16_t span_end,
                            char out[NATIVE_PATH_MAX], char *why,
                            size_t why_len)
{
    struct job job = {.fetch = fetch,
                      .span_first = span_first,
                      .span_end = span_end,
                      .why = why,
                      .why_len = why_len};
    int lock = -1;
    enum err err;

    snprintf(why, why_len, "%s", "");
    err = id_find(&job, model);
    if (!err)
        err = path_join(fetch->cache, job.id, job.folder);
    if (!err)
        err = native_folders_make(job.folder, false);
    if (!err)
        err = lock_take(&job, &lock);
    if (!err) {
        err = folder_fill(&job);
        close(lock);
    }
    if (err && !why[0])
        snprintf(why, why_len, "%s: %s", job.folder, err_text(err));
    if (!err)
        memcpy(out, job.folder, sizeof job.folder);
    return err;
}
