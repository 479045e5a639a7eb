// entry.h - the proof of work of who joins from a busy address block: reading
// the one that came, and asking for one.
#ifndef API_ENTRY_H
#define API_ENTRY_H

#include "api/fields.h"
#include "api/request.h"
#include "api/toll.h"
#include "scheduler/volunteer.h"

// Who joins, and what came of the proof of work that was sent along.
struct api_entry {
    uint8_t account[SHA256_LEN]; // its SHA-256
    char block[API_BLOCK_TEXT_MAX];
    enum { API_PROOF_NONE, API_PROOF_FOREIGN, API_PROOF_PAID } proof;
    struct api_toll toll; // if PAID
};

// The member "proof_of_work" of a join, {challenge, nonce}; account and block
// are set. A malformed one and a nonce that does not pay are mistakes of f. One
// that was given to somebody else counts for nothing.
void api_entry_read(const struct api_server *server, struct api_fields *f,
                    struct api_entry *entry);

// Answer: it may not join, and why; with a challenge if it has to pay first.
void api_entry_refuse(struct api_request *req, const struct api_entry *entry,
                      const struct sched_entry *why);

#endif
