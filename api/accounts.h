// accounts.h - GET /v1/accounts/{account}: what a volunteer's account has done,
// and which credit is pending and why. The id is told to the account alone, at
// joining; the leaderboard shows its first digits.
#ifndef API_ACCOUNTS_H
#define API_ACCOUNTS_H

#include <jansson.h>

#include "api/request.h"

void api_account_get(struct api_request *req);

// The part of an account's checked work that agreed; null while none was.
json_t *api_account_reliability(uint64_t agreed, uint64_t disagreements);

// "a,b" as ["a", "b"].
json_t *api_account_backends(const char *text);

#endif
