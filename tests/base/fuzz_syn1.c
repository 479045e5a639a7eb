// fuzz_syn1 - any bytes give a frame or an error, and every frame that parses
// is written back to the same bytes.
#include <string.h>

#include "base/crc32c.h"
#include "base/syn1.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_body(struct bytes_out *out, const struct syn1_frame *f)
{
    struct bytes body = f->body;
    struct syn1_unit_seq unit;
    struct syn1_result_seq result;

    switch (f->header.kind) {
    case SYN1_UNIT:
        while (syn1_unit_next(&f->header, &body, &unit))
            syn1_put_unit_seq(out, &f->header, &unit);
        break;
    case SYN1_RESULT:
        while (syn1_result_next(&f->header, &body, &result))
            syn1_put_result_seq(out, &f->header, &result);
        break;
    case SYN1_CALL:
        syn1_put_call(out, &f->as.call);
        return;
    case SYN1_ANSWER:
        syn1_put_answer(out, &f->as.answer);
        return;
    }
    CHECK_EQ(body.len, 0);
}

static void parse(const uint8_t *data, size_t size)
{
    struct syn1_frame f;

    if (syn1_parse(data, size, &f))
        return;
    uint8_t *copy = malloc(size);
    CHECK(copy);
    struct bytes_out out = {.ptr = copy, .cap = size};
    syn1_begin(&out, &f.header);
    put_body(&out, &f);
    CHECK_EQ(syn1_end(&out), ERR_OK);
    CHECK_EQ(out.len, size);
    CHECK(memcmp(copy, data, size) == 0);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(data, size);
    if (size < SYN1_HEADER_LEN + SYN1_CRC_LEN)
        return 0;

    // Once more with the length and checksum set right, which no fuzzer finds.
    uint8_t *sealed = malloc(size);
    CHECK(sealed);
    memcpy(sealed, data, size);
    struct bytes_out len = {.ptr = sealed + 72, .cap = 4};
    bytes_put_u32(&len, (uint32_t)(size - SYN1_HEADER_LEN - SYN1_CRC_LEN));
    struct bytes_out crc = {.ptr = sealed + size - SYN1_CRC_LEN, .cap = 4};
    bytes_put_u32(&crc, crc32c(sealed, size - SYN1_CRC_LEN));
    parse(sealed, size);
    free(sealed);
    return 0;
}
