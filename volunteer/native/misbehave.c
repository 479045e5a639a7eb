#include "native/misbehave.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/syn1.h"

enum { // offsets that syn1.h draws
    AT_UNIT = 32,
    AT_BODY_LEN = 72,
    AT_SEQ_TOKENS = 20,
    AT_SEQ_PRINTS = 24,
};

enum err native_wrong_parse(const char *text, enum native_wrong *out)
{
    static const char *const names[] = {[NATIVE_WRONG_TOKEN] = "token",
                                        [NATIVE_WRONG_PRINT] = "print",
                                        [NATIVE_WRONG_SHORT] = "short",
                                        [NATIVE_WRONG_UNIT] = "unit",
                                        [NATIVE_WRONG_FRAME] = "frame"};

    for (size_t i = 1; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum native_wrong)i;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

static void put_u32(uint8_t *p, uint32_t v)
{
    struct bytes_out out = {.ptr = p, .cap = 4};

    bytes_put_u32(&out, v);
}

// Where *view, which points into the frame, may be written.
static uint8_t *spot(uint8_t *frame, const uint8_t *view)
{
    return frame + (view - frame);
}

static void cut(uint8_t *frame, size_t *len, size_t at, size_t n)
{
    memmove(frame + at, frame + at + n, *len - at - n);
    *len -= n;
    put_u32(frame + AT_BODY_LEN,
            (uint32_t)(*len - SYN1_HEADER_LEN - SYN1_CRC_LEN));
}

// Leave out the last token of a sequence that has two, and its print.
static void shorten(uint8_t *frame, size_t *len,
                    const struct syn1_result_seq *seq)
{
    uint8_t *at = frame + SYN1_HEADER_LEN;

    if (seq->n_tokens < 2 || seq->logprobs)
        return;
    if (seq->n_prints == seq->n_tokens) {
        cut(frame, len,
            (size_t)(seq->prints - frame) +
                (size_t)(seq->n_prints - 1) * SYN1_PRINT_LEN,
            SYN1_PRINT_LEN);
        put_u32(at + AT_SEQ_PRINTS, seq->n_prints - 1);
    }
    cut(frame, len,
        (size_t)(seq->tokens - frame) + (size_t)(seq->n_tokens - 1) * 4, 4);
    put_u32(at + AT_SEQ_TOKENS, seq->n_tokens - 1);
}

void native_wrong_apply(enum native_wrong mode, uint8_t *frame, size_t *len)
{
    struct syn1_frame parsed;
    struct syn1_result_seq seq;
    struct bytes body;

    if (mode == NATIVE_HONEST || syn1_parse(frame, *len, &parsed) ||
        parsed.header.kind != SYN1_RESULT)
        return;
    body = parsed.body;
    if (!syn1_result_next(&parsed.header, &body, &seq))
        return;
    if (mode == NATIVE_WRONG_FRAME) {
        frame[*len / 2] ^= 1;
        return;
    }
    if (mode == NATIVE_WRONG_UNIT)
        frame[AT_UNIT] ^= 0x80;
    if (mode == NATIVE_WRONG_TOKEN && seq.n_tokens) {
        uint8_t *token =
            spot(frame, seq.tokens) + (size_t)4 * (seq.n_tokens / 2);

        token[0] ^= 1;
    }
    if (mode == NATIVE_WRONG_PRINT && seq.n_prints)
        spot(frame, seq.prints)[(size_t)(seq.n_prints - 1) * SYN1_PRINT_LEN] ^=
            1;
    if (mode == NATIVE_WRONG_SHORT)
        shorten(frame, len, &seq);
    put_u32(frame + *len - SYN1_CRC_LEN, crc32c(frame, *len - SYN1_CRC_LEN));
}
