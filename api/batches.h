// batches.h - the clients' routes: batches.
#ifndef API_BATCHES_H
#define API_BATCHES_H

#include <jansson.h>

#include "api/request.h"
#include "scheduler/batch.h"

extern const struct api_sink api_batch_sink;
void api_batch_create(struct api_request *req); // POST /v1/batches
void api_batch_list(struct api_request *req);   // GET /v1/batches
void api_batch_get(struct api_request *req);    // GET /v1/batches/{id}
void api_batch_cancel(struct api_request *req); // POST /v1/batches/{id}/cancel

// The batch as its JSON object. NULL if memory ran out.
json_t *api_batch_json(const struct sched_batch *batch);

// Answer for an error about a batch: ERR_NOT_FOUND names it.
void api_batch_refuse(struct api_request *req, enum err err);

#endif
