// callback_routes.h - what clients ask about a batch's callbacks.
#ifndef API_CALLBACK_ROUTES_H
#define API_CALLBACK_ROUTES_H

#include "api/request.h"

// GET /v1/batches/{}/callbacks?limit= : {"object": "list", "data": [attempts,
// the last first]}.
void api_callback_log(struct api_request *req);

// POST /v1/batches/{}/callbacks/redeliver {"event_id"}: once more, under the
// same webhook-id; without event_id that of the batch's end.
void api_callback_redeliver(struct api_request *req);

// POST /v1/batches/{}/callbacks/secret {"callback_secret",
// "old_valid_seconds"}: from now on it signs, beside the one before while that
// is valid. Without callback_secret one is drawn and told.
void api_callback_rotate(struct api_request *req);

#endif
