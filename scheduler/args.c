#include "scheduler/args.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sched_args_release(struct sched_args *args)
{
    free(args->buf);
    free(args->ends);
    *args = (struct sched_args){0};
}

static bool grow_buf(struct sched_args *args, size_t len)
{
    if (args->cap - args->len >= len)
        return true;
    if (len > SIZE_MAX / 4 || args->cap > SIZE_MAX / 4)
        return false;
    size_t cap = args->cap * 2 + len + 256;
    uint8_t *buf = realloc(args->buf, cap);
    if (!buf)
        return false;
    args->buf = buf;
    args->cap = cap;
    return true;
}

static bool grow_ends(struct sched_args *args)
{
    if (args->n < args->n_cap)
        return true;
    size_t cap = args->n_cap * 2 + 32;
    size_t *ends = realloc(args->ends, cap * sizeof *ends);
    if (!ends)
        return false;
    args->ends = ends;
    args->n_cap = cap;
    return true;
}

void sched_args_put(struct sched_args *args, const void *ptr, size_t len)
{
    if (args->failed || !grow_buf(args, len) || !grow_ends(args)) {
        args->failed = true;
        return;
    }
    if (len)
        memcpy(args->buf + args->len, ptr, len);
    args->len += len;
    args->ends[args->n++] = args->len;
}

void sched_args_append(struct sched_args *args, const void *ptr, size_t len)
{
    if (args->failed || !args->n || !grow_buf(args, len)) {
        args->failed = true;
        return;
    }
    if (len)
        memcpy(args->buf + args->len, ptr, len);
    args->len += len;
    args->ends[args->n - 1] = args->len;
}

void sched_args_text(struct sched_args *args, const char *text)
{
    sched_args_put(args, text, strlen(text));
}

void sched_args_u64(struct sched_args *args, uint64_t v)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, v);
    sched_args_text(args, text);
}

void sched_args_i64(struct sched_args *args, int64_t v)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, v);
    sched_args_text(args, text);
}

void sched_args_hex(struct sched_args *args, const uint8_t *ptr, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    sched_args_put(args, "", 0);
    for (size_t i = 0; i < len; i++) {
        char two[2] = {digits[ptr[i] >> 4], digits[ptr[i] & 15]};

        sched_args_append(args, two, 2);
    }
}
