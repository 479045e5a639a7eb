// syn1_frames: prints frames that the C codec wrote, a line each: a name, a
// space, and the frame in hex. test_syn1.mjs knows the same numbers.
#include "base/syn1.h"

#include <stdio.h>
#include <string.h>

#include "check.h"

enum { CAP = 1 << 14, DIM = 40 };

static void print(const char *name, struct bytes_out *out)
{
    CHECK_EQ(syn1_end(out), ERR_OK);
    printf("%s ", name);
    for (size_t i = 0; i < out->len; i++)
        printf("%02x", out->ptr[i]);
    printf("\n");
}

static struct syn1_header header(enum syn1_kind kind, uint16_t flags)
{
    struct syn1_header h = {.kind = kind, .flags = flags};

    memset(h.model, 0xA1, sizeof h.model);
    h.span_end = 2;
    h.dim = flags & SYN1_ROWS ? DIM : 0;
    for (uint8_t i = 0; i < SYN1_ID_LEN; i++)
        h.unit[i] = (uint8_t)(0xC0 + i);
    return h;
}

static void put_unit(struct bytes_out *out, bool check)
{
    struct syn1_header h = header(SYN1_UNIT, SYN1_TOKENS | SYN1_ROWS);
    static const uint8_t bytes[4 * (DIM + 2)];
    struct syn1_unit_seq seq = {.id = 5,
                                .n_rows = 3,
                                .n_predict = check ? 3 : 0,
                                .max_new = check ? 0 : 20,
                                .sampling.top_p_q16 = 65536,
                                .n_bias = 2,
                                .n_stop = 1,
                                .tokens = bytes,
                                .rows = bytes,
                                .bias = bytes,
                                .stop = bytes};

    syn1_begin(out, &h);
    syn1_put_unit_seq(out, &h, &seq);
    seq.id = 6;
    seq.n_rows = seq.n_predict = 1;
    seq.max_new = check ? 0 : 7;
    seq.n_bias = seq.n_stop = 0;
    syn1_put_unit_seq(out, &h, &seq);
}

static void put_result(struct bytes_out *out)
{
    struct syn1_header h = header(SYN1_RESULT, SYN1_TOKENS);
    static const uint8_t bytes[512];
    struct syn1_result_seq seq = {.id = 5,
                                  .n_tokens = 4,
                                  .n_prints = 4,
                                  .flags = SYN1_LOGPROBS,
                                  .n_top = 2,
                                  .rows = bytes,
                                  .tokens = bytes,
                                  .logprobs = bytes,
                                  .prints = bytes};

    h.number = 1234567;
    syn1_begin(out, &h);
    syn1_put_result_seq(out, &h, &seq);
    seq.id = 6;
    seq.n_tokens = seq.n_prints = 0;
    seq.flags = seq.n_top = 0;
    seq.status = SYN1_KV_MISSING;
    syn1_put_result_seq(out, &h, &seq);
}

static void put_call(struct bytes_out *out, const uint8_t *result, size_t len)
{
    struct syn1_header h = {.kind = SYN1_CALL, .number = 77};
    uint8_t held[2 * SYN1_ID_LEN], models[SYN1_ID_LEN + 4];
    struct syn1_call call = {.n_held = 2,
                             .n_models = 1,
                             .slots = 9,
                             .memory = UINT64_C(5000000000),
                             .prefill_rows_s = 480,
                             .decode_tokens_s = 31,
                             .wait_ms = 25000,
                             .result_len = (uint32_t)len,
                             .held = held,
                             .models = models,
                             .result = result};

    memset(held, 0x11, SYN1_ID_LEN);
    memset(held + SYN1_ID_LEN, 0x22, SYN1_ID_LEN);
    memset(models, 0xA1, SYN1_ID_LEN);
    memcpy(models + SYN1_ID_LEN, (uint8_t[]){0, 0, 2, 0}, 4);
    syn1_begin(out, &h);
    syn1_put_call(out, &call);
}

static void put_answer(struct bytes_out *out, const uint8_t *unit, size_t len)
{
    struct syn1_header h = {.kind = SYN1_ANSWER, .number = 77, .span_end = 2};
    struct syn1_answer answer = {.reason = len ? SYN1_WORK : SYN1_NOT_CACHED,
                                 .outcome = SYN1_ACCEPTED,
                                 .retry_ms = 1500,
                                 .unit_len = (uint32_t)len,
                                 .unit = unit};

    memset(h.model, 0xA1, sizeof h.model);
    syn1_begin(out, &h);
    syn1_put_answer(out, &answer);
}

int main(void)
{
    static uint8_t unit_bytes[CAP], result_bytes[CAP], bytes[CAP];
    struct bytes_out unit = {.ptr = unit_bytes, .cap = CAP};
    struct bytes_out result = {.ptr = result_bytes, .cap = CAP};
    struct bytes_out out = {.ptr = bytes, .cap = CAP};

    put_unit(&unit, false);
    print("unit", &unit);
    put_unit(&out, true);
    print("check", &out);
    put_result(&result);
    print("result", &result);

    out.len = 0;
    put_call(&out, result.ptr, result.len);
    print("call", &out);
    out.len = 0;
    put_answer(&out, unit.ptr, unit.len);
    print("work", &out);
    out.len = 0;
    put_answer(&out, NULL, 0);
    print("none", &out);
    return 0;
}
