// batch.h - batches, their lines and their results.
//
// Life: create (validating, an ingest job is due) -> lines are added
// (in_progress) -> every line is final (finalizing, an output job is due) ->
// output written (completed, a callback event is due if it has a callback).
// Cancelling, or expiring when its completion window passes, drops the lines
// that are not final yet; what is final is written as output all the same.
#ifndef SCHED_BATCH_H
#define SCHED_BATCH_H

#include "base/bytes.h"
#include "base/syn1.h"
#include "scheduler/job.h"

enum {
    SCHED_CUSTOM_ID_MAX = 512, // bytes
    SCHED_BLOB_MAX = 1 << 16,  // bytes of what is kept for the caller
    SCHED_LINES_MAX = 256,     // lines in one sched_batch_add
    SCHED_RESULTS_MAX = 1000,  // results in one page
    SCHED_MAKERS_MAX = 8,
    SCHED_REDUNDANCY_MAX = 3,
    SCHED_CHECKS_MAX = 8,   // of a line that a receipt tells
    SCHED_CHOICES_MAX = 16, // of a line
};

enum sched_batch_status {
    SCHED_VALIDATING,
    SCHED_IN_PROGRESS,
    SCHED_FINALIZING,
    SCHED_COMPLETED,
    SCHED_FAILED,
    SCHED_CANCELLED,
    SCHED_EXPIRED,
    SCHED_CANCELLING,
};

struct sched_batch_new {
    const char *id;           // drawn by the caller, 1 .. SCHED_ID_MAX
    const char *key;          // id of the API key, 1 .. SCHED_ID_MAX
    const char *model;        // its name; "": each line names one
    const char *endpoint;     // opaque
    int64_t window_ms;        // it expires so long after its creation
    const char *input_file;   // name in --files, written and synced
    const char *input_id;     // id of that file's record
    uint64_t input_bytes;     // the record is made too; 0: it is there already
    uint64_t n_lines;         // in the input file, >= 1
    const char *callback_url; // "" for none
    const char *callback_secret; // "" for none
    // Where it goes, host and port: what is tried there at once is bounded.
    const char *callback_endpoint; // NULL: ""
    const char *callback_kinds;    // letters (callback.h); NULL: of its end
    struct bytes metadata;         // opaque, 0 .. SCHED_BLOB_MAX
    uint64_t stored_max; // bytes stored for this key, cap where it has no quota
                         // (0: none)
    uint32_t redundancy; // 0 or 1: spot checks; 2, 3: every line is
                         // confirmed by so many volunteers
    bool receipts;       // its lines carry what receipts need
    bool near;           // class f32 will do for it, too
};

// Create a batch. Repeating it with the same id changes nothing (ERR_OK).
// Errors: ERR_FULL (a quota of the key, or stored_max, would be passed).
MUST_USE enum err sched_batch_create(struct sched_store *store,
                                     const struct sched_batch_new *batch,
                                     sched_done_fn *fn, void *ctx);

struct sched_batch {
    const char *id, *key, *model, *endpoint, *input_file, *input_id;
    const char *output_file; // all results, in --files; "" until it is over
    const char *output_id, *error_id; // files of its lines; "": none
    enum sched_batch_status status;
    int64_t created_ms, in_progress_ms, finalizing_ms; // 0: not yet
    int64_t cancelling_ms;
    int64_t completed_ms; // when it was over, in whichever way
    int64_t window_ms, expires_ms;
    uint64_t total;                     // lines of the input
    uint64_t ingested;                  // of them read
    uint64_t completed, failed;         // of them final
    uint64_t queued, running, checking; // of the rest, as they are now
    uint64_t tokens;                    // generated, of final lines
    uint64_t prompt_tokens;             // of the same lines, each line's once
    const char *callback_url, *callback_secret;
    const char *callback_event;    // of its end: id, "" for none
    const char *callback_kinds;    // letters (callback.h)
    int64_t callback_delivered_ms; // 0: not
    uint32_t callback_attempts;
    int32_t callback_status; // last HTTP status, 0: none yet or no connection
    struct bytes metadata;
    const char *error_code, *error_text; // of a failed batch, else ""
    uint64_t error_line;                 // 1-based, 0: none
    uint32_t redundancy;
    bool receipts, near;
    uint64_t checked_tokens;    // of final lines that were checked themselves
    uint64_t recomputed_tokens; // by checks, disputes included
    const char *waiting;   // why nothing moves: "", "volunteers" (nobody is
                           // there) or "checks" (no second one and no referee)
    int64_t busy_ms;       // since its first line was taken; 0: none was
    int64_t recent_ms;     // a stretch of up to a minute until now; 0: none
    uint64_t recent_final; // lines that became final in it
};

typedef void sched_batch_fn(enum err err, const struct sched_batch *batch,
                            void *ctx);

// Errors: ERR_NOT_FOUND (also when it belongs to another key). key NULL: any.
MUST_USE enum err sched_batch_get(struct sched_store *store, const char *id,
                                  const char *key, sched_batch_fn *fn,
                                  void *ctx);

typedef void sched_batches_fn(enum err err, const struct sched_batch *batches,
                              size_t n, bool more, void *ctx);

// The key's batches, newest first, after the batch named after ("": from the
// start; unknown: ERR_NOT_FOUND), at most limit (1 .. 100).
MUST_USE enum err sched_batch_list(struct sched_store *store, const char *key,
                                   const char *after, uint32_t limit,
                                   sched_batches_fn *fn, void *ctx);

// One line of a batch, either a request or (error_len > 0) an error.
struct sched_line {
    uint64_t number;        // 0-based, in the input; each once, ascending
    struct bytes custom_id; // 0 .. SCHED_CUSTOM_ID_MAX
    struct bytes error;     // opaque error record; then nothing below counts
    uint8_t model[SYN1_ID_LEN]; // of a model that was put
    uint32_t n_prompt;          // 1 .. context - 1
    const uint32_t *prompt;
    uint32_t max_tokens; // >= 1; the context may end it earlier
    struct syn1_sampling sampling;
    bool seed_given; // else the seed was drawn; told in the result
    // It is computed so often (0 .. SCHED_CHOICES_MAX, 0: once), with seeds
    // that count up from the one given.
    uint32_t n_choices;
    uint16_t n_bias;
    const uint8_t *bias; // n_bias * 8 bytes, as in SYN1
    uint16_t n_stop;
    const uint32_t *stop; // token ids that end it, besides the model's
    struct bytes stops;   // opaque, for the cut hook; empty: none
    struct bytes blob;    // opaque, comes back with the result
};

// Add the next lines of the input (0 .. SCHED_LINES_MAX) and move the job's
// cursor from job->cursor to cursor_to, in one step; on ERR_OK put the new
// cursor and line count into your job. A repeat of a step that was made is
// ERR_OK and adds nothing. ERR_GONE: the job is someone else's now. ERR_FULL:
// enough of the batch is queued: give the job back with a delay, which ends
// early when most of that is taken. Lines that
// break a limit above (or name an unknown model): ERR_RANGE, nothing added.
MUST_USE enum err sched_batch_add(struct sched_store *store,
                                  const struct sched_job *job,
                                  const struct sched_line *lines, size_t n,
                                  uint64_t cursor_to, int64_t ttl_ms,
                                  sched_done_fn *fn, void *ctx);

// The input has ended: no line will be added. ERR_GONE as above.
MUST_USE enum err sched_batch_lines_done(struct sched_store *store,
                                         const struct sched_job *job,
                                         sched_done_fn *fn, void *ctx);

// The client wants no more of it: cancelling, or as it was if it is finalizing.
// Errors: ERR_NOT_FOUND (not key's), ERR_EXISTS (it is over, not by this).
MUST_USE enum err sched_batch_cancel(struct sched_store *store, const char *id,
                                     const char *key, sched_done_fn *fn,
                                     void *ctx);

// The whole batch cannot be done (its input file is gone, say): failed, with a
// callback event. line: 1-based or 0. Lines under way are dropped.
MUST_USE enum err sched_batch_fail(struct sched_store *store,
                                   const struct sched_job *job,
                                   const char *code, const char *text,
                                   uint64_t line, sched_done_fn *fn, void *ctx);

enum sched_finish { SCHED_FINISH_STOP, SCHED_FINISH_LENGTH };

struct sched_maker {
    const char *name, *backend;
    uint8_t kernel_class; // of what it computed: 0 exact, 1 f32
};

// What a receipt says of a final line beside its result.
struct sched_proof {
    const uint8_t *prompt; // n_prompt token ids, little-endian u32
    struct syn1_sampling sampling;
    uint16_t n_bias, n_stop;
    const uint8_t *bias, *stop; // as in SYN1
    uint32_t n_checks;          // 0: what followed it was checked
    struct sched_check {
        bool referee;
        const char *backend;
        uint16_t span_first, span_end; // 0, 0: of the whole model
    } checks[SCHED_CHECKS_MAX];        // (the first so many)
};

// A final line.
struct sched_result {
    uint64_t number; // of the line in the input
    struct bytes custom_id;
    struct bytes error; // not empty: an error line, nothing below counts
    enum sched_finish finish;
    uint32_t n_prompt;
    uint32_t n_tokens;
    const uint32_t *tokens; // generated; a stop string's tokens included
    struct bytes logprobs;  // of each token as in SYN1, or empty
    bool seed_given;
    bool near; // one of its makers computed in class f32
    uint64_t seed;
    int64_t final_ms;
    uint32_t n_makers;                           // volunteers that computed it
    struct sched_maker makers[SCHED_MAKERS_MAX]; // (the first so many)
    struct sched_maker checker; // the last; "": what followed it was checked
    struct bytes stops, blob;   // as given with the line
    const char *model;          // its name
    bool has_proof;             // its batch wants receipts
    struct sched_proof proof;
    // Of a line with several choices, all of them, with all that stands above;
    // what stands above is the first's. Else 0 and NULL.
    uint32_t n_choices;
    const struct sched_result *choices;
};

// next: pass it as after to go on. more: there are results after these now.
typedef void sched_results_fn(enum err err, const struct sched_result *results,
                              size_t n, uint64_t next, bool more, void *ctx);

// Results in order of finality, from index after (0: the first), at most limit
// (1 .. SCHED_RESULTS_MAX; fewer come when they are large). ERR_NOT_FOUND: no
// such batch (for that key; NULL: any). ERR_GONE: completed, read the output
// file.
MUST_USE enum err sched_batch_results(struct sched_store *store, const char *id,
                                      const char *key, uint64_t after,
                                      uint32_t limit, sched_results_fn *fn,
                                      void *ctx);

// What a batch gave, in --files.
struct sched_batch_files {
    const char *results; // all result lines
    uint64_t results_bytes;
    struct sched_batch_file {
        const char *id; // of the record to make; NULL: there is no such file
        const char *path;
        uint64_t bytes, lines;
    } output, error; // the lines that were answered, and the others
};

// Its files are written and synced: the batch is completed (cancelled,
// expired), its callback event is due, its results leave Redis. event: id for
// that event, drawn by the caller (1 .. SCHED_ID_MAX). Repeats are ERR_OK.
// ERR_GONE as above.
MUST_USE enum err sched_batch_output(struct sched_store *store,
                                     const struct sched_job *job,
                                     const struct sched_batch_files *files,
                                     const char *event, sched_done_fn *fn,
                                     void *ctx);

#endif
