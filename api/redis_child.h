// redis_child.h - the Redis of our own, in the data folder.
//
// Whoever runs that Redis holds a lock on DATA/redis.lock: the lock is taken
// before redis-server is started and handed down to it, so it lasts exactly as
// long as that process, whatever becomes of us. So a living one is adopted, a
// dead one is restarted, and there are never two.
#ifndef API_REDIS_CHILD_H
#define API_REDIS_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct api_redis_child;
struct event_base;

enum { API_REDIS_ADDRESS_MAX = 128 };

// The address of the Redis in a data folder, for sched_store_new: as
// "unix:..."; where that path would be too long for a socket it goes through
// an open descriptor of the folder (/proc/self/fd/N), which stays open.
// Errors: ERR_IO (no such folder).
MUST_USE enum err api_redis_address(const char *data,
                                    char out[API_REDIS_ADDRESS_MAX]);

// Start or adopt it, and keep it running. data is an absolute path and exists.
// Errors: ERR_NOT_FOUND (no redis-server in PATH), ERR_IO, ERR_NOMEM.
MUST_USE enum err api_redis_child_start(struct event_base *base,
                                        const char *data,
                                        struct api_redis_child **out);

// A child ended (SIGCHLD): look now instead of a little later.
void api_redis_child_look(struct api_redis_child *child);

// End it, adopted or started, and wait until it has written all and gone (a
// few seconds at most). NULL is fine.
void api_redis_child_stop(struct api_redis_child *child);

#endif
