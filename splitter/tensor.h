// tensor.h - one tensor of a shard, as a view. No I/O and no JSON, so that the
// engine can bind tensors in WASM, where the page reads the container.
#ifndef SPLITTER_TENSOR_H
#define SPLITTER_TENSOR_H

#include <stddef.h>
#include <stdint.h>

enum tensor_dtype {
    TENSOR_I8 = 1,
    TENSOR_U8 = 2,
    TENSOR_I16 = 3,
    TENSOR_I32 = 4
};

enum { TENSOR_NAME_MAX = 63, TENSOR_DIMS_MAX = 4, TENSOR_ALIGN = 64 };

struct tensor {
    char name[TENSOR_NAME_MAX + 1]; // NUL-terminated
    enum tensor_dtype dtype;
    uint32_t n_dims; // 1 .. TENSOR_DIMS_MAX
    uint32_t dims[TENSOR_DIMS_MAX];
    const void *data; // borrowed, little-endian, aligned to TENSOR_ALIGN
    size_t n_bytes;   // product of dims times the size of dtype
};

#endif
