// models.h - the models that this server serves, loaded once at start.
#ifndef API_MODELS_H
#define API_MODELS_H

#include <stddef.h>
#include <stdint.h>

#include "api/chat.h"
#include "splitter/manifest.h"

struct tokenizer;

enum { API_MODELS_MAX = 64, API_MODEL_ID_HEX = 2 * SHA256_LEN };

struct api_model {
    struct manifest manifest;
    uint8_t id[SHA256_LEN]; // SHA-256 of the manifest's bytes
    char id_hex[API_MODEL_ID_HEX + 1];
    char *manifest_text; // the very bytes
    size_t manifest_len;
    int dir_fd;       // its folder
    int64_t made_ms;  // unix time of its manifest file
    uint64_t n_bytes; // of all shards
    uint64_t n_params;
    struct tokenizer *tokenizer;
    enum api_chat_family chat;
};

struct api_models {
    struct api_model items[API_MODELS_MAX];
    size_t n;
};

// Load the model folder dir, or every model folder in dir. On error *why gets
// one line. Errors: ERR_NOT_FOUND (no model there), ERR_EXISTS (two of one
// name), those of manifest.h and tokenizer.h, ERR_FULL.
MUST_USE enum err api_models_load(const char *dir, struct api_models *models,
                                  char *why, size_t why_len);

void api_models_release(struct api_models *models);

// By name or by id in hex; NULL: not served.
const struct api_model *api_models_find(const struct api_models *models,
                                        const char *name);

#endif
