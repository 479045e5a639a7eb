// work_frame.h - between SYN1 frames and the calls of the function "work".
// Inside scheduler/.
#ifndef SCHED_WORK_FRAME_H
#define SCHED_WORK_FRAME_H

#include "base/syn1.h"
#include "scheduler/args.h"
#include "scheduler/reply.h"
#include "scheduler/store.h"

enum {
    SCHED_SAMPLING_LEN = 30, // sampling as kept in Redis
    SCHED_DECISION_MAX = 256,
    SCHED_DRAWS_MAX = 100, // of a line; what is beyond is checked
};

// Sampling as bytes: inv_temp, top_p, top_k (u32), seed (u64), presence,
// frequency (i32), flags, n_top (u8); little-endian.
void sched_sampling_put(uint8_t out[SCHED_SAMPLING_LEN],
                        const struct syn1_sampling *sampling);
MUST_USE bool sched_sampling_get(struct bytes in, struct syn1_sampling *out);

// What was decided about the sequences of a result, as text for Redis.
struct sched_decisions {
    char text[SYN1_SEQS_MAX][SCHED_DECISION_MAX]; // "" where nothing was asked
};

// Mix each token's log-probabilities, where there are any, into its
// fingerprint, so that a check covers all that is delivered. result was parsed
// from frame, which is changed.
void sched_prints_mix(const struct syn1_frame *result, uint8_t *frame);

// Arguments 12.. of "work": the result, or none (frame NULL).
void sched_result_put(struct sched_args *args, const struct syn1_frame *result,
                      const struct sched_decisions *decisions);

// Decide what an "ask" reply asks (walk stands behind the word "ask").
// ERR_FORMAT if the reply makes no sense. cut may be NULL.
MUST_USE enum err
sched_decide(struct sched_walk *walk, const struct syn1_frame *result,
             struct sched_cut (*cut)(const struct sched_cut_ask *, void *),
             void *cut_ctx, struct sched_decisions *out);

struct sched_empty {
    enum syn1_reason reason;
    uint32_t retry_ms;
    const uint8_t *model; // SYN1_ID_LEN bytes, or NULL
    uint16_t span_first, span_end;
};

// Make an ANSWER frame. *out is the caller's to free.
// With the unit of an "ans" reply (walk stands behind the word "unit"):
MUST_USE enum err sched_answer_unit(uint64_t number, enum syn1_outcome outcome,
                                    struct sched_walk *walk, uint8_t **out,
                                    size_t *out_len);
// Without one:
MUST_USE enum err sched_answer_empty(uint64_t number, enum syn1_outcome outcome,
                                     const struct sched_empty *empty,
                                     uint8_t **out, size_t *out_len);

#endif
