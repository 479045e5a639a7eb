// model.h - a model folder on disk: its manifest, and its shards as mapped
// tensors. Native only. Not thread-safe while a shard is mapped for the first
// time; mapped tensors may be read from any thread.
#ifndef SPLITTER_MODEL_H
#define SPLITTER_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "splitter/manifest.h"
#include "splitter/tensor.h"

struct model;

// Read and check dir/manifest.json, and that every file it names is there with
// its size. On error *why (a caller's buffer) is one line. Errors:
// ERR_NOT_FOUND, ERR_FORMAT, ERR_RANGE, ERR_VERSION, ERR_TRUNCATED (a file has
// another size), ERR_IO, ERR_NOMEM.
MUST_USE enum err model_open(const char *dir, struct model **out, char *why,
                             size_t why_len);

// Unmaps everything: no tensor given out may be used after this.
void model_free(struct model *m);

// All views below live as long as the model.
const struct manifest *model_manifest(const struct model *m);
const char *model_dir(const struct model *m);

// The bytes of manifest.json, not NUL-terminated.
const uint8_t *model_manifest_bytes(const struct model *m, size_t *len);

// The SHA-256 of the manifest: SHA256_LEN bytes, and as text
// (MANIFEST_HASH_LEN digits). SYN1 carries its
// first SYN1_ID_LEN bytes.
const uint8_t *model_id(const struct model *m);
const char *model_id_text(const struct model *m);

// Read every file and compare its SHA-256. ERR_CHECKSUM names the first that
// differs; ERR_IO, ERR_NOT_FOUND.
MUST_USE enum err model_verify(const struct model *m, char *why,
                               size_t why_len);

// Map shard (0 .. n_shards-1), or load it where the model is small for this
// machine (file_map_fits), and give out its tensors, ordered by name. A
// second call gives the same ones. Errors as shard_parse, and ERR_IO,
// ERR_RANGE (no such shard).
MUST_USE enum err model_shard_map(struct model *m, uint32_t shard,
                                  const struct tensor **tensors,
                                  size_t *n_tensors, char *why, size_t why_len);

#endif
