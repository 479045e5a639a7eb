// err.h - the one error type. Every function that can fail returns it.
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define ERR_MAP(X)                                    \
    X(OK, "ok")                                       \
    X(NOMEM, "out of memory")                         \
    X(RANGE, "value out of range")                    \
    X(FORMAT, "malformed input")                      \
    X(TRUNCATED, "input ends early")                  \
    X(CHECKSUM, "checksum does not match")            \
    X(VERSION, "version not supported")               \
    X(UNSUPPORTED, "not supported")                   \
    X(NOT_FOUND, "no such item")                      \
    X(EXISTS, "already there")                        \
    X(DENIED, "not allowed")                          \
    X(GONE, "no longer held")                         \
    X(BUSY, "busy, try again later")                  \
    X(FULL, "a limit is reached")                     \
    X(KV_MISSING, "rows of the KV cache are missing") \
    X(STORE, "redis failed, outcome unknown")         \
    X(IO, "i/o error")

enum err {
#define X(name, text) ERR_##name,
    ERR_MAP(X)
#undef X
};

#define MUST_USE __attribute__((warn_unused_result))

// Static text for logs and JSON error bodies. Never NULL.
const char *err_text(enum err err);

#endif
