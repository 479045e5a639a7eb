// scratch.h - a folder that exists as long as a test, and files in it.
#ifndef TESTS_SPLITTER_SCRATCH_H
#define TESTS_SPLITTER_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCRATCH_PATH_MAX = 256 };

struct scratch {
    char path[SCRATCH_PATH_MAX];
};

// Every function ends the test if it cannot do its work.
void scratch_init(struct scratch *s);

// Remove the folder and all in it, folders in it included.
void scratch_release(struct scratch *s);

// path of name in the folder, in a buffer that the caller gives.
const char *scratch_path(const struct scratch *s, const char *name,
                         char out[SCRATCH_PATH_MAX]);

void scratch_put(const struct scratch *s, const char *name, const void *data,
                 size_t len);
void scratch_put_text(const struct scratch *s, const char *name,
                      const char *text);
// A safetensors file: the header's length, the header, then data.
void scratch_put_safetensors(const struct scratch *s, const char *name,
                             const char *header, const void *data, size_t len);

// The whole file, malloc'ed.
uint8_t *scratch_get(const char *path, size_t *len);

void scratch_remove(const struct scratch *s, const char *name);
bool scratch_has(const struct scratch *s, const char *name);

#endif
