// file_map.h - a whole file, mapped read-only, or copied to large pages.
#ifndef SPLITTER_FILE_MAP_H
#define SPLITTER_FILE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "splitter/why.h"

struct file_map {
    const uint8_t *data; // page-aligned; NULL if the file is empty
    size_t len;
    bool loaded; // by file_map_load
};

// Map dir/name. name is what a failure's line begins with. Errors:
// ERR_NOT_FOUND (no such file), ERR_FORMAT (not a regular file), ERR_IO,
// ERR_NOMEM. Release with file_map_release; a zeroed map needs none.
MUST_USE enum err file_map_init(struct file_map *map, const char *dir,
                                const char *name, struct why why);

void file_map_release(struct file_map *map);

// Copy the file to memory of large pages, which reads a tenth faster and more,
// and give up the mapping. Where there are none, or too little memory, nothing
// changes. Moves data: call it before any view is given out.
void file_map_load(struct file_map *map);

// Whether so many bytes are a small part of this machine's memory, at most a
// quarter: what is loaded cannot be taken back by the kernel as a mapping can.
bool file_map_fits(uint64_t n_bytes);

// The memory behind [data + off, data + off + len) is not needed soon: let the
// kernel take it back, unless it was loaded. The bytes stay readable.
void file_map_drop(const struct file_map *map, size_t off, size_t len);

#endif
