// unit.h - one unit while it is computed: what was asked of each sequence, how
// far it has come, and what it will answer.
#ifndef ENGINE_UNIT_H
#define ENGINE_UNIT_H

#include "engine/bind.h"
#include "engine/kv.h"
#include "engine/sampler.h"

struct unit_seq {
    struct syn1_unit_seq in; // views into the frame
    struct kv_slot *slot;    // NULL unless status is SYN1_OK
    enum syn1_status status;
    enum syn1_finish finish;
    uint32_t n_fed;  // rows computed, given and generated ones
    uint32_t n_new;  // tokens generated
    bool generating; // next_token is to be fed
    uint32_t next_token;

    // The answer, in the frame's own form.
    uint32_t n_rows, n_tokens, n_prints;
    uint8_t *rows, *tokens, *logprobs, *prints;
};

struct unit {
    struct syn1_header header; // the unit's
    uint32_t n_seqs;
    struct unit_seq *seqs; // SYN1_SEQS_MAX
    bool has_head, returns_rows;
    uint32_t dim;   // of the model's rows
    uint32_t n_all; // rows to compute, at most
    size_t answers_max;
    uint8_t *arena; // all answers
    size_t arena_len;
    uint8_t *frame; // the result
    size_t frame_len;
};

// Answers of one unit take answers_max bytes (1 .. SYN1_FRAME_MAX) at most.
MUST_USE enum err unit_init(struct unit *unit, size_t answers_max);
void unit_release(struct unit *unit);
size_t unit_bytes(const struct unit *unit);

// The most that unit_bytes can be.
size_t unit_need(size_t answers_max);

// Who reads a unit.
struct unit_reader {
    const struct bind_model *model;
    const uint8_t *id; // the model's, SYN1_ID_LEN bytes
    enum engine_class kernel_class;
};

// Parse a frame, check it against the reader, and make room for its answers:
// sequences that these do not fit have status SYN1_NO_ROOM then. Errors as
// engine_run; unit holds nothing of use then.
MUST_USE enum err unit_read(struct unit *unit, const struct unit_reader *reader,
                            const uint8_t *frame, size_t len);

// Tokens of given row i; only where the frame has tokens.
uint32_t unit_token(const struct unit_seq *seq, uint32_t i);

// Whether given row i is answered by a predicted token.
bool unit_predicts(const struct unit_seq *seq, uint32_t i);

// Append to the answer. The log-probability of a token, with the n_top
// alternatives that the unit wants, is put before the token itself.
void unit_put_logprob(struct unit_seq *seq, const struct sampler_top *own,
                      const struct sampler_top *tops);
void unit_put_token(struct unit_seq *seq, uint32_t token);

// Append the fingerprint of a row in wire form, of the unit's class.
void unit_put_print(const struct unit *unit, struct unit_seq *seq,
                    const uint8_t *row);

// Write the result frame. compute_us goes into its header. ERR_FULL.
MUST_USE enum err unit_write(struct unit *unit, uint64_t compute_us,
                             const uint8_t **out, size_t *out_len);

#endif
