// syn1.h - SYN1, the wire format of work and results. This header is the
// specification. All numbers are little-endian, nothing is padded.
//
// A frame:
//
//    0  4  magic "SYN1"
//    4  1  version, 1
//    5  1  kind: 1 unit, 2 result, 3 call, 4 answer
//    6  2  flags: 1 tokens, 2 rows, 4 prints only; other bits are malformed
//    8 16  model id: the first 16 bytes of the SHA-256 of its manifest
//   24  2  span_first, shard index
//   26  2  span_end, one past the last shard; first < end, or both 0 where
//          the kind names no span (a call; an answer that names no model)
//   28  2  n_seqs, 1 .. SYN1_SEQS_MAX; 0 in calls and answers
//   30  1  kernel class: 0 exact, 1 f32
//   31  1  0
//   32 16  unit id, unguessable; all zero in calls and answers
//   48  4  attempt: how often the unit's rows were leased before
//   52  4  dim: elements of a row, 1 .. SYN1_DIM_MAX if flag rows, else 0
//   56  8  fingerprint seed
//   64  8  number. call, answer: the call's number. result: compute time, us.
//          unit: 0
//   72  4  body_len
//   76     body
//    ?  4  CRC-32C of all bytes before it
//
// Calls and answers have no flags and dim 0; an answer's model is zero where
// its span is.
//
// A row is dim int8 mantissas (-127 .. 127), then ceil(dim / 32) exponents
// (u8, 0 .. SYN1_EXP_MAX): element i is mantissa[i] << exponent[i / 32].
//
// Body of a unit (server to volunteer: "for this span, these rows of these
// sequences"), n_seqs entries of
//
//    0  8  sequence id
//    8  4  epoch
//   12  4  first: position of the first row
//   16  4  n_rows, 1 .. ; first + n_rows + max_new <= SYN1_POS_MAX
//   20  4  kv_valid <= first: rows of an older epoch that are still valid;
//          rows kv_valid .. first-1 were computed in this epoch
//   24  4  n_predict <= n_rows: tell your own token after each of the last
//          n_predict rows (teacher-forced)
//   28  4  max_new: then go on from the last row by this many own tokens
//   32  4  n_prompt <= SYN1_POS_MAX: positions from here on hold generated
//          tokens
//   36  4  inv_temp: 1 / temperature in Q16; 0 is greedy
//   40  4  top_p in Q16, 1 .. 65536 (65536: off)
//   44  4  top_k, 0: off
//   48  8  seed
//   56  4  presence penalty, i32 Q16, -2.0 .. 2.0
//   60  4  frequency penalty, i32 Q16, -2.0 .. 2.0
//   64  1  flags: 1 logprobs wanted, 2 ignore the model's end tokens
//   65  1  n_top: alternatives a token, 0 .. SYN1_TOP_MAX when logprobs are
//          wanted, else 0
//   66  2  n_bias, 0 .. SYN1_BIAS_MAX
//   68  2  n_stop, 0 .. SYN1_STOP_MAX
//   70  2  0
//   72     n_rows token ids (u32)       if flag tokens
//          n_rows rows                  if flag rows
//          n_bias of (u32 token id, i32 bias in Q16, -100.0 .. 100.0)
//          n_stop token ids (u32) that end the sequence like an end token
//
// A unit has flag tokens, rows or both (a span after the first one needs token
// ids only for penalties). With flag "prints only" the result carries
// fingerprints and no rows: that is how a partial span is checked. A result's
// flags say what it carries itself; rows and prints only exclude each other.
//
// Body of a result (volunteer to server), n_seqs entries in the unit's order:
//
//    0  8  sequence id
//    8  4  epoch
//   12  4  first: position of the first row given to the unit; first + n_rows,
//          n_tokens and n_prints are at most SYN1_POS_MAX
//   16  4  n_rows returned, only with flag rows (span without the head)
//   20  4  n_tokens: the n_predict predicted ones, then the new ones; only
//          with flag tokens (span with the head)
//   24  4  n_prints: fingerprints, for head spans one a token, else one a row
//   28  1  status: 0 ok, 1 KV missing (send the history), 2 no room
//   29  1  finish: 0 none, 1 end or stop token (it is the last token),
//          2 context full
//   30  1  flags: 1 logprobs follow
//   31  1  n_top
//   32     n_rows rows
//          n_tokens token ids (u32)
//          n_tokens of (i32 log-probability in Q16, <= 0, then n_top of
//          (u32 token id, i32 log-probability in Q16))    if logprobs follow
//          n_prints fingerprints of 16 bytes
//
// Body of a call (volunteer to server):
//
//    0  2  n_held: units the volunteer holds, 0 .. SYN1_HELD_MAX
//    2  2  n_models, 0 .. SYN1_MODELS_MAX
//    4  4  slots: sequences for which it has room beyond those it holds
//    8  8  memory, bytes: what it may still use
//   16  4  prefill speed, rows a second (0: not known)
//   20  4  decode speed, tokens a second, all sequences (0: not known)
//   24  4  wait_ms: how long it would like to be held, 0 .. SYN1_WAIT_MS_MAX
//   28  4  result_len
//   32     n_held unit ids of 16 bytes
//          n_models of (16-byte model id, u16 span_first, u16 span_end) cached
//          result_len bytes: a result frame, or none
//
// Body of an answer (server to volunteer). Its header's model and span name
// what the reason is about, or are zero:
//
//    0  2  reason, enum syn1_reason
//    2  1  outcome of the call's result: 0 none was posted, 1 accepted, 2 gone
//    3  1  0
//    4  4  retry_ms: when to call again
//    8  4  unit_len
//   12     unit_len bytes: a unit frame; there if and only if reason is 0
//
// Parsing is total: any bytes give a frame or an error. It allocates nothing,
// checks every length and range above, and gives out views. Token ids are only
// checked by the engine, which knows the vocabulary.
#ifndef BASE_SYN1_H
#define BASE_SYN1_H

#include "base/bytes.h"

enum {
    SYN1_HEADER_LEN = 76,
    SYN1_CRC_LEN = 4,
    SYN1_ID_LEN = 16,
    SYN1_PRINT_LEN = 16,
    SYN1_GROUP = 32, // elements that share one exponent
    SYN1_EXP_MAX = 24,
    SYN1_SEQS_MAX = 256,
    SYN1_DIM_MAX = 65536,
    SYN1_POS_MAX = 1 << 20,
    SYN1_TOP_MAX = 20,
    SYN1_BIAS_MAX = 1024,
    SYN1_STOP_MAX = 16,
    SYN1_HELD_MAX = 8,
    SYN1_MODELS_MAX = 64,
    SYN1_WAIT_MS_MAX = 25000,
    SYN1_FRAME_MAX = 64 << 20, // bytes, whole frame
};

enum syn1_kind {
    SYN1_UNIT = 1,
    SYN1_RESULT = 2,
    SYN1_CALL = 3,
    SYN1_ANSWER = 4,
};

enum { // flags of a frame
    SYN1_TOKENS = 1,
    SYN1_ROWS = 2,
    SYN1_PRINTS_ONLY = 4,
};

enum { // flags of a sequence
    SYN1_LOGPROBS = 1,
    SYN1_IGNORE_END = 2,
};

enum syn1_status { SYN1_OK = 0, SYN1_KV_MISSING = 1, SYN1_NO_ROOM = 2 };
enum syn1_finish { SYN1_GOES_ON = 0, SYN1_STOPPED = 1, SYN1_CONTEXT_FULL = 2 };
enum syn1_outcome { SYN1_NONE = 0, SYN1_ACCEPTED = 1, SYN1_GONE = 2 };

// Why an answer carries no unit.
enum syn1_reason {
    SYN1_WORK = 0,       // it carries one
    SYN1_NO_WORK = 1,    // nothing is queued that this volunteer can do
    SYN1_NOT_CACHED = 2, // fetch the header's model and span, then call again
    SYN1_QUOTA = 3,      // too many units or volunteers from this address
    SYN1_TRUST = 4,      // what is left may only go to proven volunteers
    SYN1_STORE_DOWN = 5, // the grid's store refuses writes
    SYN1_DRAINING = 6,   // the server is going down
    SYN1_NO_SLOTS = 7,   // the volunteer has no room for another sequence
    SYN1_BANNED = 8,
    SYN1_REASON_END
};

struct syn1_header {
    enum syn1_kind kind;
    uint16_t flags;
    uint8_t model[SYN1_ID_LEN];
    uint16_t span_first, span_end;
    uint16_t n_seqs;
    uint8_t kernel_class;
    uint8_t unit[SYN1_ID_LEN];
    uint32_t attempt;
    uint32_t dim;
    uint64_t print_seed;
    uint64_t number;
};

// How tokens are chosen; the numbers of section "unit" above.
struct syn1_sampling {
    uint32_t inv_temp_q16;
    uint32_t top_p_q16;
    uint32_t top_k;
    uint64_t seed;
    int32_t presence_q16;
    int32_t frequency_q16;
    uint8_t flags;
    uint8_t n_top;
};

// One sequence of a unit. Pointers are views into the frame; numbers behind
// them are unaligned and little-endian: read with bytes_peek_u32.
struct syn1_unit_seq {
    uint64_t id;
    uint32_t epoch, first, n_rows, kv_valid, n_predict, max_new, n_prompt;
    struct syn1_sampling sampling;
    uint16_t n_bias, n_stop;
    const uint8_t *tokens; // n_rows * 4 bytes, or NULL
    const uint8_t *rows;   // n_rows * syn1_row_len(dim) bytes, or NULL
    const uint8_t *bias;   // n_bias * 8 bytes
    const uint8_t *stop;   // n_stop * 4 bytes
};

// One sequence of a result; views as above.
struct syn1_result_seq {
    uint64_t id;
    uint32_t epoch, first, n_rows, n_tokens, n_prints;
    enum syn1_status status;
    enum syn1_finish finish;
    uint8_t flags, n_top;
    const uint8_t *rows;     // n_rows * syn1_row_len(dim) bytes
    const uint8_t *tokens;   // n_tokens * 4 bytes
    const uint8_t *logprobs; // n_tokens * (4 + 8 * n_top) bytes, or NULL
    const uint8_t *prints;   // n_prints * SYN1_PRINT_LEN bytes
};

struct syn1_call {
    uint16_t n_held, n_models;
    uint32_t slots;
    uint64_t memory;
    uint32_t prefill_rows_s, decode_tokens_s;
    uint32_t wait_ms;
    uint32_t result_len;
    const uint8_t *held;   // n_held * SYN1_ID_LEN bytes
    const uint8_t *models; // n_models * (SYN1_ID_LEN + 4) bytes
    const uint8_t *result; // result_len bytes: a frame of its own, not parsed
};

struct syn1_answer {
    enum syn1_reason reason;
    enum syn1_outcome outcome;
    uint32_t retry_ms;
    uint32_t unit_len;
    const uint8_t *unit; // unit_len bytes: a frame of its own, not parsed
};

// A parsed frame. For units and results walk the sequences with
// syn1_unit_next and syn1_result_next; for calls and answers read the union.
struct syn1_frame {
    struct syn1_header header;
    struct bytes body;
    union {
        struct syn1_call call;
        struct syn1_answer answer;
    } as;
};

// Bytes of one row of dim elements.
static inline size_t syn1_row_len(uint32_t dim)
{
    return (size_t)dim + (dim + SYN1_GROUP - 1) / SYN1_GROUP;
}

// Parse a whole frame and check every entry in it. Errors: ERR_TRUNCATED (buf
// ends before the frame does), ERR_VERSION, ERR_CHECKSUM, ERR_RANGE (a number
// past its limit above), ERR_FORMAT (anything else: unknown kinds and flags,
// zeros that are not, bodies that do not add up, trailing bytes). *out is
// untouched on error and borrows buf.
MUST_USE enum err syn1_parse(const uint8_t *buf, size_t len,
                             struct syn1_frame *out);

// The next sequence of a parsed unit or result. *body starts as frame.body.
// False when there is none. dim is the header's.
bool syn1_unit_next(const struct syn1_header *header, struct bytes *body,
                    struct syn1_unit_seq *out);
bool syn1_result_next(const struct syn1_header *header, struct bytes *body,
                      struct syn1_result_seq *out);

// Writing: begin, one put a sequence (or the one call or answer body), end.
// n_seqs is counted, body_len and the CRC are filled in by syn1_end. out must
// be empty at the beginning. The writer trusts its caller's numbers (they are
// ours) but never writes past out->cap: ERR_FULL.
void syn1_begin(struct bytes_out *out, const struct syn1_header *header);
void syn1_put_unit_seq(struct bytes_out *out, const struct syn1_header *header,
                       const struct syn1_unit_seq *seq);
void syn1_put_result_seq(struct bytes_out *out,
                         const struct syn1_header *header,
                         const struct syn1_result_seq *seq);
void syn1_put_call(struct bytes_out *out, const struct syn1_call *call);
void syn1_put_answer(struct bytes_out *out, const struct syn1_answer *answer);
MUST_USE enum err syn1_end(struct bytes_out *out);

// Bytes that a sequence will take in a frame, to size buffers.
size_t syn1_unit_seq_len(const struct syn1_header *header,
                         const struct syn1_unit_seq *seq);
size_t syn1_result_seq_len(const struct syn1_header *header,
                           const struct syn1_result_seq *seq);

#endif
