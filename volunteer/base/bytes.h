// bytes.h - cursors over little-endian bytes: one that only reads and shrinks,
// one that only writes and grows up to a fixed end. Every access is checked.
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct bytes {
    const uint8_t *ptr; // borrowed
    size_t len;         // bytes left
};

// Each reader returns false and changes nothing if too few bytes are left.

// Give out a view of the next n bytes.
MUST_USE static inline bool bytes_take(struct bytes *in, size_t n,
                                       const uint8_t **out)
{
    if (in->len < n)
        return false;
    *out = in->ptr;
    in->ptr += n;
    in->len -= n;
    return true;
}

MUST_USE static inline bool bytes_u8(struct bytes *in, uint8_t *out)
{
    const uint8_t *p;

    if (!bytes_take(in, 1, &p))
        return false;
    *out = p[0];
    return true;
}

MUST_USE static inline bool bytes_u16(struct bytes *in, uint16_t *out)
{
    const uint8_t *p;

    if (!bytes_take(in, 2, &p))
        return false;
    *out = (uint16_t)(p[0] | p[1] << 8);
    return true;
}

// The u32 at p, which must have four bytes.
static inline uint32_t bytes_peek_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

MUST_USE static inline bool bytes_u32(struct bytes *in, uint32_t *out)
{
    const uint8_t *p;

    if (!bytes_take(in, 4, &p))
        return false;
    *out = bytes_peek_u32(p);
    return true;
}

MUST_USE static inline bool bytes_u64(struct bytes *in, uint64_t *out)
{
    const uint8_t *p;

    if (!bytes_take(in, 8, &p))
        return false;
    *out = (uint64_t)bytes_peek_u32(p) | (uint64_t)bytes_peek_u32(p + 4) << 32;
    return true;
}

// A writer. Once something did not fit, full is set and the rest is dropped:
// write all, then look at full once. len counts what was written.
struct bytes_out {
    uint8_t *ptr; // borrowed
    size_t cap, len;
    bool full;
};

static inline void bytes_put(struct bytes_out *out, const void *src, size_t n)
{
    if (out->full || out->cap - out->len < n) {
        out->full = true;
        return;
    }
    if (n)
        memcpy(out->ptr + out->len, src, n);
    out->len += n;
}

static inline void bytes_put_u8(struct bytes_out *out, uint8_t v)
{
    bytes_put(out, &v, 1);
}

static inline void bytes_put_u16(struct bytes_out *out, uint16_t v)
{
    uint8_t b[2] = {(uint8_t)v, (uint8_t)(v >> 8)};

    bytes_put(out, b, sizeof b);
}

static inline void bytes_put_u32(struct bytes_out *out, uint32_t v)
{
    uint8_t b[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16),
                    (uint8_t)(v >> 24)};

    bytes_put(out, b, sizeof b);
}

static inline void bytes_put_u64(struct bytes_out *out, uint64_t v)
{
    bytes_put_u32(out, (uint32_t)v);
    bytes_put_u32(out, (uint32_t)(v >> 32));
}

#endif
