#define _DEFAULT_SOURCE // madvise
#include "splitter/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err map_fd(struct file_map *map, int fd, const char *name,
                       struct why why)
{
    struct stat st;
    void *data;

    if (fstat(fd, &st))
        return why_fail(why, ERR_IO, "%s: %s", name, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return why_fail(why, ERR_FORMAT, "%s: not a regular file", name);
    if ((uintmax_t)st.st_size > SIZE_MAX / 2)
        return why_fail(why, ERR_RANGE, "%s: too large for this machine", name);
    *map = (struct file_map){0};
    if (!st.st_size)
        return ERR_OK;
    data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return why_fail(why, ERR_IO, "%s: %s", name, strerror(errno));
    map->data = data;
    map->len = (size_t)st.st_size;
    return ERR_OK;
}

enum err file_map_init(struct file_map *map, const char *dir, const char *name,
                       struct why why)
{
    size_t len = strlen(dir) + strlen(name) + 2;
    char *path = malloc(len);
    enum err err;
    int fd;

    if (!path)
        return why_fail(why, ERR_NOMEM, "%s: out of memory", name);
    (void)snprintf(path, len, "%s/%s", dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    free(path);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return why_fail(why, ERR_NOT_FOUND, "%s: no such file in %s", name,
                        dir);
    if (fd < 0)
        return why_fail(why, ERR_IO, "%s: %s", name, strerror(errno));
    err = map_fd(map, fd, name, why);
    close(fd);
    return err;
}

void file_map_release(struct file_map *map)
{
    // munmap takes void *, though it changes no byte.
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->len);
    *map = (struct file_map){0};
}

void file_map_drop(const struct file_map *map, size_t off, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t from = off - off % page;

    if (map->data && len)
        (void)madvise((void *)(uintptr_t)(map->data + from), off + len - from,
                      MADV_DONTNEED);
}
