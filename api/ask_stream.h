// ask_stream.h - an answer as server-sent events while it is made.
//
//   data: {a chunk as OpenAI's streams have them}
//   event: retract    data: {..., "choices": [], "synapse": {"retract":
//                     {"index": choice, "position": characters that stay}}}
//   data: the last chunk of a choice has its finish_reason, and
//         "synapse": {"confirmed": true, ...}
//   data: [DONE]
//
// What is sent before that last chunk is not checked yet, so it may be taken
// back; with confirmed_only nothing is sent that may be.
#ifndef API_ASK_STREAM_H
#define API_ASK_STREAM_H

#include <jansson.h>
#include <stdbool.h>

#include "api/models.h"
#include "scheduler/ask.h"
#include "tokenizer/text.h"

struct api_ask_choice {
    struct text sent; // the text that the client has of it
    // Of how many tokens it has the log-probabilities, and these tokens: id and
    // what SYN1 has of it, one after another.
    size_t n_told;
    struct text told;
    bool begun, done;
};

struct api_ask_stream {
    const struct api_models *models;
    const struct api_model *model;
    const char *id; // of the answer, without prefix; borrowed
    int64_t created_s;
    bool chat, confirmed_only, usage;
    json_t *stops;   // a list, or NULL
    size_t stop_len; // of the longest, bytes
    uint64_t n_prompt, n_tokens;
    struct text out; // events to be sent; the reader empties it
    size_t n_done;
    struct api_ask_choice choices[SCHED_ASK_LINES_MAX];
};

// What is new in ask becomes events. *over: all is told. Error: ERR_NOMEM,
// ERR_NOT_FOUND (the model is not served any more).
MUST_USE enum err api_ask_stream_look(struct api_ask_stream *stream,
                                      const struct sched_ask *ask, bool *over);

// The answer cannot be ended: say why.
MUST_USE enum err api_ask_stream_fail(struct api_ask_stream *stream,
                                      const char *why);

void api_ask_stream_release(struct api_ask_stream *stream);

#endif
