// source_files.h - the safetensors files of a Hugging Face folder: either
// model.safetensors, or those that model.safetensors.index.json names.
#ifndef SPLITTER_SOURCE_FILES_H
#define SPLITTER_SOURCE_FILES_H

#include "splitter/file_map.h"
#include "splitter/safetensors.h"

enum {
    SOURCE_FILES_MAX = 1024,
    SOURCE_FILE_NAME_MAX = 127,
};

struct source_file {
    char name[SOURCE_FILE_NAME_MAX + 1];
    struct file_map map;
    struct safetensors tensors;
};

struct source_files {
    struct source_file *files; // by name, ascending
    size_t n_files;
    json_t *index;      // NULL: one file
    json_t *weight_map; // borrowed from index
    const char *where;  // the file that says what exists; static
};

// Map and parse them all. Of an index each entry is followed: its file must be
// beside it (plain names only) and have the tensor. Errors as source_open's.
MUST_USE enum err source_files_init(struct source_files *s, const char *dir,
                                    struct why why);

void source_files_release(struct source_files *s);

// The tensor of that name and the file it is in; NULL if there is none.
const struct safetensors_tensor *
source_files_find(const struct source_files *s, const char *name,
                  const struct source_file **file);

#endif
