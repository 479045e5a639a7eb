#include "splitter/out_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "splitter/file_map.h"
#include "splitter/split_files.h"

// What a name in the folder is, in the order of removal: the manifest first,
// so that a folder with one is always whole.
enum kind { KIND_MANIFEST, KIND_COPY, KIND_SHARD, KIND_FOREIGN };

static enum err io_fail(struct why why, const char *dir, const char *name)
{
    return why_fail(why, ERR_IO, "%s/%s: %s", dir, name, strerror(errno));
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static enum kind kind_of(const char *name)
{
    char base[64];
    size_t len = strlen(name), part = strlen(SPLIT_PART);

    if (len >= sizeof base)
        return KIND_FOREIGN;
    memcpy(base, name, len + 1);
    if (len > part && strcmp(base + len - part, SPLIT_PART) == 0)
        base[len - part] = '\0';
    if (strcmp(base, MANIFEST_FILE) == 0)
        return KIND_MANIFEST;
    if (starts_with(base, SPLIT_SHARD_START) && strstr(base, SPLIT_SHARD_END))
        return KIND_SHARD;
    for (size_t i = 0; split_copied[i]; i++)
        if (strcmp(base, split_copied[i]) == 0)
            return KIND_COPY;
    return KIND_FOREIGN;
}

// Remove all entries of one kind, or (KIND_FOREIGN) refuse any of them.
// *n_ours counts manifests and shards.
static enum err pass(const char *dir, enum kind kind, size_t *n_ours,
                     size_t *n_all, struct why why)
{
    enum err err = ERR_OK;
    DIR *d = opendir(dir);

    if (!d)
        return why_fail(why, ERR_IO, "%s: %s", dir, strerror(errno));
    for (struct dirent *e; !err && (e = readdir(d));) {
        enum kind is = kind_of(e->d_name);

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        ++*n_all;
        *n_ours += is == KIND_MANIFEST || is == KIND_SHARD;
        if (is != kind)
            continue;
        if (kind == KIND_FOREIGN)
            err = why_fail(why, ERR_EXISTS,
                           "%s: not empty, and not a model folder: it has %s",
                           dir, e->d_name);
        else if (unlinkat(dirfd(d), e->d_name, 0))
            err = io_fail(why, dir, e->d_name);
    }
    closedir(d);
    return err;
}

enum err out_dir_prepare(const char *dir, struct why why)
{
    size_t n_ours = 0, n_all = 0;
    enum err err;

    if (mkdir(dir, 0777) == 0)
        return ERR_OK;
    if (errno != EEXIST)
        return why_fail(why, ERR_IO, "%s: %s", dir, strerror(errno));
    err = pass(dir, KIND_FOREIGN, &n_ours, &n_all, why);
    if (!err && n_all && !n_ours)
        err = why_fail(why, ERR_EXISTS, "%s: not empty, and not a model folder",
                       dir);
    for (int kind = KIND_MANIFEST; !err && kind < KIND_FOREIGN; kind++)
        err = pass(dir, (enum kind)kind, &n_ours, &n_all, why);
    return err;
}

static enum err fd_write(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd) ? ERR_IO : ERR_OK;
}

enum err out_dir_put(const char *dir, const char *name, const void *data,
                     size_t len, struct why why)
{
    char part[MANIFEST_FILE_MAX + sizeof SPLIT_PART];
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = -1;
    enum err err = ERR_OK;

    (void)snprintf(part, sizeof part, "%s%s", name, SPLIT_PART);
    if (dir_fd < 0)
        return why_fail(why, ERR_IO, "%s: %s", dir, strerror(errno));
    fd = openat(dir_fd, part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || fd_write(fd, data, len) ||
        renameat(dir_fd, part, dir_fd, name)) {
        err = io_fail(why, dir, name);
        (void)unlinkat(dir_fd, part, 0);
    }
    if (fd >= 0)
        close(fd);
    close(dir_fd);
    return err;
}

enum err out_dir_copy(const char *dir, const char *from_dir, const char *name,
                      struct manifest_file *file, struct why why)
{
    struct file_map map = {0};
    enum err err = file_map_init(&map, from_dir, name, why);

    if (err)
        return err;
    if (!map.len) {
        err = why_fail(why, ERR_FORMAT, "%s: empty", name);
        goto done;
    }
    err = out_dir_put(dir, name, map.data, map.len, why);
    if (err)
        goto done;
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    file->n_bytes = map.len;
    sha256(map.data, map.len, file->sha256);

done:
    file_map_release(&map);
    return err;
}

enum err out_dir_sync(const char *dir, struct why why)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err err = ERR_OK;

    if (fd < 0 || fsync(fd))
        err = why_fail(why, ERR_IO, "%s: %s", dir, strerror(errno));
    if (fd >= 0)
        close(fd);
    return err;
}
