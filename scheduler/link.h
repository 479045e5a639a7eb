// link.h - the two connections to Redis: one for pipelined calls, one that
// listens to the wake channel. Inside scheduler/.
//
// The link is up when the library is loaded and the channel subscribed; when
// either connection fails both are dropped, and it tries again with back-off.
#ifndef SCHED_LINK_H
#define SCHED_LINK_H

#include "scheduler/args.h"
#include "scheduler/reply.h"

struct event_base;
struct sched_link;

enum { SCHED_CELL_MAX = 16 };

struct sched_link_hooks {
    void (*on_state)(bool up, const char *why, void *ctx);
    void (*on_wake)(const char *what, void *ctx);  // the message
    void (*on_error)(const char *text, void *ctx); // Redis refused a call
    void *ctx;
};

// As sched_store_new. The first attempt starts from the event loop.
MUST_USE enum err sched_link_new(struct event_base *base, const char *address,
                                 const char *cell,
                                 const struct sched_link_hooks *hooks,
                                 struct sched_link **out);

// Every outstanding callback runs with ERR_STORE; no hook runs. NULL is fine.
void sched_link_free(struct sched_link *link);

bool sched_link_up(const struct sched_link *link);

// Drop both connections (something hangs) and connect again.
void sched_link_reset(struct sched_link *link, const char *why);

// reply is NULL unless err is ERR_OK, and valid only during the call.
typedef void sched_reply_fn(enum err err, const redisReply *reply, void *ctx);

// Call a function of the library by its short name with the cell's prefix as
// key. args is released, whatever happens. Contract of store.h.
MUST_USE enum err sched_link_call(struct sched_link *link, const char *function,
                                  struct sched_args *args, sched_reply_fn *fn,
                                  void *ctx);

#endif
