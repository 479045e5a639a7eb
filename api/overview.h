// overview.h - what the operator's page shows beside the public numbers.
#ifndef API_OVERVIEW_H
#define API_OVERVIEW_H

#include "api/request.h"

void api_overview_get(struct api_request *req); // GET /v1/overview

#endif
