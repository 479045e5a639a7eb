// Any bytes as a unit: an error, or a result that parses. The input is the
// frame without its checksum, which is put right here, and the model's id is
// all zero, so that inputs get past both.
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "synthetic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct synthetic model;
    struct engine_options options = {.n_slots = 2, .n_rows = 5};
    struct engine *engine = NULL;
    const uint8_t *out;
    size_t len;

    if (!model.shards && !synthetic_new(SYNTHETIC_GPT2, 1, &model))
        return 0;
    if (size > 4096 || engine_new(model.shards, 1, &options, &engine, NULL, 0))
        return 0;

    uint8_t *frame = malloc(size + SYN1_CRC_LEN);
    if (frame) {
        struct bytes_out crc = {frame + size, SYN1_CRC_LEN, 0, false};
        struct syn1_frame parsed;

        if (size)
            memcpy(frame, data, size);
        bytes_put_u32(&crc, crc32c(frame, size));
        // Twice: the second time finds what the first left.
        for (int i = 0; i < 2; i++)
            if (!engine_run(engine, frame, size + SYN1_CRC_LEN, &out, &len) &&
                syn1_parse(out, len, &parsed))
                abort();
    }
    free(frame);
    engine_free(engine);
    return 0;
}
