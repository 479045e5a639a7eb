// stints.h - the stints that one account has computed, or vouched for as a
// checker, and that are not yet valid.
//
// A drawn stint that the referee finds right is valid. Where a volunteer's
// check agrees it is held, by its maker and by that one, who vouches for it:
// two who lie together would do that. Undrawn and held ones are valid after
// REDUN_WINDOW later stints of the account, when every drawn one among those
// has agreed; or, where that cannot be waited for (the batch ends, the account
// leaves, the log is full), undrawn ones after some of them, drawn once more,
// were found right by the referee, and held ones when nothing else is left of
// their batch. Where an account is found wrong, the referee checks all that it
// has here.
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
    REDUN_HELD,    // a volunteer's check agreed
    REDUN_COVERED, // valid: checks drawn for it have agreed
    REDUN_DRAWN,   // waits for its check
};

struct redun_stint {
    uint64_t id;
    uint64_t at; // its number among the account's stints
    enum redun_stint_state state;
    uint64_t covers; // if drawn by _settle: all with a smaller at; else 0
};

// Zero is empty. Oldest first.
struct redun_stints {
    uint64_t n_ended; // ever
    size_t n;
    struct redun_stint s[REDUN_STINTS_MAX];
};

// A stint has ended. ERR_FULL: settle first. ERR_EXISTS: id is pending.
MUST_USE enum err redun_stints_add(struct redun_stints *stints, uint64_t id,
                                   bool drawn);

// The account vouches for another's stint: it is held here, too. Errors as
// above.
MUST_USE enum err redun_stints_vouch(struct redun_stints *stints, uint64_t id);

// The check of a drawn stint agreed. held: it was a volunteer's; otherwise the
// stint is no more in here. ERR_NOT_FOUND: id is not drawn.
MUST_USE enum err redun_stints_agreed(struct redun_stints *stints, uint64_t id,
                                      bool held);

// It is valid, or has to be computed again: no more in here, if it was.
void redun_stints_drop(struct redun_stints *stints, uint64_t id);

// The account was wrong: all that is not drawn yet is drawn, and put into ids,
// the latest first. Returns how many.
size_t redun_stints_lost(struct redun_stints *stints,
                         uint64_t ids[REDUN_STINTS_MAX]);

// How many are undrawn.
size_t redun_stints_undrawn(const struct redun_stints *stints);

// Draw one of the undrawn, for all that is in here. ERR_NOT_FOUND: there is
// none. random as for redun_draw.
MUST_USE enum err redun_stints_settle(struct redun_stints *stints,
                                      uint32_t random, uint64_t *id);

// Take out one stint that has become valid; rest: or a held one, as nothing
// else is left of the batch. ERR_NOT_FOUND.
MUST_USE enum err redun_stints_valid(struct redun_stints *stints, bool rest,
                                     uint64_t *id);

#endif
