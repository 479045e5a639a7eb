#include "scheduler/reply.h"

#include <string.h>

struct sched_walk sched_walk_over(const redisReply *reply)
{
    struct sched_walk walk = {reply, 0, false};

    walk.bad = !reply || reply->type != REDIS_REPLY_ARRAY;
    return walk;
}

bool sched_walk_has(const struct sched_walk *walk, size_t n)
{
    return !walk->bad && walk->array->elements - walk->at >= n;
}

const redisReply *sched_walk_any(struct sched_walk *walk)
{
    if (!sched_walk_has(walk, 1)) {
        walk->bad = true;
        return NULL;
    }
    return walk->array->element[walk->at++];
}

static const redisReply *next_string(struct sched_walk *walk)
{
    const redisReply *r = sched_walk_any(walk);

    if (r && r->type != REDIS_REPLY_STRING && r->type != REDIS_REPLY_STATUS) {
        walk->bad = true;
        return NULL;
    }
    return r;
}

const char *sched_walk_text(struct sched_walk *walk)
{
    const redisReply *r = next_string(walk);

    return r ? r->str : "";
}

struct bytes sched_walk_bytes(struct sched_walk *walk)
{
    const redisReply *r = next_string(walk);
    struct bytes b = {(const uint8_t *)"", 0};

    if (r)
        b = (struct bytes){(const uint8_t *)r->str, (size_t)r->len};
    return b;
}

// A decimal integer, perhaps negative; false if the text is anything else.
static bool parse_i64(const char *s, size_t len, int64_t *out)
{
    bool minus = len && s[0] == '-';
    uint64_t v = 0;

    if (len == minus || len > 19)
        return false;
    for (size_t i = minus; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(s[i] - '0');
    }
    if (v > INT64_MAX)
        return false;
    *out = minus ? -(int64_t)v : (int64_t)v;
    return true;
}

int64_t sched_walk_i64(struct sched_walk *walk)
{
    const redisReply *r = sched_walk_any(walk);
    int64_t v = 0;

    if (!r)
        return 0;
    if (r->type == REDIS_REPLY_INTEGER)
        return r->integer;
    if (r->type != REDIS_REPLY_STRING ||
        !parse_i64(r->str, (size_t)r->len, &v)) {
        walk->bad = true;
        return 0;
    }
    return v;
}

uint64_t sched_walk_u64(struct sched_walk *walk)
{
    int64_t v = sched_walk_i64(walk);

    if (v < 0) {
        walk->bad = true;
        return 0;
    }
    return (uint64_t)v;
}

uint32_t sched_walk_u32(struct sched_walk *walk)
{
    uint64_t v = sched_walk_u64(walk);

    if (v > UINT32_MAX) {
        walk->bad = true;
        return 0;
    }
    return (uint32_t)v;
}

bool sched_reply_is(const redisReply *reply, const char *text)
{
    return reply && reply->type == REDIS_REPLY_STRING &&
           strcmp(reply->str, text) == 0;
}
