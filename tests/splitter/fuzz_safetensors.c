// Any bytes: an import container and a shard either parse, with every tensor
// inside the bytes, or fail with one printable line.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "splitter/safetensors.h"
#include "splitter/shard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void line_check(const char *why)
{
    CHECK(*why && strlen(why) < WHY_LEN_MAX);
    for (; *why; why++)
        CHECK(*why >= 0x20 && *why <= 0x7e);
}

static void inside_check(const uint8_t *buf, size_t len, const void *data,
                         size_t n_bytes)
{
    const uint8_t *p = data;

    CHECK(p >= buf && p <= buf + len && n_bytes <= (size_t)(buf + len - p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[WHY_LEN_MAX] = "";
    struct why line = {why, sizeof why};
    struct safetensors st;
    struct tensor *tensors;
    size_t n;
    void *copy; // aligned as a mapped file is

    CHECK_EQ(posix_memalign(&copy, TENSOR_ALIGN, size ? size : 1), 0);
    if (size)
        memcpy(copy, data, size);
    if (safetensors_parse(copy, size, "f", line, &st)) {
        line_check(why);
    } else {
        for (size_t i = 0; i < st.n_tensors; i++) {
            const struct safetensors_tensor *t = &st.tensors[i];

            inside_check(copy, size, t->data, t->n_bytes);
            CHECK(safetensors_find(&st, t->name) == t);
        }
        safetensors_release(&st);
    }
    *why = '\0';
    if (shard_parse(copy, size, "f", line, &tensors, &n)) {
        line_check(why);
    } else {
        for (size_t i = 0; i < n; i++)
            inside_check(copy, size, tensors[i].data, tensors[i].n_bytes);
        free(tensors);
    }
    free(copy);
    return 0;
}
