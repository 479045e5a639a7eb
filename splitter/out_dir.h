// out_dir.h - the folder that a model is written into.
#ifndef SPLITTER_OUT_DIR_H
#define SPLITTER_OUT_DIR_H

#include <stddef.h>
#include <stdint.h>

#include "splitter/manifest.h"

// Make dir, or clear it of a model (whole or half-written) that is in it.
// ERR_EXISTS: it holds a file that split never writes; then nothing was
// removed. ERR_IO.
MUST_USE enum err out_dir_prepare(const char *dir, struct why why);

// Write len bytes as dir/name: temporary name, sync, rename. ERR_IO,
// ERR_NOMEM.
MUST_USE enum err out_dir_put(const char *dir, const char *name,
                              const void *data, size_t len, struct why why);

// Copy from_dir/name into dir and describe it. ERR_NOT_FOUND, ERR_FORMAT (it
// is empty), ERR_IO, ERR_NOMEM.
MUST_USE enum err out_dir_copy(const char *dir, const char *from_dir,
                               const char *name, struct manifest_file *file,
                               struct why why);

// Make the names in dir durable.
MUST_USE enum err out_dir_sync(const char *dir, struct why why);

#endif
