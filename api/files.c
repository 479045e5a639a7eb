#include "api/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// Sync now and then, so that the last sync of a large file is short.
enum { SYNC_BYTES = 4 << 20, TEMP_NAME_MAX = API_FILE_NAME_MAX + 8 };

static void temp_name(const struct api_file *file, char out[TEMP_NAME_MAX])
{
    snprintf(out, TEMP_NAME_MAX, "%s.part", file->name);
}

enum err api_file_create(int dir_fd, const char *name, struct api_file *out)
{
    struct api_file file = {.dir_fd = dir_fd, .fd = -1};
    char temp[TEMP_NAME_MAX];

    if (strlen(name) > API_FILE_NAME_MAX)
        return ERR_RANGE;
    snprintf(file.name, sizeof file.name, "%s", name);
    temp_name(&file, temp);
    file.fd =
        openat(dir_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file.fd < 0)
        return ERR_IO;
    *out = file;
    return ERR_OK;
}

enum err api_file_write(struct api_file *file, const void *buf, size_t len)
{
    const char *p = buf;

    while (len > 0) {
        ssize_t n = write(file->fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_IO;
        p += n;
        len -= (size_t)n;
        file->n_bytes += (uint64_t)n;
        file->n_unsynced += (uint64_t)n;
    }
    if (file->n_unsynced > SYNC_BYTES) {
        file->n_unsynced = 0;
        if (fdatasync(file->fd))
            return ERR_IO;
    }
    return ERR_OK;
}

enum err api_file_finish(struct api_file *file)
{
    char temp[TEMP_NAME_MAX];

    temp_name(file, temp);
    if (fsync(file->fd) ||
        renameat(file->dir_fd, temp, file->dir_fd, file->name) ||
        fsync(file->dir_fd))
        return ERR_IO;
    close(file->fd);
    file->fd = -1;
    return ERR_OK;
}

void api_file_release(struct api_file *file)
{
    char temp[TEMP_NAME_MAX];

    if (file->fd < 0)
        return;
    temp_name(file, temp);
    close(file->fd);
    file->fd = -1;
    unlinkat(file->dir_fd, temp, 0);
}
