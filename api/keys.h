// keys.h - which API key a client's request carries.
#ifndef API_KEYS_H
#define API_KEYS_H

#include "api/request.h"

// Find the key of "Authorization: Bearer sk-syn-..." and call fn with its id
// (valid during the call), later, from the event loop. If there is none the
// request is answered (401) and fn never runs.
void api_key_find(struct api_request *req,
                  void (*fn)(struct api_request *req, const char *key));

#endif
