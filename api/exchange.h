// exchange.h - the way of one request through libmicrohttpd: headers, body,
// handler, answer, end. What http.c and exchange.c share; nobody else needs it.
#ifndef API_EXCHANGE_H
#define API_EXCHANGE_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/http.h"
#include "api/request.h"

struct event;
struct exchange;

// One connection: what it is doing, since when.
struct api_client {
    struct api_client *next, *prev;
    int fd;
    int64_t since_ms; // when it began to send what it is sending
    uint64_t n_read;  // body bytes of the present request
    bool busy;        // a request is running: no time limit
    bool cut;         // was shut down for being slow
};

struct api_http {
    struct MHD_Daemon *mhd;
    struct api_http_config config;
    struct event_base *base;
    struct event *readable, *tick, *sweep;
    struct exchange *exchanges;
    struct api_client *clients;
    size_t n_exchanges;
    uint64_t n_collected; // bytes of bodies in memory now
    uint64_t n_requests, n_answers[6];
    uint16_t port;
    bool draining, stopping;
};

// libmicrohttpd's callbacks; arg is the struct api_http.
enum MHD_Result api_exchange_on_request(void *arg, struct MHD_Connection *conn,
                                        const char *url, const char *method,
                                        const char *version, const char *data,
                                        size_t *len, void **ctx);
void api_exchange_on_completed(void *arg, struct MHD_Connection *conn,
                               void **ctx,
                               enum MHD_RequestTerminationCode code);

// Call gone for the held requests that asked for it, and end them.
void api_exchange_abort_all(struct api_http *http);

// Let all held connections move on (the server is stopping).
void api_exchange_wake_all(struct api_http *http);

void api_exchange_free_all(struct api_http *http);

#endif
