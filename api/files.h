// files.h - the files of batches, in the folder of --files. A file is written
// under a temporary name, synced, and only then named: what has its name is
// whole and durable.
#ifndef API_FILES_H
#define API_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { API_FILE_NAME_MAX = 95 };

struct api_file {
    int dir_fd; // borrowed
    int fd;     // -1: not open
    char name[API_FILE_NAME_MAX + 1];
    char temp[API_FILE_NAME_MAX + 32]; // its name until it is finished
    uint64_t n_bytes;
    uint64_t n_unsynced;
};

// Start writing name in the folder. ERR_RANGE (a long name), ERR_IO.
MUST_USE enum err api_file_create(int dir_fd, const char *name,
                                  struct api_file *out);

// Append. ERR_IO.
MUST_USE enum err api_file_write(struct api_file *file, const void *buf,
                                 size_t len);

// Sync it, give it its name, sync the folder, close it. ERR_IO.
MUST_USE enum err api_file_finish(struct api_file *file);

// Drop what is not finished. Fine on a finished file, or a zeroed one with fd
// -1.
void api_file_release(struct api_file *file);

// Remove what crashes left unfinished: what no process is writing any more.
void api_files_sweep(int dir_fd);

#endif
