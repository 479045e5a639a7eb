#include "scheduler/work.h"

#include "api/reply.h"
#include "api/server.h"
#include "api/volunteers.h"

static void on_work(enum err err, const uint8_t *frame, size_t len, void *ctx)
{
    struct api_request *req = ctx;

    req->ctx = NULL;
    if (err == ERR_OK || err == ERR_GONE) {
        api_reply_bytes(req, err ? 410 : 200, "application/octet-stream", frame,
                        len, NULL, NULL);
    } else if (err == ERR_EXISTS) {
        api_reply_error(req, 409, "number", "old_call",
                        "a call with a higher number was made: go on from "
                        "that one");
    } else {
        api_volunteer_refuse(req, err);
    }
}

static void on_gone(struct api_request *req)
{
    sched_work_cancel(req->ctx);
    req->ctx = NULL;
}

void api_volunteer_work(struct api_request *req)
{
    struct sched_work *work = NULL;
    struct sched_who who;
    enum err err;

    if (!api_volunteer_who(req, &who))
        return;
    api_request_on_gone(req, on_gone);
    err = sched_work_start(req->server->store, &who,
                           req->body ? req->body : (const uint8_t *)"",
                           req->body_len, on_work, req, &work);
    if (err == ERR_OK) {
        req->ctx = work;
    } else if (api_reply_status(err) == 400) {
        api_reply_error(req, 400, "frame", "malformed_frame",
                        "the body is no CALL frame: %s", err_text(err));
    } else {
        api_volunteer_refuse(req, err);
    }
}
