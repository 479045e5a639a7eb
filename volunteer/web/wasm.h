// wasm.h - the engine as a WebAssembly module: synapse-relaxed.wasm (needs
// relaxed SIMD) and synapse-simd.wasm (plain SIMD). Both offer the functions
// below under these names, `memory`, and `_initialize`, which is to be called
// once before all others. They run on one thread. synapse-relaxed-threads.wasm
// and synapse-simd-threads.wasm are the same with the functions of pool.h
// besides; they import a shared "env" "memory", of 64 pages or more and at most
// 65536, and export __stack_pointer.
//
// All state hangs off one host. Pointers are byte offsets into `memory`, which
// grows up to 4 GB: make new views after every call. Texts are UTF-8,
// NUL-ended. An err is enum err (0 is well); host_why says more.
//
// The module imports two functions from "env":
//
//   now_ms() -> f64           a clock that never goes back, milliseconds
//   step(done, all) -> i32    called between steps of a unit with the rows
//                             computed so far; 0 abandons the unit (ERR_GONE)
//
// To load a model: for each shard host_shard, then host_tensor for each tensor
// of its safetensors header, whose bytes lie in memory from host_alloc and stay
// there; then host_bind. After that host_run takes SYN1 units.
#ifndef WEB_WASM_H
#define WEB_WASM_H

#include <stdint.h>

#include "base/err.h"
#include "engine/engine.h"

struct host;

// NULL if there is no memory.
struct host *host_new(void);

// Frees the engine, but no memory that host_alloc gave out.
void host_free(struct host *host);

// len bytes aligned to 64, not cleared; NULL if there is no memory. dealloc
// takes what alloc gave, or NULL.
void *host_alloc(uint32_t len);
void host_dealloc(void *ptr);

// SHA-256 in pieces: start, add any number of times, then the 32 bytes of the
// digest, valid until the next start.
void host_sha256_start(struct host *host);
void host_sha256_add(struct host *host, const uint8_t *ptr, uint32_t len);
const uint8_t *host_sha256_end(struct host *host);

// The proof of work of base/toll.h, whose TOLL_LEN bytes are at toll: begin one
// for a challenge, and try some more nonces. search: 1 if it is paid now.
void host_toll_begin(const uint8_t *challenge, uint32_t len, uint8_t *toll);
uint32_t host_toll_search(uint8_t *toll, uint32_t tries, uint32_t bits);

// Begin the next shard of the span, in order. ERR_NOMEM.
enum err host_shard(struct host *host);

// Add a tensor to the last shard. name has name_len bytes; dtype is one of
// "I8", "U8", "I16", "I32" as enum tensor_dtype counts them, 1 .. 4; dims are
// u32. data is aligned to 64. ERR_RANGE, ERR_FORMAT, ERR_NOMEM.
enum err host_tensor(struct host *host, const char *name, uint32_t name_len,
                     uint32_t dtype, uint32_t n_dims, const uint32_t *dims,
                     const void *data, uint32_t n_bytes);

// Let the engine compute with n_workers (pool.h: as many as there may ever be),
// by pool_runner and its pool. Before host_bind; without it, one thread.
void host_parallel(struct host *host, engine_parallel_fn *parallel, void *ctx,
                   uint32_t n_workers);

// Make the engine. model has 16 bytes (base/syn1.h); n_slots sequences at most,
// 0 for the engine's own choice; KV, scratch and answers keep to max_bytes,
// 0: no bound; isa is enum engine_isa, 0 for what computes fastest here (it is
// tried out). Afterwards the shards' bytes are in use until host_free.
// ERR_FULL: it needs more than max_bytes. Other errors as engine_new.
enum err host_bind(struct host *host, const uint8_t *model, uint32_t n_slots,
                   uint32_t max_bytes, uint32_t isa);

// Compute a unit. The result frame is host_out .. host_out + host_out_len,
// valid until the next call. Errors as engine_run.
enum err host_run(struct host *host, const uint8_t *frame, uint32_t len);
const uint8_t *host_out(const struct host *host);
uint32_t host_out_len(const struct host *host);

// Forget a sequence, whose id is high * 2^32 + low.
void host_drop(struct host *host, uint32_t low, uint32_t high);

// Sequences for which there is room beyond those held.
uint32_t host_free_slots(const struct host *host);

// What went wrong last, one line; empty if nothing was said.
const char *host_why(const struct host *host);

// The text of an err.
const char *host_err_text(uint32_t err);

// Name of the kernels that the engine uses; "" before host_bind.
const char *host_kernels(const struct host *host);

#endif
