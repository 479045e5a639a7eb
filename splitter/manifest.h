// manifest.h - manifest.json of a model folder, as a struct and back. The
// SHA-256 of its bytes is the model's id.
//
//   {
//     "format": 1,               layout of manifest and shards
//     "arithmetic": 1,           every rule that changes an output byte
//     "name": "tales-gpt2",
//     "architecture": {
//       "family": "gpt2",        or "llama", "qwen2"
//       "layers": 6, "width": 256, "heads": 4, "kv_heads": 4,
//       "head_size": 64, "hidden": 1024, "vocabulary": 4096,
//       "context": 512, "norm_epsilon": 1e-05,
//       "tied_head": true, "qkv_bias": true,
//       "rope": {"type": "llama3", "theta": 500000.0, "factor": 8.0,
//                "low_frequency": 1.0, "high_frequency": 4.0,
//                "context": 8192}  not gpt2; theta alone for "default", with
//                                  factor for "linear"
//     },
//     "ends": [0],               token ids that end a sequence
//     "shards": [{
//       "file": "shard-00001-of-00001.safetensors",
//       "layers": [0, 6],        first, and one past the last
//       "bytes": 5000000, "sha256": "...", "parameters": 4800000,
//       "exponent": 10           of the boundary after it: fingerprints of
//                                class f32 count from 2^exponent
//     }],
//     "files": [{"file": "tokenizer.json", "bytes": 1, "sha256": "..."}]
//   }
//
// Unknown keys are allowed where an object's keys are known ones; numbers,
// names and order of shards are checked totally.
#ifndef SPLITTER_MANIFEST_H
#define SPLITTER_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sha256.h"
#include "splitter/arch.h"
#include "splitter/why.h"

enum {
    MANIFEST_NAME_MAX = 64, // bytes of a model's name
    MANIFEST_FILE_MAX = 63, // bytes of a file's name
    MANIFEST_FILES_MAX = 8, // files besides the shards
    MANIFEST_BYTES_MAX = 4 << 20,
    MANIFEST_HASH_LEN = 2 * SHA256_LEN, // a hash as hexadecimal text
};

#define MANIFEST_FILE "manifest.json"

// One file of the folder. Its name has no folder in it.
struct manifest_file {
    char name[MANIFEST_FILE_MAX + 1];
    uint64_t n_bytes;
    uint8_t sha256[SHA256_LEN];
};

struct manifest_shard {
    struct manifest_file file;
    uint32_t layer_first, layer_end;
    uint64_t n_params; // what one row costs, in multiply-adds
    uint32_t exponent; // 0 .. SYN1_EXP_MAX
};

struct manifest {
    char name[MANIFEST_NAME_MAX + 1];
    struct arch arch;
    struct manifest_shard *shards;
    uint32_t n_shards; // 1 .. arch.n_layers
    struct manifest_file files[MANIFEST_FILES_MAX];
    uint32_t n_files;
};

// Total. Errors: ERR_FORMAT, ERR_RANGE, ERR_VERSION, ERR_NOMEM; *out is then
// untouched.
MUST_USE enum err manifest_parse(const void *buf, size_t len, struct why why,
                                 struct manifest *out);

void manifest_release(struct manifest *m);

// The text of m: always the same bytes for the same m. malloc'ed,
// NUL-terminated; NULL if memory ran out.
char *manifest_text(const struct manifest *m);

// A hash as lower-case hexadecimal digits and a NUL.
void manifest_hash_text(const uint8_t hash[SHA256_LEN],
                        char out[MANIFEST_HASH_LEN + 1]);

// Whether name may name a model: 1 .. MANIFEST_NAME_MAX letters, digits, '.',
// '_', '-', the first a letter or digit.
bool manifest_name_ok(const char *name);

// What one row costs in layers first .. end-1: multiply-adds with weights.
// The head counts where the last layer is among them; a table that is only
// looked up does not.
uint64_t manifest_params(const struct arch *arch, uint32_t first, uint32_t end);

// About what a thrifty engine needs beside shards and KV, for any span that has
// the head or has not: not less than that, and not twice as much.
uint64_t manifest_scratch(const struct arch *arch, bool head);

#endif
