// volunteers.h - the volunteers' routes.
#ifndef API_VOLUNTEERS_H
#define API_VOLUNTEERS_H

#include "api/request.h"
#include "scheduler/volunteer.h"

void api_volunteer_join(struct api_request *req);     // POST /v1/volunteers
void api_volunteer_progress(struct api_request *req); // .../{id}/progress
void api_volunteer_leave(struct api_request *req);    // .../{id}/leave
void api_volunteer_work(struct api_request *req);     // .../{id}/work

// Who calls, by path and bearer token; out->id borrows from req. False if that
// cannot be a volunteer; then the request has been answered (401).
MUST_USE bool api_volunteer_who(struct api_request *req, struct sched_who *out);

// Answer a request that a scheduler function refused.
void api_volunteer_refuse(struct api_request *req, enum err err);

#endif
