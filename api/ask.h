// ask.h - POST /v1/completions and /v1/chat/completions: one request through
// the same queue as batches, ahead of them. The client waits for the confirmed
// answer, or with "stream": true reads it while it is made. Its leaving ends
// the work.
#ifndef API_ASK_H
#define API_ASK_H

#include "api/request.h"

enum { API_ASK_BODY_MAX = 2 << 20 };

extern const struct api_sink api_ask_sink;
void api_ask_text(struct api_request *req); // POST /v1/completions
void api_ask_chat(struct api_request *req); // POST /v1/chat/completions

// End all streams (the server goes down).
struct api_server;
void api_ask_drain(struct api_server *server);

#endif
