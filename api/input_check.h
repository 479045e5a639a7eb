// input_check.h - looks through a batch's uploaded file before any line of it
// is queued: what makes the whole file no good fails the batch.
//
// A line is {"custom_id": ..., "method": "POST", "url": the batch's endpoint,
// "body": {...}}; blank lines are passed over. What is wrong inside a body
// concerns that line alone, later.
#ifndef API_INPUT_CHECK_H
#define API_INPUT_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct api_input_check {
    char endpoint[64];
    uint64_t n_lines;   // seen, blank ones too
    uint64_t n_checked; // that are requests
    uint64_t *seen;     // hashes of the custom ids
    const char *code;   // what is wrong, if it is; its line is n_lines
    char why[256];
};

// ERR_NOMEM.
MUST_USE enum err api_input_check_init(struct api_input_check *check,
                                       const char *endpoint);
void api_input_check_release(struct api_input_check *check); // zeroed is fine

// The next line. False: code and why say what is wrong with the file.
bool api_input_check_line(struct api_input_check *check, const char *text,
                          size_t len);

// The file has ended. False as above.
bool api_input_check_end(struct api_input_check *check);

// Is there nothing but white space?
bool api_input_is_blank(const char *text, size_t len);

#endif
