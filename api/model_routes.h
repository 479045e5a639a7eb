// model_routes.h - models over HTTP: the list, manifests, shards.
#ifndef API_MODEL_ROUTES_H
#define API_MODEL_ROUTES_H

#include "api/request.h"

void api_model_list(struct api_request *req);     // GET /v1/models
void api_model_get(struct api_request *req);      // {model}
void api_model_manifest(struct api_request *req); // {model}/manifest.json
void api_model_shard(struct api_request *req);    // {model}/shards/{file}

#endif
