// volunteer.h - the native volunteer: joins a server, computes what it is
// given, and gives everything back when it is stopped. One thread talks (the
// caller's), one computes.
#ifndef NATIVE_VOLUNTEER_H
#define NATIVE_VOLUNTEER_H

#include "native/compute.h"

enum native_event_kind {
    NATIVE_JOINED,      // text: our id
    NATIVE_PAYING,      // a proof of work of a bits comes before joining
    NATIVE_FETCHING,    // text: the model's name; a of b bytes
    NATIVE_MODEL_READY, // text: its name; a prefill rows, b tokens a second
    NATIVE_UNIT_DONE,   // a tokens generated, b positions checked, so far
    NATIVE_IDLE,        // text: why there is no work
    NATIVE_TROUBLE,     // text: what went wrong; it goes on
    NATIVE_LEFT,        // a units were computed
};

struct native_event {
    enum native_event_kind kind;
    const char *text; // valid during the call
    uint64_t a, b;
};

struct native_volunteer {
    const char *url;
    struct native_profile profile; // backend may be NULL: "native-<isa>"
    const char *cacert;            // or NULL
    const char *cache;             // folder for downloaded models
    const char *models;            // folder of models on disk, or NULL
    enum engine_isa isa;
    uint32_t n_seqs;    // sequences at a time, at most; 0: what memory allows
    unsigned intensity; // percent of the time to compute, 1 .. 100
    int stop_fd;        // when readable: leave and return; -1: never

    // For tests.
    unsigned delay_ms;
    const char *source; // address that calls come from, or NULL
    native_run_fn *run; // in the place of engine_run, or NULL
    void *run_ctx;

    void (*on_event)(const struct native_event *event, void *ctx); // or NULL
    void *ctx;
};

// Work until stopped: ERR_OK. ERR_DENIED: the server refuses this volunteer
// for good. ERR_UNSUPPORTED: this machine cannot run that isa. Errors of
// models on disk, ERR_FORMAT (url), ERR_NOMEM. why gets a line on failure.
// Everything else that goes wrong is told and tried again.
MUST_USE enum err native_volunteer_run(const struct native_volunteer *config,
                                       char *why, size_t why_len);

#endif
