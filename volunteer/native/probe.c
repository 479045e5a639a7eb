#include "native/probe.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PROBE_ROWS = 16,
    PROBE_NEW = 8,
    PROBE_FRAME_MORE = SYN1_HEADER_LEN + SYN1_CRC_LEN,
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

// Rows first .. first+n_rows-1 and max_new tokens, as a frame in *out: token
// ids for a span from the first shard on, else rows that are not all zero.
static enum err probe_frame(const struct engine *engine, uint32_t first,
                            uint32_t n_rows, uint32_t max_new,
                            struct bytes_out *out)
{
    const struct format_config *config = engine_config(engine);
    bool from_ids = engine_span_first(engine) == 0;
    size_t row_len = syn1_row_len(config->d_model);
    struct syn1_header header = {
        .kind = SYN1_UNIT,
        .flags = from_ids ? SYN1_TOKENS : SYN1_ROWS,
        .span_first = (uint16_t)engine_span_first(engine),
        .span_end = (uint16_t)engine_span_end(engine),
        .dim = from_ids ? 0 : config->d_model,
        .kernel_class = (uint8_t)engine_kernel_class(engine),
    };
    struct syn1_unit_seq seq = {
        .id = PROBE_SEQ,
        .first = first,
        .n_rows = n_rows,
        .max_new = max_new,
        .n_prompt = PROBE_ROWS,
        .sampling = {.top_p_q16 = 65536, .flags = SYN1_IGNORE_END},
    };
    uint8_t *input = malloc(n_rows * (from_ids ? 4 : row_len));
    enum err err;

    if (!input)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < n_rows; i++) {
        struct bytes_out id = {.ptr = input + (size_t)i * 4, .cap = 4};
        uint8_t *row = input + i * row_len;

        if (from_ids) {
            bytes_put_u32(&id, (first + i) % config->n_vocab);
            continue;
        }
        for (uint32_t j = 0; j < row_len; j++) // mantissas, then exponents
            row[j] = j < config->d_model ? (uint8_t)(j * 37 % 120) : 8;
    }
    *(from_ids ? &seq.tokens : &seq.rows) = input;
    memcpy(header.model, engine_model(engine), SYN1_ID_LEN);
    out->cap = PROBE_FRAME_MORE + syn1_unit_seq_len(&header, &seq);
    out->ptr = malloc(out->cap);
    err = out->ptr ? ERR_OK : ERR_NOMEM;
    if (!err) {
        syn1_begin(out, &header);
        syn1_put_unit_seq(out, &header, &seq);
        err = syn1_end(out);
    }
    free(input);
    return err;
}

// Run that frame; tell the seconds.
static enum err probe_run(struct engine *engine, uint32_t first,
                          uint32_t n_rows, uint32_t max_new, double *seconds)
{
    struct bytes_out frame = {0};
    const uint8_t *result;
    size_t result_len;
    double start;
    enum err err = probe_frame(engine, first, n_rows, max_new, &frame);

    if (!err) {
        start = now_s();
        err = engine_run(engine, frame.ptr, frame.len, &result, &result_len);
        *seconds = now_s() - start;
    }
    free(frame.ptr);
    return err;
}

// Seconds of n_new steps of one row from first on. Only a whole model can go
// on by itself.
static enum err probe_decode(struct engine *engine, bool whole, uint32_t first,
                             uint32_t n_new, double *seconds)
{
    enum err err = ERR_OK;

    if (whole)
        return probe_run(engine, first, 1, n_new, seconds);
    *seconds = 0.0;
    for (uint32_t i = 0; i < n_new && !err; i++) {
        double one = 0.0;

        err = probe_run(engine, first + i, 1, 0, &one);
        *seconds += one;
    }
    return err;
}

static uint32_t per_second(uint32_t n, double seconds)
{
    double v = seconds > 1e-6 ? n / seconds : 1e6;

    return v < 1.0 ? 1 : v > 1e6 ? 1000000 : (uint32_t)v;
}

enum err native_probe(struct engine *engine, bool whole,
                      uint32_t *prefill_rows_s, uint32_t *decode_tokens_s)
{
    uint32_t n_ctx = engine_config(engine)->n_ctx;
    uint32_t n_rows = n_ctx / 2 < PROBE_ROWS ? n_ctx / 2 : PROBE_ROWS;
    uint32_t n_new = n_ctx / 4 < PROBE_NEW ? n_ctx / 4 : PROBE_NEW;
    double prefill_s = 0.0, decode_s = 0.0;
    enum err err;

    // A first pass brings the weights into memory.
    err = probe_run(engine, 0, n_rows, 0, &prefill_s);
    if (!err)
        err = probe_run(engine, 0, n_rows, 0, &prefill_s);
    if (!err)
        err = probe_decode(engine, whole, n_rows, n_new, &decode_s);
    engine_drop(engine, PROBE_SEQ);
    if (err)
        return err;
    *prefill_rows_s = per_second(n_rows, prefill_s);
    *decode_tokens_s = per_second(n_new, decode_s);
    return ERR_OK;
}
