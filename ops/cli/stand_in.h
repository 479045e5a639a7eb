// stand_in.h - `synapse volunteer` with something else in the place of the
// engine. For the adversaries of tests/; `synapse` itself has none.
#ifndef CLI_STAND_IN_H
#define CLI_STAND_IN_H

#include "native/compute.h"

struct cli_stand_in {
    const char *source; // address that calls come from, or NULL
    native_run_fn *run; // in the place of engine_run, or NULL
    void *run_ctx;
};

// As cli_volunteer. other may be NULL.
int cli_volunteer_as(int argc, char **argv, const struct cli_stand_in *other);

#endif
