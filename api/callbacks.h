// callbacks.h - delivers the callback events that are due: signed as Standard
// Webhooks prescribes, to checked addresses, again with back-off until a 2xx.
//
//   POST {"type", "timestamp", "data": the batch object}
//   request.completed: "data": {"object": "batch.request", "batch_id",
//     "custom_id", "index": of the line among the results}
//   webhook-id, webhook-timestamp, webhook-signature (two after a rotation)
#ifndef API_CALLBACKS_H
#define API_CALLBACKS_H

#include "base/err.h"

struct api_callbacks;
struct api_server;

MUST_USE enum err api_callbacks_new(struct api_server *server,
                                    struct api_callbacks **out);

// Events may be due: take them, up to the most that run at once.
void api_callbacks_look(struct api_callbacks *callbacks);

// What is under way is left for later. End the store first. NULL is fine.
void api_callbacks_free(struct api_callbacks *callbacks);

#endif
