// referee_child.h - the referee: an exact native volunteer of low priority that
// recomputes what others disagree about. It is started again when it dies and
// ends with this process.
#ifndef API_REFEREE_CHILD_H
#define API_REFEREE_CHILD_H

#include <stdbool.h>

#include "base/err.h"

struct api_referee_child;
struct event_base;

struct api_referee_config {
    const char *program; // the synapse program
    const char *url;     // where this server listens
    const char *models;  // it maps the shards from there
    const char *data;    // for its account file and log
    const char *operator_key;
};

// Errors: ERR_NOT_FOUND (no such program), ERR_IO, ERR_NOMEM. Texts are copied.
MUST_USE enum err
api_referee_child_start(struct event_base *base,
                        const struct api_referee_config *config,
                        struct api_referee_child **out);

// A child ended (SIGCHLD).
void api_referee_child_look(struct api_referee_child *child);

// Ask it to end, without waiting; it is not started again. NULL is fine.
void api_referee_child_end(struct api_referee_child *child);

// True if none is running.
bool api_referee_child_is_gone(const struct api_referee_child *child);

// End it and wait for it, a moment at most. NULL is fine.
void api_referee_child_stop(struct api_referee_child *child);

#endif
