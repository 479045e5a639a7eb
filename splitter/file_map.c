#define _DEFAULT_SOURCE // madvise, MAP_ANONYMOUS, _SC_PHYS_PAGES
#include "splitter/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGE_PAGE = 2 << 20, COPY_PIECE = 1 << 20 };

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t rounded(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

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
    size_t page = page_size();
    size_t from = off - off % page;

    if (map->data && len && !map->loaded)
        (void)madvise((void *)(uintptr_t)(map->data + from), off + len - from,
                      MADV_DONTNEED);
}

// Memory for n bytes from a large page's beginning on, all of whose pages
// belong to it; NULL if there are no large pages.
static uint8_t *large_pages_new(size_t n)
{
    const size_t len = rounded(n, page_size()), whole = len + LARGE_PAGE;
    void *all = mmap(NULL, whole, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *from = all;

    if (all == MAP_FAILED)
        return NULL;
    size_t before = rounded((uintptr_t)all, LARGE_PAGE) - (uintptr_t)all;
    if (before)
        munmap(all, before);
    if (whole - before > len)
        munmap(from + before + len, whole - before - len);
    if (madvise(from + before, len, MADV_HUGEPAGE)) {
        munmap(from + before, len);
        return NULL;
    }
    return from + before;
}

void file_map_load(struct file_map *map)
{
    uint8_t *copy;

    if (map->len < LARGE_PAGE)
        return;
    copy = large_pages_new(map->len);
    if (!copy)
        return;
    for (size_t at = 0; at < map->len; at += COPY_PIECE) {
        size_t left = map->len - at, n = left < COPY_PIECE ? left : COPY_PIECE;

        memcpy(copy + at, map->data + at, n);
        file_map_drop(map, at, n);
    }
    (void)mprotect(copy, map->len, PROT_READ);
    munmap((void *)(uintptr_t)map->data, map->len);
    map->data = copy;
    map->loaded = true;
}

bool file_map_fits(uint64_t n_bytes)
{
    long pages = sysconf(_SC_PHYS_PAGES);

    return pages > 0 && n_bytes / page_size() <= (uint64_t)pages / 4;
}
