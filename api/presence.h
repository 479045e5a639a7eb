// presence.h - a request that stays open for as long as a volunteer's page
// does: when it closes, the volunteer is gone.
#ifndef API_PRESENCE_H
#define API_PRESENCE_H

#include "api/request.h"

// GET /v1/volunteers/{id}/presence, a text/event-stream with a comment every
// 15 seconds.
void api_presence_open(struct api_request *req);

// End all streams (the server goes down), without calling anyone lost.
void api_presence_drain(struct api_server *server);

#endif
