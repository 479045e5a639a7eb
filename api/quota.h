// quota.h - what a key has used up, and the answer that says so.
#ifndef API_QUOTA_H
#define API_QUOTA_H

#include "api/request.h"
#include "scheduler/key.h"

struct api_quota {
    const char *name; // "requests_queued", "bytes_stored", "tokens_per_day"
    uint64_t used, limit;
    bool never;      // what was asked for is over the limit all by itself
    int64_t retry_s; // when it may be tried again; >= 1
};

// Which quota would so many requests and bytes more pass? False: none now (it
// was, when the store was asked).
bool api_quota_find(const struct sched_key *key, uint64_t requests,
                    uint64_t bytes, struct api_quota *out);

// Answer 429 with its name, what is used and when to try again (Retry-After);
// or 400 if it can never be.
void api_quota_reply(struct api_request *req, const struct sched_key *key,
                     uint64_t requests, uint64_t bytes);

// The same for the key of that id, later, from the event loop; for requests
// that did not ask for a gone call.
void api_quota_refuse(struct api_request *req, const char *key,
                      uint64_t requests, uint64_t bytes);

#endif
