// options.h - the command line of synapsed.
#ifndef API_OPTIONS_H
#define API_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/address.h"

enum {
    API_PATH_MAX = 4096,
    API_TRUST_PROXY_MAX = 16,
    API_PLACES_MAX = 16,
    API_OPTION_ALIASES_MAX = 64,
};

struct api_options {
    char data[API_PATH_MAX];  // absolute once the server has started
    char files[API_PATH_MAX]; // default: data/files
    char models[API_PATH_MAX];
    char web[API_PATH_MAX];      // default: ../web beside the executable
    char bin[API_PATH_MAX];      // the folder of the executable
    char host[256];              // of --listen, without brackets
    uint16_t port;               // 0: a free one
    char redis[API_PATH_MAX];    // "" is a child of our own
    char tls_cert[API_PATH_MAX]; // both or none
    char tls_key[API_PATH_MAX];
    struct api_cidr trust_proxy[API_TRUST_PROXY_MAX];
    size_t n_trust_proxy;
    // Blocks that volunteers may share; loopback unless one is named.
    struct api_cidr same_place[API_PLACES_MAX];
    size_t n_same_place;
    const char *aliases[API_OPTION_ALIASES_MAX]; // "NAME=MODEL", of argv
    size_t n_aliases;
    uint32_t retention_days; // of files, batches and results
    bool allow_private_callbacks;
    uint32_t callback_ms; // for a receiver to answer
    bool no_referee;
    // Newcomers of an address block, see struct sched_policy.
    uint32_t new_accounts, new_accounts_max, new_bits;
    uint32_t new_volunteers, new_units;
    uint64_t log_bytes;   // budget of the activation log
    uint64_t max_body;    // bytes of a batch
    uint32_t max_clients; // connections at once
    uint32_t progress_ms; // how often a computing volunteer says so
    uint32_t read_ms;     // to send headers or a small body
    uint32_t grace_ms;    // from a closed presence to "gone"
};

// Parse argv. Returns 0 to go on; else the exit status is *status, and what to
// say was printed (usage on stdout, errors on stderr).
int api_options_parse(struct api_options *opt, int argc, char **argv,
                      int *status);

#endif
