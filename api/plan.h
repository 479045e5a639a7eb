// plan.h - the routes of the plan: who is to hold which part of which model.
#ifndef API_PLAN_H
#define API_PLAN_H

#include "api/request.h"

// GET: models with their spans and who holds them, and all volunteers.
void api_plan_get(struct api_request *req);

// POST, with a key that may operate: {"model", "path": [0, 2, 6] or null} pins
// the model's boundaries, {"model", "volunteer", "span": [0, 2] or null} what
// a volunteer (its id or name) is to hold; null unpins.
void api_plan_pin(struct api_request *req);

#endif
