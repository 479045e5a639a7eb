#include "api/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/secret.h"

// Sync now and then, so that the last sync of a large file is short.
enum { SYNC_BYTES = 4 << 20, STALE_S = 24 * 60 * 60 };

#define PART ".part"

enum err api_file_create(int dir_fd, const char *name, struct api_file *out)
{
    struct api_file file = {.dir_fd = dir_fd, .fd = -1};
    char mark[API_ID_MAX + 1];

    if (strlen(name) > API_FILE_NAME_MAX)
        return ERR_RANGE;
    // Another process may be writing the same file.
    if (api_secret_id("", mark))
        return ERR_IO;
    snprintf(file.name, sizeof file.name, "%s", name);
    snprintf(file.temp, sizeof file.temp, "%s.%.16s" PART, file.name, mark);
    file.fd = openat(dir_fd, file.temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                     0600);
    if (file.fd < 0)
        return ERR_IO;
    // As long as somebody writes it, nobody sweeps it away.
    if (flock(file.fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
        close(file.fd);
        return ERR_IO;
    }
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
    if (fsync(file->fd) ||
        renameat(file->dir_fd, file->temp, file->dir_fd, file->name) ||
        fsync(file->dir_fd))
        return ERR_IO;
    close(file->fd);
    file->fd = -1;
    return ERR_OK;
}

void api_file_release(struct api_file *file)
{
    if (file->fd < 0)
        return;
    close(file->fd);
    file->fd = -1;
    unlinkat(file->dir_fd, file->temp, 0);
}

// Does nobody write it any more? Its writer holds a lock; where the folder
// knows no locks, time tells.
static bool is_left(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    bool left = false;
    struct stat st;

    if (fd < 0)
        return false;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        left = true;
    else if (errno != EWOULDBLOCK && fstat(fd, &st) == 0)
        left = time(NULL) - st.st_mtime > STALE_S;
    close(fd);
    return left;
}

void api_files_sweep(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    if (!dir && fd >= 0)
        close(fd);
    while (dir && (entry = readdir(dir))) {
        size_t len = strlen(entry->d_name), end = sizeof PART - 1;

        if (len > end && strcmp(entry->d_name + len - end, PART) == 0 &&
            is_left(dir_fd, entry->d_name))
            unlinkat(dir_fd, entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
}
