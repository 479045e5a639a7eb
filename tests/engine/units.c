#include "units.h"

#include <stdlib.h>
#include <string.h>

#include "engine/philox.h"

enum { PRINT_SEED = 42, BIAS_LEN = 8 };

static void put_words(uint8_t *at, const uint32_t *words, uint32_t n)
{
    struct bytes_out out = {at, (size_t)n * 4, 0, false};

    for (uint32_t i = 0; i < n; i++)
        bytes_put_u32(&out, words[i]);
}

static void put_seq(struct bytes_out *out, const struct syn1_header *header,
                    const struct units_seq *seq)
{
    uint8_t tokens[UNITS_TOKENS_MAX * 4], stop[SYN1_STOP_MAX * 4];
    uint8_t bias[8 * BIAS_LEN];
    struct syn1_unit_seq in = seq->in;
    struct bytes_out biases = {bias, sizeof bias, 0, false};

    put_words(tokens, seq->tokens, in.n_rows);
    put_words(stop, seq->stop, in.n_stop);
    for (uint32_t i = 0; i < in.n_bias; i++) {
        bytes_put_u32(&biases, seq->bias[i].token);
        bytes_put_u32(&biases, (uint32_t)seq->bias[i].add);
    }
    in.tokens = tokens;
    in.rows = seq->rows;
    in.stop = stop;
    in.bias = bias;
    if (in.sampling.top_p_q16 == 0)
        in.sampling.top_p_q16 = 1 << 16;
    syn1_put_unit_seq(out, header, &in);
}

bool units_build(const struct engine *engine, uint16_t flags,
                 const struct units_seq *seqs, uint16_t n_seqs,
                 struct units_frame *out)
{
    struct syn1_header header = {
        .kind = SYN1_UNIT,
        .flags = flags,
        .span_first = (uint16_t)engine_span_first(engine),
        .span_end = (uint16_t)engine_span_end(engine),
        .n_seqs = n_seqs,
        .dim = flags & SYN1_ROWS ? engine_config(engine)->d_model : 0,
        .print_seed = PRINT_SEED};
    struct bytes_out bytes = {0};

    memcpy(header.model, engine_model(engine), SYN1_ID_LEN);
    bytes.cap = SYN1_HEADER_LEN + SYN1_CRC_LEN;
    for (uint16_t i = 0; i < n_seqs; i++)
        bytes.cap += syn1_unit_seq_len(&header, &seqs[i].in);
    bytes.ptr = malloc(bytes.cap);
    if (!bytes.ptr)
        return false;
    syn1_begin(&bytes, &header);
    for (uint16_t i = 0; i < n_seqs; i++)
        put_seq(&bytes, &header, &seqs[i]);
    if (syn1_end(&bytes)) {
        free(bytes.ptr);
        return false;
    }
    *out = (struct units_frame){bytes.ptr, bytes.len};
    return true;
}

enum err units_run(struct engine *engine, uint16_t flags,
                   const struct units_seq *seqs, uint16_t n_seqs,
                   struct syn1_result_seq *result)
{
    struct units_frame frame;
    struct syn1_frame parsed;
    const uint8_t *out;
    size_t len;
    enum err err;

    if (!units_build(engine, flags, seqs, n_seqs, &frame))
        return ERR_NOMEM;
    err = engine_run(engine, frame.bytes, frame.len, &out, &len);
    free(frame.bytes);
    if (!err)
        err = syn1_parse(out, len, &parsed);
    if (err)
        return err;
    for (uint16_t i = 0; i < n_seqs; i++)
        if (!syn1_result_next(&parsed.header, &parsed.body, &result[i]))
            return ERR_FORMAT;
    return ERR_OK;
}

uint32_t units_token(const struct syn1_result_seq *result, uint32_t i)
{
    return bytes_peek_u32(result->tokens + (size_t)i * 4);
}

void units_tokens(uint32_t *tokens, uint32_t n, uint32_t n_vocab,
                  uint32_t stream)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t counter[4] = {i, stream, 0, 0}, key[2] = {7, 7}, words[4];

        philox_words(counter, key, words);
        tokens[i] = words[0] % n_vocab;
    }
}
