// result_line.h - a final line as the JSON that the client gets.
#ifndef API_RESULT_LINE_H
#define API_RESULT_LINE_H

#include "api/models.h"
#include "scheduler/batch.h"

// One line of JSON without its line break; free it. batch is the batch's id.
// Errors: ERR_NOT_FOUND (the model is not served any more), ERR_NOMEM.
MUST_USE enum err api_result_line(const struct api_models *models,
                                  const char *batch,
                                  const struct sched_result *result,
                                  char **out);

// The scheduler's cut hook, with a struct api_models as ctx: where does the
// first stop string end?
struct sched_cut api_result_cut(const struct sched_cut_ask *ask, void *ctx);

#endif
