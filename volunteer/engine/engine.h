// engine.h - the integer transformer over the shards of one span: SYN1 unit
// in, SYN1 result out.
//
// No I/O, no clock, no floats; libc only, so the same sources run natively and
// as WASM. Everything that changes an output byte is in the shards and the
// frame; isa, threads, chunking and memory never do.
// One engine is used by one thread at a time.
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/syn1.h"
#include "engine/kernels.h"
#include "splitter/format.h"
#include "splitter/tensor.h"

struct engine;

// The tensors of one shard; names are looked up once, in engine_new.
struct engine_shard {
    const struct tensor *tensors;
    size_t n_tensors;
};

// One task of a parallel loop. worker is 0 .. n_workers-1, and no two tasks
// that run at the same time have the same.
typedef void engine_task_fn(void *arg, uint32_t task, uint32_t worker);

// Run fn(arg, 0 .. n_tasks-1, worker) and return when all are done.
typedef void engine_parallel_fn(void *ctx, engine_task_fn *fn, void *arg,
                                uint32_t n_tasks);

// Called between steps of a unit with rows done so far (rows given, tokens
// generated); return false to abandon the unit.
typedef bool engine_step_fn(void *ctx, uint32_t n_done, uint32_t n_all);

// No engine holds more than its engine_need plus its bound of KV pages.
struct engine_options {
    uint8_t model[SYN1_ID_LEN]; // units must name it
    uint32_t n_slots;           // sequences kept at the same time; 0: 64
    size_t kv_bytes;     // bound of the KV pages; 0: as much as n_slots need
    size_t answer_bytes; // bound of the answers to a unit; sequences beyond it
                         // are told "no room"; 0: SYN1_FRAME_MAX
    uint32_t n_rows;     // rows computed together, at most; 0: 128
    // Copied; NULL: the fastest. Those of class f32 compute units of class
    // f32 only, on spans of at most ENGINE_F32_LAYERS_MAX layers and no head.
    const struct engine_kernels *kernels;
    engine_parallel_fn *parallel; // NULL: one thread
    void *parallel_ctx;
    uint32_t n_workers;   // 1 .. ENGINE_WORKERS_MAX; 0: 1
    engine_step_fn *step; // NULL: none
    void *step_ctx;
    uint64_t (*now_us)(void *ctx); // for the result's compute time; NULL: 0
    void *now_ctx;
};

enum { ENGINE_WORKERS_MAX = 256 };

// Bind the shards first .. first+n_shards-1 of one model, in that order. The
// tensors' data is borrowed until engine_free; descriptors are not kept.
// Names, dtypes, shapes, exponents and tables are checked; weight bytes are
// not looked at (their hash was). Errors: ERR_FORMAT, ERR_VERSION, ERR_RANGE,
// ERR_NOT_FOUND (a tensor is not there), ERR_UNSUPPORTED (not a span for class
// f32), ERR_NOMEM; *why is one line.
MUST_USE enum err engine_new(const struct engine_shard *shards, size_t n_shards,
                             const struct engine_options *options,
                             struct engine **out, char *why, size_t why_len);
void engine_free(struct engine *engine);

// The configuration of the first shard, the model's id (SYN1_ID_LEN bytes),
// and the span [first, end).
const struct format_config *engine_config(const struct engine *engine);
const uint8_t *engine_model(const struct engine *engine);
uint32_t engine_span_first(const struct engine *engine);
uint32_t engine_span_end(const struct engine *engine);
uint32_t engine_layers(const struct engine *engine); // of the span
enum engine_class engine_kernel_class(const struct engine *engine);

// What an engine of these shards and options will hold at most.
struct engine_need {
    size_t fixed;            // all but KV pages, its answers included
    size_t kv_each;          // KV pages of one sequence of the full context
    uint32_t n_ctx, d_model; // the model's
    bool has_head;           // the span's
};

// Work it out without building an engine. Errors and why as engine_new.
MUST_USE enum err engine_need(const struct engine_shard *shards,
                              size_t n_shards,
                              const struct engine_options *options,
                              struct engine_need *out, char *why,
                              size_t why_len);

// Change the bound of the KV pages (at least one page is kept): sequences
// unused for longest are forgotten until it holds.
void engine_limit_kv(struct engine *engine, size_t kv_bytes);

// Run a unit. *out is a result frame of *out_len bytes, the engine's, valid
// until the next call. A sequence whose KV rows are missing, or for which there
// is no room, says so in its result; the others are computed all the same.
// A unit of class f32 may be computed by any engine, for a span without the
// head; its fingerprints are those of redundancy/project.h.
// Errors, after which no sequence was changed but some may have been dropped:
// those of syn1_parse; ERR_FORMAT (not a unit, or it lacks the tokens or rows
// that this span reads, or has predictions on a span without the head, or a
// sequence twice); ERR_NOT_FOUND (another model, span or kernel class);
// ERR_RANGE (a token id past the vocabulary, a position past the context,
// another row width); ERR_FULL (the result would be longer than
// SYN1_FRAME_MAX); ERR_GONE (abandoned by step); ERR_NOMEM.
MUST_USE enum err engine_run(struct engine *engine, const uint8_t *frame,
                             size_t len, const uint8_t **out, size_t *out_len);

// Forget a sequence (its line is final, or it went elsewhere).
void engine_drop(struct engine *engine, uint64_t seq);

// Sequences for which there is room beyond those held: for a call's "slots".
uint32_t engine_free_slots(const struct engine *engine);

// Bytes the engine itself holds now (KV and scratch, not the shards).
size_t engine_bytes(const struct engine *engine);

#endif
