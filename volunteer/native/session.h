// session.h - one volunteer's standing with the server: joined under an id and
// a token, numbered work calls, progress, parting. Knows frames, not engines.
// Main thread only.
#ifndef NATIVE_SESSION_H
#define NATIVE_SESSION_H

#include "base/syn1.h"
#include "base/toll.h"
#include "native/account.h"
#include "native/net.h"

enum {
    NATIVE_ID_MAX = 64,
    NATIVE_TOKEN_MAX = 256,
    NATIVE_SERVER_MAX = NATIVE_URL_MAX - 256, // the server's own URL
    NATIVE_HELD_MAX = 2,
    NATIVE_CHALLENGE_MAX = 512,
};

// What the volunteer says of itself when it joins. Strings are borrowed.
struct native_profile {
    char account[NATIVE_ACCOUNT_HEX_LEN + 1];
    const char *name;    // at most 40 characters, may be ""
    const char *backend; // "native-ref", "native-avx2", ...
    uint64_t memory;     // bytes it may use
    unsigned n_threads;
    bool f32;                 // it computes in that class
    const char *operator_key; // makes it a referee; NULL: an ordinary one
};

// A proof of work that the server asked for (base/toll.h).
struct native_toll {
    char challenge[NATIVE_CHALLENGE_MAX]; // "" for none
    unsigned bits;
    uint8_t toll[TOLL_LEN];
    bool paid;
};

struct native_session {
    struct native_net *net;               // borrowed
    const struct native_profile *profile; // borrowed
    char url[NATIVE_SERVER_MAX];          // the server's, without a last "/"
    char id[NATIVE_ID_MAX];               // "" until joined
    char token[NATIVE_TOKEN_MAX];
    uint32_t wait_ms;        // how long the server lets a call be held
    uint32_t progress_ms;    // how often to show life while computing
    uint64_t number;         // of the last work call
    int64_t rtt_ms;          // about the least that a call takes lately
    struct native_toll toll; // to be paid, or paid, before the next join
};

// What a work call brought.
struct native_answer {
    struct native_reply reply; // owns the bytes behind frame
    struct syn1_header header; // its model and span: what reason is about
    struct syn1_answer frame;  // frame.unit is a view into reply
};

// Check url ("http://..." or "https://...") and set up. ERR_FORMAT, ERR_RANGE.
MUST_USE enum err native_session_init(struct native_session *s, const char *url,
                                      struct native_net *net,
                                      const struct native_profile *profile);

// Join, and hold the presence call open from then on. Tries once. why gets a
// line on any failure. ERR_IO (network or a busy server: try again),
// ERR_DENIED (refused: trying again as it is will not help), ERR_FORMAT (the
// reply makes no sense), ERR_GONE (stopped), ERR_BUSY (a proof of work comes
// first: native_session_pay, then join again).
MUST_USE enum err native_session_join(struct native_session *s, char *why,
                                      size_t why_len);

// Work on the toll for a moment, while held transfers go on. True: nothing is
// left to be done, it is paid or we are stopped.
bool native_session_pay(struct native_session *s);

// Make the next work call: *call with this session's number in its header.
// Repeats it under the same number until it is answered. on_error, if not
// NULL, is told of each failed try. ERR_DENIED: the server does not know us
// any more, join again. ERR_FORMAT: it refused the frame or its answer makes
// no sense. ERR_GONE (stopped), ERR_NOMEM. Release the answer after ERR_OK.
MUST_USE enum err
native_session_call(struct native_session *s, const struct syn1_call *call,
                    void (*on_error)(const char *why, void *ctx), void *ctx,
                    struct native_answer *out);
void native_answer_release(struct native_answer *answer);

// Show that the n units of 16 bytes are being computed, n_tokens so far in
// all. Tries once; failure shows in the next work call.
void native_session_progress(struct native_session *s, const uint8_t *units,
                             size_t n, uint64_t n_tokens);

// Give everything back, also while stopping. Tries once, for two seconds.
void native_session_leave(struct native_session *s);

#endif
