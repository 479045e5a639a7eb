// A file that is loaded holds the same bytes as a mapped one.
#include <stdlib.h>

#include "check.h"
#include "scratch.h"
#include "splitter/file_map.h"

// More than two large pages, and not a whole number of small ones.
enum { LEN = (5 << 20) + 123 };

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 2654435761u >> 13);
}

static bool right(const struct file_map *map, size_t len)
{
    bool same = map->len == len;

    for (size_t i = 0; same && i < len; i++)
        same = map->data[i] == byte_at(i);
    return same;
}

static void keeps_the_bytes(const struct scratch *dir, size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    struct file_map map;

    CHECK(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at(i);
    scratch_put(dir, "bytes", bytes, len);
    free(bytes);
    CHECK_EQ(file_map_init(&map, dir->path, "bytes", (struct why){NULL, 0}),
             ERR_OK);
    CHECK(right(&map, len));
    file_map_load(&map);
    CHECK(right(&map, len));
    file_map_drop(&map, 0, len);
    CHECK(right(&map, len));
    file_map_release(&map);
    CHECK(!map.data && !map.len);
}

int main(void)
{
    struct scratch dir;

    scratch_init(&dir);
    keeps_the_bytes(&dir, LEN);
    keeps_the_bytes(&dir, 1 << 20); // stays mapped
    keeps_the_bytes(&dir, 0);
    scratch_release(&dir);
    CHECK(file_map_fits(1 << 20));
    CHECK(!file_map_fits(UINT64_MAX));
    return 0;
}
