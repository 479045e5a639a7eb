// key_routes.h - the API keys as an operator sees them.
#ifndef API_KEY_ROUTES_H
#define API_KEY_ROUTES_H

#include "api/request.h"

void api_key_list(struct api_request *req); // GET /v1/keys

#endif
