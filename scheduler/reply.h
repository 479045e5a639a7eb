// reply.h - reading replies of Redis. They are input: shapes are checked before
// use. Inside scheduler/.
#ifndef SCHED_REPLY_H
#define SCHED_REPLY_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "base/bytes.h"

// A walk over the elements of an array reply. Once something has an unexpected
// shape, bad is set and everything further is empty: look at bad at the end.
struct sched_walk {
    const redisReply *array;
    size_t at;
    bool bad;
};

// A walk over reply; bad at once if it is no array.
struct sched_walk sched_walk_over(const redisReply *reply);

// Are there n elements or more to come?
bool sched_walk_has(const struct sched_walk *walk, size_t n);

// The next element: a string (a view, never NULL, NUL-terminated as hiredis
// leaves it), a number (integer reply or decimal text), anything.
const char *sched_walk_text(struct sched_walk *walk);
struct bytes sched_walk_bytes(struct sched_walk *walk);
uint64_t sched_walk_u64(struct sched_walk *walk);
int64_t sched_walk_i64(struct sched_walk *walk);
uint32_t sched_walk_u32(struct sched_walk *walk); // bad past 2^32 - 1
const redisReply *sched_walk_any(struct sched_walk *walk);

bool sched_reply_is(const redisReply *reply, const char *text);

#endif
