// stints.h - the stints of one account that have ended and are not yet valid.
//
// A drawn stint is valid when its check agreed. An undrawn one is valid after
// REDUN_WINDOW later stints of the account, when every drawn one among those
// has agreed; or, where that cannot be waited for (the batch ends, the account
// leaves, the log is full), after one more check, drawn among the undrawn, has
// agreed. Where a drawn stint is wrong, the last REDUN_WINDOW undrawn are
// checked too.
#ifndef REDUN_STINTS_H
#define REDUN_STINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    REDUN_WINDOW = 64,
    REDUN_STINTS_MAX = 1024, // pending of one account
};

enum redun_stint_state {
    REDUN_UNDRAWN,
    REDUN_COVERED, // undrawn, and a check drawn for it has agreed
    REDUN_DRAWN,   // waits for its check
};

struct redun_stint {
    uint64_t id;
    uint64_t at; // its number among the account's stints
    enum redun_stint_state state;
    uint64_t covers; // if drawn by _settle: all with a smaller at; else 0
};

// The id of no stint.
#define REDUN_STINT_NONE UINT64_MAX

// Zero is empty. Oldest first.
struct redun_stints {
    uint64_t n_ended; // ever
    size_t n;
    struct redun_stint s[REDUN_STINTS_MAX];
};

// A stint has ended. ERR_FULL: settle first. ERR_EXISTS: id is pending.
MUST_USE enum err redun_stints_add(struct redun_stints *stints, uint64_t id,
                                   bool drawn);

// The check of a drawn stint agreed: it is valid, and no more in here.
// ERR_NOT_FOUND: id is not drawn.
MUST_USE enum err redun_stints_agreed(struct redun_stints *stints, uint64_t id);

// It was wrong (or REDUN_STINT_NONE: the account was wrong about another's): it
// is no more in here, and up to REDUN_WINDOW of the undrawn, the latest, are
// drawn and put into ids. Returns how many.
size_t redun_stints_lost(struct redun_stints *stints, uint64_t id,
                         uint64_t ids[REDUN_WINDOW]);

// Draw one of the undrawn for all of them. ERR_NOT_FOUND: there is none.
// random as for redun_draw.
MUST_USE enum err redun_stints_settle(struct redun_stints *stints,
                                      uint32_t random, uint64_t *id);

// Take out one undrawn stint that has become valid. ERR_NOT_FOUND.
MUST_USE enum err redun_stints_valid(struct redun_stints *stints, uint64_t *id);

#endif
