// pattern.h - the regular expressions of a tokenizer.json, on PCRE2.
//
// They are written for Oniguruma in Ruby syntax. What means the same in PCRE2
// passes, \s \w \d are spelled out (PCRE2's are other sets), and the rest is
// refused by name. Character properties are those of PCRE2's Unicode version.
#ifndef TOKENIZER_PATTERN_H
#define TOKENIZER_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "tokenizer/text.h"

enum { PATTERN_LEN_MAX = 1 << 14 }; // bytes of an expression

struct pattern; // immutable: several threads may use it at once

// Compile a regular expression or, if literal, a string to find as it is. On
// error *why gets one line. Errors: ERR_UNSUPPORTED, ERR_FORMAT, ERR_RANGE
// (length), ERR_NOMEM.
MUST_USE enum err pattern_new(const char *source, size_t len, bool literal,
                              struct pattern **out, char *why, size_t why_len);

void pattern_free(struct pattern *pattern);

// A walk over the matches in a text, which must be valid UTF-8.
struct pattern_walk {
    const struct pattern *pattern;
    const char *text;
    size_t len;
    size_t at;       // where to look next
    size_t last_end; // of the match before, or SIZE_MAX
    void *match;     // PCRE2's memory
};

MUST_USE enum err pattern_walk_start(struct pattern_walk *walk,
                                     const struct pattern *pattern,
                                     const char *text, size_t len);

// The next match, text[*start .. *end), with *found false after the last. An
// empty match where the last one ended is skipped. Errors: ERR_FULL (the
// expression backtracks without end), ERR_NOMEM.
MUST_USE enum err pattern_walk_next(struct pattern_walk *walk, bool *found,
                                    size_t *start, size_t *end);

void pattern_walk_stop(struct pattern_walk *walk);

#endif
