// trust.h - what an account has shown, and what follows from it: how often its
// stints are checked, whom it may check, when it is banned.
//
// Pure: time and randomness are arguments. Times are unix milliseconds.
#ifndef REDUN_TRUST_H
#define REDUN_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REDUN_TRUST_RUN = 10,        // valid checks in a row that make trust
    REDUN_PROBATION = 3,         // longer by this factor after a strike
    REDUN_DRAW_LEAST = 50000,    // millionths: the least that is ever checked
    REDUN_DRAW_STRUCK = 1000000, // millionths, while it has a strike
    REDUN_DRAW_ALWAYS = 1000000, // millionths
    REDUN_SEASON_CHECKS = 2000,
    REDUN_SEASON_LOST = 4,    // a check that finds a lie counts so much ...
    REDUN_SEASON_BANNED = 2,  // ... and this less once that one is banned
    REDUN_SEASON_USUAL = 350, // millionths of checks that find lies anyway
    REDUN_SEASON_RISE = 60,   // the chance rises by this times the excess ...
    REDUN_SEASON_STEEP = 6,   // ... and by this times its square, in 1/100
    REDUN_SETTLE_MOST = 24,   // stints of which the share is drawn, at most
    REDUN_SETTLE_REFEREE = 8, // a draw for so many is the referee's
    REDUN_STRIKES_MAX = 3,    // so many ban
};

// Who was wrong gets no new work for so long, while there are others.
#define REDUN_REST_MS (INT64_C(24) * 3600 * 1000)

// A strike is forgotten after this long without another one.
#define REDUN_STRIKE_MS (INT64_C(7) * 24 * 3600 * 1000)

// Zero is a newcomer. Kept by account, so that it holds over reconnects.
struct redun_trust {
    uint32_t run;      // valid checks in a row
    uint32_t strikes;  // as of struck_ms
    int64_t struck_ms; // the last strike, or when one was last forgotten
    bool banned;       // for good
};

// Has an account with a run of so many valid checks and so many strikes earned
// trust? A strike makes it REDUN_PROBATION times as long.
static inline bool redun_trusted(uint32_t run, uint32_t strikes)
{
    uint32_t need = REDUN_TRUST_RUN;

    for (uint32_t i = 0; i < strikes && i < REDUN_STRIKES_MAX; i++)
        need *= REDUN_PROBATION;
    return run >= need;
}

// What checks that were drawn by chance have found lately, in the whole grid.
struct redun_season {
    uint32_t checks;
    uint32_t lost; // in 1/REDUN_SEASON_LOST
};

// One more of them. Old ones count ever less: both are halved at
// REDUN_SEASON_CHECKS.
void redun_season_add(struct redun_season *season, bool lost);

// Somebody is banned, and lies no more: part of what was found is taken back.
void redun_season_ban(struct redun_season *season);

// The least chance of a check, in millionths: 5 % where next to nothing is
// found, up to all where lies are common.
uint32_t redun_draw_least(const struct redun_season *season);

// How many of an account's n undrawn stints are drawn where they cannot wait
// any longer: one for all, and what the least chance has risen by.
size_t redun_settle(size_t n, uint32_t least);

// The chance of a check of its next stint, in millionths: certain while it is
// not trusted, then max(least, 1/run), with strikes at least
// REDUN_DRAW_STRUCK.
uint32_t redun_draw_chance(uint32_t run, uint32_t strikes, uint32_t least);

// Is the stint that has just ended checked? random: 32 bits that nobody outside
// can predict, drawn after the stint was committed.
bool redun_draw(uint32_t run, uint32_t strikes, uint32_t least,
                uint32_t random);

// A check of its work, or its check of another's, was right.
void redun_trust_agreed(struct redun_trust *trust);

// Does it get no new work at now, while there are others?
bool redun_trust_rests(const struct redun_trust *trust, int64_t now_ms);

// It lost a dispute at now: the run is 0, a strike is added, and the account is
// banned at REDUN_STRIKES_MAX.
void redun_trust_lost(struct redun_trust *trust, int64_t now_ms);

// Its strikes at now, after what has been forgotten.
uint32_t redun_trust_strikes(const struct redun_trust *trust, int64_t now_ms);

// May accounts check each other? Newcomers do not vouch for newcomers: one of
// the two is trusted, or the referee checks.
static inline bool redun_may_check(bool primary_trusted, bool checker_trusted)
{
    return primary_trusted || checker_trusted;
}

#endif
