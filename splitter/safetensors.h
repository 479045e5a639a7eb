// safetensors.h - reader of the safetensors container.
//
//   u64 n, little-endian; n bytes of JSON; data
//
// The JSON maps each tensor's name to its dtype, shape and data_offsets (begin
// and end, counted from the data's first byte), and may hold "__metadata__".
// Parsing is total: every tensor given out lies wholly inside the data, has
// exactly the bytes of its shape and overlaps no other one. Bytes that belong
// to no tensor are allowed (some writers align).
#ifndef SPLITTER_SAFETENSORS_H
#define SPLITTER_SAFETENSORS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "splitter/why.h"

enum {
    SAFETENSORS_DIMS_MAX = 8,
    SAFETENSORS_NAME_MAX = 255,
    SAFETENSORS_TENSORS_MAX = 1 << 18,
    SAFETENSORS_HEADER_MAX = 100000000, // bytes, the format's own limit
};

enum safetensors_dtype {
    SAFETENSORS_F32,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_I8,
    SAFETENSORS_U8,
    SAFETENSORS_I16,
    SAFETENSORS_I32,
    SAFETENSORS_OTHER, // BOOL, F64, I64, U64, U32, U16, F8_E4M3, F8_E5M2
};

struct safetensors_tensor {
    const char *name; // borrowed from the container
    enum safetensors_dtype dtype;
    const char *dtype_name; // "F16"; static
    uint32_t n_dims;
    uint64_t dims[SAFETENSORS_DIMS_MAX];
    const uint8_t *data; // borrowed from the bytes parsed; any alignment
    size_t n_bytes;
};

struct safetensors {
    json_t *header;
    const json_t *metadata; // an object of strings; NULL if there is none
    struct safetensors_tensor *tensors; // by name, ascending
    size_t n_tensors;
};

// Parse len bytes at buf, which must outlive *out. where begins a failure's
// line. Errors: ERR_TRUNCATED, ERR_FORMAT, ERR_RANGE, ERR_UNSUPPORTED (an
// unknown dtype), ERR_NOMEM; then *out is untouched.
MUST_USE enum err safetensors_parse(const uint8_t *buf, size_t len,
                                    const char *where, struct why why,
                                    struct safetensors *out);

// Free what parse made. A zeroed struct is allowed.
void safetensors_release(struct safetensors *st);

// NULL if there is none of that name.
const struct safetensors_tensor *safetensors_find(const struct safetensors *st,
                                                  const char *name);

#endif
