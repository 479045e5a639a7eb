// file_form.h - the form of POST /v1/files, part by part, as its bytes arrive:
// purpose, file, expires_after[anchor] and expires_after[seconds]. Any names
// and bytes, in any pieces, are taken or refused by name.
#ifndef API_FILE_FORM_H
#define API_FILE_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "scheduler/file.h"

enum {
    API_FORM_FIELD_MAX = 64,
    API_FORM_FILE_MAX = 200 << 20, // bytes of a file
    API_FORM_KEEP_S_MIN = 3600,
    API_FORM_KEEP_S_MAX = 30 * 86400,
};

// Takes bytes of the file; anything but ERR_OK ends it.
typedef enum err api_form_write_fn(void *ctx, const char *buf, size_t len);

struct api_file_form {
    api_form_write_fn *write;
    void *ctx;
    char name[SCHED_FILE_NAME_MAX + 1];
    char purpose[API_FORM_FIELD_MAX + 1];
    char anchor[API_FORM_FIELD_MAX + 1];
    char seconds[API_FORM_FIELD_MAX + 1];
    bool has_file;
    bool in_line;              // the present line is not blank
    uint64_t n_bytes, n_lines; // of the file; blank lines do not count
    // What is wrong, if it is: HTTP status, field (or ""), code and words.
    unsigned status;
    char param[API_FORM_FIELD_MAX + 1];
    const char *code;
    char why[160];
};

void api_file_form_init(struct api_file_form *form, api_form_write_fn *write,
                        void *ctx);

// The next bytes of the part with that name, at bytes from its beginning (which
// may be told twice, without bytes). filename may be NULL. False: it is wrong.
MUST_USE bool api_file_form_part(struct api_file_form *form, const char *name,
                                 const char *filename, const char *buf,
                                 uint64_t at, size_t len);

// All parts are there. *keep_ms: how long to keep the file, 0 if it does not
// say. False: something is wrong.
MUST_USE bool api_file_form_end(struct api_file_form *form, int64_t *keep_ms);

#endif
