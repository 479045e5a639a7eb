#include "native/probe.h"

#include <string.h>
#include <time.h>

enum {
    PROBE_ROWS = 16,
    PROBE_NEW = 8,
    PROBE_FRAME_MAX = 1024,
};

// No sequence of a server has this id: they are drawn from fewer bits or, at
// worst, find their rows gone and are sent the history.
#define PROBE_SEQ UINT64_MAX

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

// Run rows first .. first+n_rows-1 and max_new tokens; tell the seconds.
static enum err probe_run(struct engine *engine,
                          const uint8_t model[SYN1_ID_LEN], uint32_t first,
                          uint32_t n_rows, uint32_t max_new, double *seconds)
{
    const struct format_config *config = engine_config(engine);
    uint8_t frame[PROBE_FRAME_MAX], tokens[4 * PROBE_ROWS];
    struct bytes_out ids = {.ptr = tokens, .cap = sizeof tokens};
    struct bytes_out out = {.ptr = frame, .cap = sizeof frame};
    struct syn1_header header = {
        .kind = SYN1_UNIT,
        .flags = SYN1_TOKENS,
        .span_first = (uint16_t)engine_span_first(engine),
        .span_end = (uint16_t)engine_span_end(engine),
    };
    const uint8_t *result;
    size_t result_len;
    double start;
    enum err err;

    for (uint32_t i = 0; i < n_rows; i++)
        bytes_put_u32(&ids, (first + i) % config->n_vocab);
    memcpy(header.model, model, SYN1_ID_LEN);
    syn1_begin(&out, &header);
    syn1_put_unit_seq(
        &out, &header,
        &(struct syn1_unit_seq){
            .id = PROBE_SEQ,
            .first = first,
            .n_rows = n_rows,
            .max_new = max_new,
            .n_prompt = PROBE_ROWS,
            .sampling = {.top_p_q16 = 65536, .flags = SYN1_IGNORE_END},
            .tokens = tokens,
        });
    err = syn1_end(&out);
    if (err)
        return err;
    start = now_s();
    err = engine_run(engine, frame, out.len, &result, &result_len);
    *seconds = now_s() - start;
    return err;
}

static uint32_t per_second(uint32_t n, double seconds)
{
    double v = seconds > 1e-6 ? n / seconds : 1e6;

    return v < 1.0 ? 1 : v > 1e6 ? 1000000 : (uint32_t)v;
}

enum err native_probe(struct engine *engine, const uint8_t model[SYN1_ID_LEN],
                      uint32_t *prefill_rows_s, uint32_t *decode_tokens_s)
{
    uint32_t n_ctx = engine_config(engine)->n_ctx;
    uint32_t n_rows = n_ctx / 2 < PROBE_ROWS ? n_ctx / 2 : PROBE_ROWS;
    uint32_t n_new = n_ctx / 4 < PROBE_NEW ? n_ctx / 4 : PROBE_NEW;
    double prefill_s = 0.0, decode_s = 0.0;
    enum err err;

    // A first pass brings the weights into memory.
    err = probe_run(engine, model, 0, n_rows, 0, &prefill_s);
    if (!err)
        err = probe_run(engine, model, 0, n_rows, 0, &prefill_s);
    if (!err)
        err = probe_run(engine, model, n_rows, 1, n_new, &decode_s);
    engine_drop(engine, PROBE_SEQ);
    if (err)
        return err;
    *prefill_rows_s = per_second(n_rows, prefill_s);
    *decode_tokens_s = per_second(n_new, decode_s);
    return ERR_OK;
}
