#include "native/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "native/account.h"

enum {
    TRIES = 6,
    BACKOFF_MAX_MS = 5000,
    ERROR_MAX = 1 << 16, // bytes of an error reply
    PROGRESS_MS = 1000,
    COPY_LEN = 1 << 16,
};

// The file on its way.
struct part {
    const struct native_download *d;
    int fd;
    struct sha256 hash;
    uint64_t at; // bytes in the file and in the hash
    bool fresh;  // no data came by this request yet
    int64_t told_ms;
};

static void tell(struct part *part, bool now)
{
    int64_t ms = native_now_ms();

    if (!part->d->on_progress || (!now && ms - part->told_ms < PROGRESS_MS))
        return;
    part->told_ms = ms;
    part->d->on_progress(part->at, part->d->ctx);
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

// Read what is in the file already into the hash.
static enum err part_catch_up(struct part *part)
{
    uint8_t *buf = malloc(COPY_LEN);
    ssize_t n = 0;

    if (!buf)
        return ERR_NOMEM;
    sha256_init(&part->hash);
    part->at = 0;
    while (part->at <= part->d->n_bytes &&
           (n = read(part->fd, buf, COPY_LEN)) > 0) {
        sha256_update(&part->hash, buf, (size_t)n);
        part->at += (uint64_t)n;
    }
    free(buf);
    return n < 0 ? ERR_IO : ERR_OK;
}

static bool part_restart(struct part *part)
{
    sha256_init(&part->hash);
    part->at = 0;
    return !ftruncate(part->fd, 0) && lseek(part->fd, 0, SEEK_SET) == 0;
}

static bool on_data(long status, const uint8_t *data, size_t len, void *ctx)
{
    struct part *part = ctx;

    // A server that ignores ranges starts from the first byte.
    if (part->fresh && status == 200 && part->at && !part_restart(part))
        return false;
    part->fresh = false;
    if (len > part->d->n_bytes - part->at || !write_all(part->fd, data, len))
        return false;
    sha256_update(&part->hash, data, len);
    part->at += len;
    tell(part, false);
    return true;
}

// Bring the rest of the part by one request.
static enum err part_request(struct part *part, char *why, size_t why_len)
{
    struct native_reply reply;
    enum err err;

    part->fresh = true;
    err = native_net_do(part->d->net,
                        &(struct native_request){
                            .method = "GET",
                            .url = part->d->url,
                            .range_from = part->at,
                            .reply_max = ERROR_MAX,
                            .sink = on_data,
                            .sink_ctx = part,
                        },
                        &reply);
    if (err) {
        snprintf(why, why_len, "%s: %s", part->d->url,
                 native_net_why(part->d->net));
        return err;
    }
    if (reply.status != 200 && reply.status != 206) {
        native_reply_why(&reply, why, why_len);
        err = reply.status == 404 ? ERR_NOT_FOUND : ERR_IO;
        if (reply.status == 416) // the part is longer than the file
            (void)part_restart(part);
    }
    native_reply_release(&reply);
    return err;
}

// Bring the part until it has its size. Tries count only while nothing comes.
static enum err part_fill(struct part *part, char *why, size_t why_len)
{
    for (unsigned tries = 0; part->at < part->d->n_bytes; tries++) {
        uint64_t before = part->at;
        enum err err;

        if (tries == TRIES)
            return ERR_IO;
        if (tries)
            native_net_sleep(part->d->net,
                             native_backoff_ms(tries, BACKOFF_MAX_MS));
        err = part_request(part, why, why_len);
        if (err && err != ERR_IO)
            return err;
        if (part->at > before)
            tries = 0;
    }
    return ERR_OK;
}

static bool part_is_right(const struct part *part)
{
    struct sha256 hash = part->hash; // sha256_final spoils it
    uint8_t digest[SHA256_LEN];

    if (part->at != part->d->n_bytes)
        return false;
    sha256_final(&hash, digest);
    return memcmp(digest, part->d->sha256, SHA256_LEN) == 0;
}

// Whether the file is there already, whole and right.
static bool is_there(const struct native_download *d)
{
    struct part part = {.d = d};
    struct stat st;
    bool right;

    part.fd = open(d->path, O_RDONLY | O_CLOEXEC);
    if (part.fd < 0)
        return false;
    right = !fstat(part.fd, &st) && (uint64_t)st.st_size == d->n_bytes &&
            !part_catch_up(&part) && part_is_right(&part);
    close(part.fd);
    if (right)
        tell(&part, true);
    return right;
}

static enum err part_bring(struct part *part, const char *temp, char *why,
                           size_t why_len)
{
    enum err err = part_catch_up(part);

    if (!err && part->at > part->d->n_bytes && !part_restart(part))
        err = ERR_IO;
    if (err) {
        snprintf(why, why_len, "%s: %s", temp, strerror(errno));
        return err;
    }
    tell(part, true);
    err = part_fill(part, why, why_len);
    if (err)
        return err;
    tell(part, true);
    if (!part_is_right(part)) {
        unlink(temp);
        snprintf(why, why_len, "%s: its SHA-256 is not the expected one",
                 part->d->url);
        return ERR_CHECKSUM;
    }
    if (fsync(part->fd) || rename(temp, part->d->path)) {
        snprintf(why, why_len, "%s: %s", part->d->path, strerror(errno));
        return ERR_IO;
    }
    return ERR_OK;
}

static enum err temp_name(const char *path, char temp[NATIVE_PATH_MAX])
{
    int n = snprintf(temp, NATIVE_PATH_MAX, "%s.part", path);

    return n > 0 && n < NATIVE_PATH_MAX ? ERR_OK : ERR_RANGE;
}

enum err native_download(const struct native_download *download, char *why,
                         size_t why_len)
{
    struct part part = {.d = download};
    char temp[NATIVE_PATH_MAX];
    enum err err = temp_name(download->path, temp);

    if (err) {
        snprintf(why, why_len, "%s: the path is too long", download->path);
        return err;
    }
    if (is_there(download))
        return ERR_OK;
    part.fd = open(temp, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (part.fd < 0) {
        snprintf(why, why_len, "%s: %s", temp, strerror(errno));
        return ERR_IO;
    }
    err = part_bring(&part, temp, why, why_len);
    close(part.fd);
    return err;
}

enum err native_file_put(const char *path, const void *data, size_t len)
{
    char temp[NATIVE_PATH_MAX];
    enum err err = temp_name(path, temp);
    int fd;

    if (err)
        return err;
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    if (!write_all(fd, data, len) || fsync(fd) || rename(temp, path))
        err = ERR_IO;
    close(fd);
    return err;
}
