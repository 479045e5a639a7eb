// cheat.h - wrong work on purpose: a volunteer's engine_run replaced by one
// that lies in some of its stints. For tests and benchmarks only.
//
// Lies are told by the stint: who lies in one unit of a (sequence, epoch) lies
// in all of them, from one engine, so that a lie is at one with itself.
#ifndef TESTS_CHEAT_H
#define TESTS_CHEAT_H

#include "engine/engine.h"

enum cheat_mode {
    CHEAT_NONE,
    // Computed by an engine that is not the model's; see doctored.h.
    CHEAT_WEIGHTS4,
    CHEAT_MATRIX4,
    CHEAT_LAYER,
    CHEAT_EXPONENTS,
    CHEAT_KV,
    CHEAT_CONTEXT, // the first half of the prompt left out
    CHEAT_COLLUDE, // CHEAT_LAYER, and as a checker it knows its own kind's
                   // work by its tokens and says that it is right
    // Computed and then changed.
    CHEAT_RANDOM,
    CHEAT_REPLAY, // the answer of another sequence
    CHEAT_ECHO,   // what was given
    CHEAT_FLIP,   // one bit of one row in `flip`
    CHEAT_TOKEN,  // one token in the middle
    CHEAT_PRINT,  // one fingerprint, the last
    CHEAT_SHORT,  // the last token left out
    // The same, but told by the unit.
    CHEAT_UNIT,  // the result names a unit that nobody holds
    CHEAT_FRAME, // a bit of the frame, its checksum stale
    // Not computed.
    CHEAT_INSTANT, // zeros at once
    CHEAT_HOLD,    // nothing, ever
    CHEAT_END
};

struct cheat_plan {
    enum cheat_mode mode;
    uint32_t after;  // stints that are honest first
    uint32_t chance; // of a lie in a later stint or unit, in thousandths
    uint32_t flip;   // CHEAT_FLIP: the chance of a row, in thousandths
    uint64_t seed;   // of its choices
};

// "MODE", then any of ",after=N", ",chance=N", ",flip=N" (thousandths; 1000
// unless told) and ",seed=N". MODE as the names above, in lower case.
// ERR_NOT_FOUND: no such mode. ERR_FORMAT.
MUST_USE enum err cheat_parse(const char *text, struct cheat_plan *out);
const char *cheat_name(enum cheat_mode mode);

struct cheat;

// Cheat on the model of these shards, which must outlive it. NULL options:
// only modes that need no engine of their own. ERR_NOMEM, errors of
// engine_new.
MUST_USE enum err cheat_new(const struct cheat_plan *plan,
                            const struct engine_shard *shards, size_t n_shards,
                            const struct engine_options *options,
                            struct cheat **out);
void cheat_free(struct cheat *cheat);

// In the place of engine_run; step as in struct engine_options: CHEAT_HOLD
// ends with ERR_GONE when it returns false. *out is valid until the next call.
MUST_USE enum err cheat_run(struct cheat *cheat, struct engine *engine,
                            const uint8_t *frame, size_t len,
                            engine_step_fn *step, void *step_ctx,
                            const uint8_t **out, size_t *out_len);

// Stints begun, and those it lied in.
void cheat_count(const struct cheat *cheat, uint64_t *n_stints,
                 uint64_t *n_lies);

#endif
