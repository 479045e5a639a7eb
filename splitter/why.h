// why.h - one line for a person that says what was wrong with a file.
//
// Functions that read what someone else wrote take a struct why (or its two
// parts) beside their enum err. The line names the file, the key or tensor,
// and the value. It is only written on failure.
#ifndef SPLITTER_WHY_H
#define SPLITTER_WHY_H

#include <stddef.h>

#include "base/err.h"

enum { WHY_LEN_MAX = 512 }; // enough for every line made here

struct why {
    char *text; // borrowed; NULL if nobody wants to know
    size_t len;
};

// Format the line and return err, so that a check reads
// `return why_fail(why, ERR_RANGE, ...)`. Bytes that are not printable ASCII
// become '?': names in the line come from files that may be hostile.
enum err why_fail(struct why why, enum err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
