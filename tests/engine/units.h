// units.h - unit frames for tests, and their results. libc only.
#ifndef TESTS_ENGINE_UNITS_H
#define TESTS_ENGINE_UNITS_H

#include "engine/engine.h"

enum { UNITS_SEQS_MAX = 32, UNITS_TOKENS_MAX = 512 };

// One sequence of a unit, with numbers instead of views. Zeros are a good
// start: top_p 0 stands for "off".
struct units_seq {
    struct syn1_unit_seq in;
    uint32_t tokens[UNITS_TOKENS_MAX]; // in.n_rows
    uint32_t stop[SYN1_STOP_MAX];      // in.n_stop
    struct {
        uint32_t token;
        int32_t add;
    } bias[8];           // in.n_bias
    const uint8_t *rows; // in.n_rows, for spans after the first
};

struct units_frame {
    uint8_t *bytes; // malloc'ed
    size_t len;
};

// A unit for engine's span. print_seed is 42. *out is untouched and false
// returned if there is no memory.
bool units_build(const struct engine *engine, uint16_t flags,
                 const struct units_seq *seqs, uint16_t n_seqs,
                 struct units_frame *out);

// Build, run and parse in one. result has room for n_seqs; its views are valid
// until the engine's next call. Returns engine_run's error.
enum err units_run(struct engine *engine, uint16_t flags,
                   const struct units_seq *seqs, uint16_t n_seqs,
                   struct syn1_result_seq *result);

// Token i of a result.
uint32_t units_token(const struct syn1_result_seq *result, uint32_t i);

// n pseudo-random tokens of a vocabulary, the same for the same stream.
void units_tokens(uint32_t *tokens, uint32_t n, uint32_t n_vocab,
                  uint32_t stream);

#endif
