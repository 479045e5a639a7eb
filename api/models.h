// models.h - the models that this server serves, loaded once at start.
#ifndef API_MODELS_H
#define API_MODELS_H

#include <stddef.h>
#include <stdint.h>

#include "api/chat_template.h"
#include "splitter/manifest.h"

struct tokenizer;

enum {
    API_MODELS_MAX = 64,
    API_MODEL_ID_HEX = 2 * SHA256_LEN,
    API_ALIASES_MAX = 64,
    API_ALIAS_LEN_MAX = 255,
};

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
    struct api_chat_template chat;
};

// Another name of a model.
struct api_alias {
    char name[API_ALIAS_LEN_MAX + 1];
    const struct api_model *model;
};

struct api_models {
    struct api_model items[API_MODELS_MAX];
    size_t n;
    struct api_alias aliases[API_ALIASES_MAX];
    size_t n_aliases;
};

// Load the model folder dir, or every model folder in dir. On error *why gets
// one line. Errors: ERR_NOT_FOUND (no model there), ERR_EXISTS (two of one
// name), those of manifest.h and tokenizer.h, ERR_FULL.
MUST_USE enum err api_models_load(const char *dir, struct api_models *models,
                                  char *why, size_t why_len);

void api_models_release(struct api_models *models);

// Give a loaded model one more name; text is "NAME=MODEL". On error *why gets
// one line. Errors: ERR_FORMAT (no such text), ERR_NOT_FOUND (no such model),
// ERR_EXISTS (the name is taken), ERR_FULL.
MUST_USE enum err api_models_alias(struct api_models *models, const char *text,
                                   char *why, size_t why_len);

// The names that are served, "a, b, c", as many as fit.
void api_models_names(const struct api_models *models, char *out, size_t cap);

// The alias of that name; NULL: there is none.
const char *api_models_alias_of(const struct api_models *models,
                                const char *name);

// By name, alias or id in hex; NULL: not served.
const struct api_model *api_models_find(const struct api_models *models,
                                        const char *name);

#endif
