// work.h - the work call: it brings a result and returns the next unit.
//
// The whole of a call is one SYN1 frame in and one out. One function in Redis
// commits the result, queues again what the volunteer should hold but does not
// list, takes the next unit and remembers the answer under the call's number,
// so a repeated call is answered alike and counts once. (An answer without a
// unit is not remembered: the repeat may bring one.) When nothing is ready the
// result is durable before the call is held. A held call is looked at again at
// every wake message, every policy.retake_ms and after a reconnect.
//
// A volunteer has one held call: a newer one (by number, or the same number
// again) ends the older one, which is answered without work.
#ifndef SCHED_WORK_H
#define SCHED_WORK_H

#include "scheduler/volunteer.h"

struct sched_work; // one call

// Runs once, unless the call is cancelled first. frame: an ANSWER frame.
//   ERR_OK      answer 200 with the frame
//   ERR_GONE    answer 410 with the frame: the posted result was not held any
//               more or was refused; the frame may carry a unit all the same
//   ERR_EXISTS  an older number than the last: 409, no frame
//   ERR_DENIED  unknown volunteer or wrong token: 401, no frame
//   ERR_STORE, ERR_BUSY   503, no frame; repeat with the same number
typedef void sched_work_fn(enum err err, const uint8_t *frame, size_t len,
                           void *ctx);

// Start a call. frame is the CALL frame as it came (untrusted). *out dies when
// fn has run or at cancel. Errors at once, besides those of store.h: those of
// syn1_parse for the frame or the result in it, ERR_FORMAT if it is no CALL, if
// its number is 0 or if it carries something other than a RESULT.
MUST_USE enum err sched_work_start(struct sched_store *store,
                                   const struct sched_who *who,
                                   const uint8_t *frame, size_t len,
                                   sched_work_fn *fn, void *ctx,
                                   struct sched_work **out);

// The client has gone: fn will not run. A unit that is being taken for the
// call is queued again at once; a result that it brought still counts. NULL is
// fine.
void sched_work_cancel(struct sched_work *work);

#endif
