// server.h - what one synapsed holds: connections and settings, no state of the
// grid. Event-loop thread only.
#ifndef API_SERVER_H
#define API_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "api/models.h"
#include "api/options.h"
#include "scheduler/store.h"

struct api_callbacks;
struct api_http;
struct api_ingest;
struct api_output;
struct api_presence;
struct api_ask;
struct api_redis_child;
struct api_referee_child;
struct api_signer;
struct event;
struct event_base;

enum {
    API_OPERATOR_KEY_LEN = 64, // hex digits
    API_TOLL_KEY_LEN = 32,
};

#define API_STORED_MAX (UINT64_C(8) << 30) // bytes kept for one API key

struct api_server {
    struct api_options options;
    struct event_base *base;
    struct sched_store *store;
    struct api_http *http;  // where the world comes in
    struct api_http *inner; // plain http on loopback for the referee, if TLS
    struct api_models models;
    struct api_redis_child *redis; // NULL with --redis
    struct api_referee_child *referee;
    struct api_callbacks *callbacks;
    struct api_ingest *ingest;
    struct api_output *output;
    struct api_presence *presences;     // open ones
    struct api_ask *asks;               // answers that are streamed
    struct api_signer *signer;          // of receipts; NULL: not known yet
    uint8_t toll_key[API_TOLL_KEY_LEN]; // known when the signer is
    int files_fd;
    int web_fd;
    char operator_key[API_OPERATOR_KEY_LEN + 1];
    bool models_put; // the store knows the models
    bool draining;   // no work is given out any more
    bool closed;     // no connection is accepted any more
    struct event *signals[4];
    struct event *drain_tick;
    int64_t drain_until_ms;
};

#endif
