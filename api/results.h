// results.h - results of a batch over HTTP, also while it runs.
#ifndef API_RESULTS_H
#define API_RESULTS_H

#include "api/request.h"

// GET /v1/batches/{id}/results?after=N&limit=M: JSON Lines, one a finished
// request in order of finishing. The header X-Synapse-Next says which after
// goes on from there.
void api_result_list(struct api_request *req);

#endif
