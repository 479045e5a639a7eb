// curl_loop.h - libcurl's multi interface on the event loop.
#ifndef API_CURL_LOOP_H
#define API_CURL_LOOP_H

#include <curl/curl.h>

#include "base/err.h"

struct api_curl_loop;
struct event_base;

// Runs once for a transfer that was added, from the loop, with libcurl's
// result; the handle is then out of the loop and the caller's again.
typedef void api_curl_done_fn(CURL *easy, CURLcode code, void *ctx);

// ERR_NOMEM.
MUST_USE enum err api_curl_loop_new(struct event_base *base,
                                    struct api_curl_loop **out);

// Start a transfer. It uses the handle's CURLOPT_PRIVATE. ERR_NOMEM.
MUST_USE enum err api_curl_loop_add(struct api_curl_loop *loop, CURL *easy,
                                    api_curl_done_fn *fn, void *ctx);

// Its transfers end: done runs for each with CURLE_ABORTED_BY_CALLBACK. NULL
// is fine.
void api_curl_loop_free(struct api_curl_loop *loop);

#endif
