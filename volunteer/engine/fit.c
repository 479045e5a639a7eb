#include "engine/fit.h"

#include "splitter/format.h"

enum { TOKEN_LEN = 200 }; // of an answer, with print and log-probabilities

static const struct {
    uint32_t n_rows;
    uint32_t answer_rows; // of a unit; those of one whole context at least
} thrifts[] = {{128, 8192}, {32, 0}, {8, 0}};

// A span with the head answers tokens, any other one rows.
static size_t answer_bytes(const struct engine_need *need, uint32_t rows)
{
    size_t row_len = need->has_head
                         ? TOKEN_LEN
                         : syn1_row_len(need->d_model) + SYN1_PRINT_LEN;

    return (rows > need->n_ctx ? rows : need->n_ctx) * row_len;
}

enum err engine_fit(const struct engine_shard *shards, size_t n_shards,
                    uint64_t max_bytes, struct engine_options *options,
                    struct engine_need *need, char *why, size_t why_len)
{
    enum { THRIFTS = sizeof thrifts / sizeof thrifts[0] };
    // The model's dimensions, for the length of answers.
    enum err err = engine_need(shards, n_shards, options, need, why, why_len);

    for (size_t i = 0; i < THRIFTS && !err; i++) {
        options->n_rows = thrifts[i].n_rows;
        options->answer_bytes = answer_bytes(need, thrifts[i].answer_rows);
        err = engine_need(shards, n_shards, options, need, why, why_len);
        if (!err && need->fixed <= max_bytes &&
            need->kv_each <= max_bytes - need->fixed)
            return ERR_OK;
    }
    return err ? err : ERR_FULL;
}
