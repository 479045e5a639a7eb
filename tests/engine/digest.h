// digest.h - one hash over the results of a fixed set of frames on the
// synthetic models. Every build, instruction set and number of threads must
// give the committed one (test_digest.c). libc only.
#ifndef TESTS_ENGINE_DIGEST_H
#define TESTS_ENGINE_DIGEST_H

#include "base/sha256.h"
#include "engine/engine.h"

// What all builds must give, as hexadecimal digits.
extern const char digest_committed[2 * SHA256_LEN + 1];

// options: kernels, threads and rows as wanted. ERR_OK, or what went wrong.
enum err digest_run(const struct engine_options *options,
                    uint8_t out[SHA256_LEN]);

// Sees what is hashed, in order: each model, then its units and their results.
struct digest_watch {
    void (*on_model)(void *ctx, const struct engine_shard *shards,
                     uint32_t n_shards);
    void (*on_unit)(void *ctx, const uint8_t *unit, size_t unit_len,
                    const uint8_t *result, size_t result_len);
    void *ctx;
};

// As digest_run.
enum err digest_watch(const struct engine_options *options,
                      const struct digest_watch *watch,
                      uint8_t out[SHA256_LEN]);

void digest_text(const uint8_t digest[SHA256_LEN],
                 char out[2 * SHA256_LEN + 1]);

#endif
