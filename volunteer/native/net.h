// net.h - HTTP for the volunteer and the client verbs, on libcurl.
//
// One net carries any number of transfers on one thread. A request is made in
// a blocking style, and while it or a wait is under way the held transfer (the
// volunteer's presence) goes on. TLS certificates are always verified;
// redirects are never followed. Not thread-safe but for native_net_wake.
#ifndef NATIVE_NET_H
#define NATIVE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    NATIVE_URL_MAX = 1024,
    NATIVE_WHY_MAX = 256,
    NATIVE_HEADER_VALUE_MAX = 128,
};

struct native_net;

struct native_net_config {
    const char *cacert; // PEM file of certificates to trust instead, or NULL
    const char *source; // address to call from, or NULL: any
    int stop_fd;        // when readable all work ends; -1: none
};

// Takes a part of a reply's body; status is 200 or 206 (the range asked for).
// False ends the transfer with ERR_IO.
typedef bool native_net_sink(long status, const uint8_t *data, size_t len,
                             void *ctx);

struct native_request {
    const char *method; // "GET" or "POST"
    const char *url;
    const char *bearer;       // token, or NULL
    const char *operator_key; // for the referee's join, or NULL
    const char *content_type; // of body, or NULL
    const void *body;         // borrowed until the call returns
    size_t body_len;
    uint64_t range_from;     // ask for the bytes from here on, 0: all
    const char *want_header; // a response header to keep, or NULL
    int64_t timeout_ms;      // for the whole transfer, 0: only while stalled
    size_t reply_max;        // a longer body ends the transfer with ERR_FULL
    native_net_sink *sink;   // gets the body if the status is 200 or 206
    void *sink_ctx;
    bool parting; // go on although the stop descriptor is readable
};

struct native_reply {
    long status;   // HTTP status
    uint8_t *body; // malloced, with a NUL after it; empty if a sink took it
    size_t len;
    char header[NATIVE_HEADER_VALUE_MAX]; // want_header's value, or ""
};

// config's strings must outlive the net. ERR_NOMEM, ERR_IO.
MUST_USE enum err native_net_new(const struct native_net_config *config,
                                 struct native_net **out);
void native_net_free(struct native_net *net);

// Make one request. ERR_OK means that a whole response came, of any status.
// ERR_IO: the network failed, native_net_why says how. ERR_FULL: the body was
// over reply_max. ERR_GONE: the stop descriptor became readable. ERR_NOMEM.
// The reply is filled only with ERR_OK; release it then.
MUST_USE enum err native_net_do(struct native_net *net,
                                const struct native_request *request,
                                struct native_reply *out);
void native_reply_release(struct native_reply *reply);

// The last network error in words. Valid until the next call.
const char *native_net_why(const struct native_net *net);

// What a reply that is no success says: its JSON error message, with the
// field it names, or the status.
void native_reply_why(const struct native_reply *reply, char *why,
                      size_t why_len);

// Hold a GET open: start it again with back-off whenever it ends. Replaces the
// former held one. Its body is dropped. ERR_NOMEM.
MUST_USE enum err native_net_hold(struct native_net *net, const char *url,
                                  const char *bearer);
void native_net_unhold(struct native_net *net);

// Let transfers go on for up to ms; returns early at native_net_wake, at the
// stop, or when a transfer moved: look at what you wait for, and wait again.
void native_net_wait(struct native_net *net, int64_t ms);

// Let transfers go on for ms; returns early only at the stop.
void native_net_sleep(struct native_net *net, int64_t ms);

// End the wait under way, or the next one. From any thread.
void native_net_wake(struct native_net *net);

// Whether the stop descriptor was seen readable.
bool native_net_stopped(const struct native_net *net);

// Monotonic time in milliseconds.
int64_t native_now_ms(void);

// A delay for the given failed try (0 ..): grows from 250 ms to max_ms, half
// of it random so that a thousand volunteers do not return together.
int64_t native_backoff_ms(unsigned attempt, int64_t max_ms);

#endif
