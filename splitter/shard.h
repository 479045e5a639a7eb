// shard.h - the file of one shard: a standard safetensors container whose
// header and tensors all begin at multiples of TENSOR_ALIGN bytes.
//
// The container allows no gap between tensors, so what alignment needs is
// filled by U8 tensors of zeros named "pad.0", "pad.1", ...: readers skip
// names that begin with SHARD_PAD.
//
// A writer is used in this order: declare each tensor, begin, write all data
// (in the order of declaration, in pieces of any size), finish. The file has a
// temporary name until finish has synced it.
#ifndef SPLITTER_SHARD_H
#define SPLITTER_SHARD_H

#include <stddef.h>
#include <stdint.h>

#include "base/sha256.h"
#include "splitter/tensor.h"
#include "splitter/why.h"

#define SHARD_PAD "pad."

struct shard_writer;

// Start dir/name. Strings are copied. Errors: ERR_NOMEM, ERR_IO.
MUST_USE enum err shard_writer_new(const char *dir, const char *name,
                                   struct why why, struct shard_writer **out);

// Add `key: value` to the container's metadata. Before begin.
MUST_USE enum err shard_writer_note(struct shard_writer *w, const char *key,
                                    const char *value);

// ERR_RANGE (name, dtype or dimensions past tensor.h's limits), ERR_EXISTS (a
// name twice), ERR_NOMEM. Before begin.
MUST_USE enum err shard_writer_declare(struct shard_writer *w, const char *name,
                                       enum tensor_dtype dtype, uint32_t n_dims,
                                       const uint32_t *dims);

// Write the header. ERR_IO, ERR_NOMEM.
MUST_USE enum err shard_writer_begin(struct shard_writer *w);

// The next n_bytes of data. ERR_RANGE: more than was declared. ERR_IO.
MUST_USE enum err shard_writer_write(struct shard_writer *w, const void *data,
                                     size_t n_bytes);

// Sync the file and give it its name. ERR_TRUNCATED: less data than was
// declared. ERR_IO. *n_bytes and sha256 describe the whole file.
MUST_USE enum err shard_writer_finish(struct shard_writer *w, uint64_t *n_bytes,
                                      uint8_t sha256[SHA256_LEN]);

// Free the writer; what was not finished is removed.
void shard_writer_free(struct shard_writer *w);

// The tensors of a shard's len bytes at buf, fillers left out, ordered by
// name. They point into buf; the array is the caller's to free. Total: errors
// as safetensors_parse, and ERR_RANGE, ERR_FORMAT or ERR_UNSUPPORTED for what
// tensor.h does not allow (names, dtypes, dimensions, alignment).
MUST_USE enum err shard_parse(const uint8_t *buf, size_t len, const char *where,
                              struct why why, struct tensor **tensors,
                              size_t *n_tensors);

#endif
