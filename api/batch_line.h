// batch_line.h - one line of a batch's input file, read and checked: a request
// ready for the scheduler, or an error record.
//
// In an uploaded file a request is the "body" of its line, beside custom_id,
// method and url; inline, it is the line itself.
#ifndef API_BATCH_LINE_H
#define API_BATCH_LINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/models.h"
#include "scheduler/batch.h"
#include "tokenizer/text.h"

enum {
    API_LINE_LEN_MAX = 2 << 20, // bytes of a line; longer ones are errors
    API_STOP_LEN_MAX = 256,     // bytes of a stop string
    API_BIAS_MAX = 300,
    API_USER_MAX = 512, // bytes
};

// What is kept with a line and comes back with its result.
enum { API_BLOB_GREEDY = 1, API_BLOB_CHAT = 2 }; // flags in its one byte

#define API_ENDPOINT_TEXT "/v1/completions"
#define API_ENDPOINT_CHAT "/v1/chat/completions"

// What holds for all lines of a batch.
struct api_line_rules {
    const struct api_models *models;
    const struct api_model *model; // NULL: each line names one that is served
    bool chat;                     // messages instead of a prompt
    bool wrapped;                  // as in an uploaded file
    bool single; // a body of its own, outside a batch: fields are named plainly
};

// A checked line and the memory that it points into.
struct api_batch_line {
    struct sched_line line;
    char custom_id[SCHED_CUSTOM_ID_MAX + 1];
    struct token_ids prompt;
    uint8_t bias[API_BIAS_MAX * 8];
    uint32_t stop; // the token that ends a chat message
    char *stops;   // a JSON list
    char *error;   // a JSON object: code, message, param
    uint8_t blob;
    bool plain; // fields are named as in the request's own body
};

// Read line number (0-based). A text that is no good
// gives an error line: the only errors are ERR_NOMEM and ERR_IO (no
// randomness). Release *out in any case.
MUST_USE enum err api_batch_line_read(const struct api_line_rules *rules,
                                      uint64_t number, const char *text,
                                      size_t len, struct api_batch_line *out);

// The same for a line that is longer than API_LINE_LEN_MAX.
MUST_USE enum err api_batch_line_too_long(uint64_t number,
                                          struct api_batch_line *out);

// The same for a value that was parsed.
MUST_USE enum err api_batch_line_value(const struct api_line_rules *rules,
                                       uint64_t number, const json_t *value,
                                       struct api_batch_line *out);

void api_batch_line_release(struct api_batch_line *line);

#endif
