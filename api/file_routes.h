// file_routes.h - the clients' routes: files they have uploaded, and those that
// their batches gave.
#ifndef API_FILE_ROUTES_H
#define API_FILE_ROUTES_H

#include <jansson.h>

#include "api/request.h"
#include "scheduler/file.h"

void api_file_list(struct api_request *req);    // GET /v1/files
void api_file_get(struct api_request *req);     // GET /v1/files/{id}
void api_file_content(struct api_request *req); // GET /v1/files/{id}/content
void api_file_delete(struct api_request *req);  // DELETE /v1/files/{id}

// The file as its JSON object. NULL if memory ran out.
json_t *api_file_json(const struct sched_file *file);

// Remove the bytes of files whose time is up, and then their records.
struct api_server;
void api_file_expiry_look(struct api_server *server);

#endif
