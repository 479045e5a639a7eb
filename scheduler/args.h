// args.h - the argument list of a call, built piece by piece. Inside
// scheduler/.
#ifndef SCHED_ARGS_H
#define SCHED_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

// Zero is an empty list. All puts copy. When memory runs out, failed is set and
// further puts do nothing: look at it once, at the end.
struct sched_args {
    uint8_t *buf; // the arguments, one after another
    size_t len, cap;
    size_t *ends; // where each ends in buf
    size_t n, n_cap;
    bool failed;
};

void sched_args_release(struct sched_args *args);

void sched_args_put(struct sched_args *args, const void *ptr, size_t len);
void sched_args_text(struct sched_args *args, const char *text);
void sched_args_u64(struct sched_args *args, uint64_t v);
void sched_args_i64(struct sched_args *args, int64_t v);

// n bytes more at the end of the last argument.
void sched_args_append(struct sched_args *args, const void *ptr, size_t len);

// The text of binary bytes as lower-case hex.
void sched_args_hex(struct sched_args *args, const uint8_t *ptr, size_t len);

#endif
