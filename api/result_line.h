// result_line.h - a final line as the JSON that the client gets.
#ifndef API_RESULT_LINE_H
#define API_RESULT_LINE_H

#include <jansson.h>

#include "api/models.h"
#include "api/receipt.h"
#include "scheduler/batch.h"

// The body of an answer: a completion, or a chat completion. id is put behind
// its kind's prefix. Errors: as below.
MUST_USE enum err api_result_body(const struct api_models *models,
                                  const char *id,
                                  const struct sched_result *result,
                                  json_t **out);

// Put n bodies (1 .. SCHED_CHOICES_MAX), one of each choice of the same
// request, together into the first: its choices, each with its details, and the
// usage of all. Errors: ERR_FORMAT (one is missing), ERR_NOMEM.
MUST_USE enum err api_result_merge(json_t *const *bodies, size_t n);

// Where the first stop string in text begins; len if there is none. stops is a
// JSON list, or NULL.
size_t api_result_stop(const json_t *stops, const char *text, size_t len);

// One line of JSON without its line break; free it. batch is the batch's id.
// A result with a proof gets a receipt, body.synapse.receipt; one of several
// choices gets one of each, the list body.synapse.receipts. Errors:
// ERR_NOT_FOUND (the model is not served any more), ERR_STORE (a receipt is
// due, but signer is NULL: its key is not known yet), ERR_NOMEM.
MUST_USE enum err api_result_line(const struct api_models *models,
                                  const struct api_signer *signer,
                                  const char *batch,
                                  const struct sched_result *result,
                                  char **out);

// The scheduler's cut hook, with a struct api_models as ctx: where does the
// first stop string end?
struct sched_cut api_result_cut(const struct sched_cut_ask *ask, void *ctx);

#endif
