// fake.h - volunteers that compute the toy model, honestly or not, and speak
// SYN1 to sched_work_*.
#ifndef TESTS_FAKE_H
#define TESTS_FAKE_H

#include "world.h"

enum {
    FAKE_SEQS = 512, // that it remembers; then the oldest make way
    FAKE_HELD = 4,
    FAKE_SPANS = 16,
    FAKE_FRAME_MAX = 1 << (WORLD_TOKENS ? 23 : 18), // bytes
};

enum fake_mode {
    FAKE_HONEST,
    FAKE_WRONG_TOKEN, // every line gets a wrong second token
    FAKE_WRONG_PRINT, // fingerprints of checks and work are wrong
    FAKE_WRONG_WORK,  // only those of work
    FAKE_WRONG_PROBS, // only log-probabilities are wrong
    FAKE_NO_PROBS,    // leaves them out
    FAKE_STOPS_EARLY, // claims an end token that is none of the model's
    FAKE_MALFORMED,   // a token id out of the vocabulary
    FAKE_SHORT,       // fewer tokens than asked
    FAKE_WRONG_ROW,   // the third row out of a span is wrong
    FAKE_NO_ROOM,     // refuses every second unit
    FAKE_FORGETS,     // loses its KV now and then
};

// What it remembers of a sequence: all its tokens.
struct fake_seq {
    uint64_t id;
    uint32_t span;  // its first shard
    uint32_t sound; // positions whose rows were right
    uint32_t n, tokens[MODEL_CONTEXT + 16];
};

struct fake {
    struct world *w;
    struct sched_store *store;
    struct sched_who who;
    char id[SCHED_ID_MAX + 1];
    uint8_t account;
    bool referee;
    enum fake_mode mode;
    uint32_t depth, slots, wait_ms;
    // That it holds; one, the whole model, at first.
    uint16_t spans[FAKE_SPANS][2];
    size_t n_spans;
    uint64_t memory; // that it may use; as it joined, at first
    bool obeys;      // fetches what it is told to; a referee, besides the model
    uint64_t number;
    struct {
        uint8_t *frame;
        size_t len;
    } held[FAKE_HELD];
    size_t n_held;
    struct fake_seq *seqs;
    size_t n_seqs, next;  // how many, and where the next one goes
    uint32_t units, rows; // computed
    uint32_t work_seqs, check_seqs;
    // the last call
    struct sched_work *work;
    bool done;
    enum err err;
    enum syn1_reason reason;
    enum syn1_outcome outcome;
    uint8_t answer[FAKE_FRAME_MAX];
    size_t answer_len;
    bool running;                 // by itself, see fake_go
    uint8_t call[FAKE_FRAME_MAX]; // the last CALL frame, to be repeated
    size_t call_len;
};

// Join as volunteer number n of an account.
void fake_join(struct fake *f, struct world *w, int n, uint8_t account,
               bool referee);
// ... from this address block, with this backend; fake_join: "", "native-ref".
// Whatever its entry costs is paid.
void fake_join_from(struct fake *f, struct world *w, int n, uint8_t account,
                    const char *block, const char *backend);
// ... as this joiner says, who is filled in: what came of it. Release the fake
// in any case.
struct sched_entry fake_enter(struct fake *f, struct world *w, int n,
                              struct sched_joiner joiner);
void fake_release(struct fake *f);
enum err fake_leave(struct fake *f);

// Make a call: with the result of held unit number which, or -1 for none.
void fake_call_start(struct fake *f, int which, uint32_t wait_ms);
// ... and wait for its answer. A unit is added to held.
enum err fake_call(struct fake *f, int which, uint32_t wait_ms);
// It holds this span and no other.
void fake_holds(struct fake *f, uint16_t first, uint16_t end);
// The same frame once more.
enum err fake_repeat(struct fake *f);

// Compute a unit frame into a result frame. Returns its length.
size_t fake_compute(struct fake *f, const uint8_t *unit, size_t len,
                    uint8_t *out, size_t cap);

// From now on it calls and computes by itself, from the loop.
void fake_go(struct fake *f);

// Let these run until the batch's lines are all final (its status becomes
// finalizing). limit_ms: how long that may take where nothing else runs; a busy
// machine gets five times that.
void fakes_until_final(struct world *w, const char *batch, int64_t limit_ms);
// Complete the batch (take its output job) and check that it is completed.
void fakes_output(struct world *w, const char *batch);

#endif
