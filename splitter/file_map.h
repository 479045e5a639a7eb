// file_map.h - a whole file, mapped read-only.
#ifndef SPLITTER_FILE_MAP_H
#define SPLITTER_FILE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "splitter/why.h"

struct file_map {
    const uint8_t *data; // page-aligned; NULL if the file is empty
    size_t len;
};

// Map dir/name. name is what a failure's line begins with. Errors:
// ERR_NOT_FOUND (no such file), ERR_FORMAT (not a regular file), ERR_IO,
// ERR_NOMEM. Release with file_map_release; a zeroed map needs none.
MUST_USE enum err file_map_init(struct file_map *map, const char *dir,
                                const char *name, struct why why);

void file_map_release(struct file_map *map);

// The memory behind [data + off, data + off + len) is not needed soon: let the
// kernel take it back. The bytes stay readable.
void file_map_drop(const struct file_map *map, size_t off, size_t len);

#endif
