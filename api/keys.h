// keys.h - which API key a client's request carries.
#ifndef API_KEYS_H
#define API_KEYS_H

#include "api/request.h"
#include "scheduler/key.h"

// Find the key of "Authorization: Bearer sk-syn-..." and call fn with its id
// (valid during the call), later, from the event loop. If there is none (401),
// or it lacks the scope (403), the request is answered and fn never runs.
void api_key_find_for(struct api_request *req, enum sched_scope scope,
                      void (*fn)(struct api_request *req, const char *key));

// The same for what clients do: read for GET, submit for anything else.
void api_key_find(struct api_request *req,
                  void (*fn)(struct api_request *req, const char *key));

// The name of a scope (a bit of enum sched_scope).
const char *api_key_scope(unsigned scope);

#endif
