// guard.h - where a callback may connect to. Whatever its URL says, whatever a
// name resolves to, this time or the next: the very address that a connection
// is opened to is looked at.
#ifndef API_GUARD_H
#define API_GUARD_H

#include <curl/curl.h>
#include <stdbool.h>

struct api_guard {
    bool allow_private;
    bool refused; // the last address was in a private network
};

// Let a transfer go to public addresses only (any, with allow_private), by
// https (or http, with allow_private), directly, over a connection of its own,
// and follow no redirect. guard must outlive the transfer. A refusal ends it
// with CURLE_COULDNT_CONNECT.
void api_guard_set(struct api_guard *guard, CURL *easy, bool allow_private);

#endif
