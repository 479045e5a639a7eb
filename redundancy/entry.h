// entry.h - how many new accounts an address block may open in an hour, and
// what proof of work (base/toll.h) more of them cost.
//
// A block's score is the number of accounts that it opened in the last hour,
// and REDUN_ENTRY_BANNED for each of its accounts that was banned lately. Up to
// a score of `free` opening one costs nothing; from there on it costs `bits`
// bits, one more with every REDUN_ENTRY_STEP, at most REDUN_ENTRY_BITS_MAX.
// Whoever is known already enters for nothing.
//
// Pure: what is counted, and the time, are the caller's.
#ifndef REDUN_ENTRY_H
#define REDUN_ENTRY_H

#include <stdint.h>

enum {
    REDUN_ENTRY_STEP = 16,
    REDUN_ENTRY_BANNED = 32, // two bits each
    REDUN_ENTRY_BITS_MAX = 24,
    // A toll that was paid counts as so many bits more, because others may have
    // come in while it was worked on.
    REDUN_ENTRY_SLACK = 1,
};

#define REDUN_ENTRY_WINDOW_MS (INT64_C(3600) * 1000)
#define REDUN_ENTRY_BANNED_MS (INT64_C(7) * 24 * 3600 * 1000)

struct redun_entry {
    uint32_t free; // new accounts of a block in an hour that pay nothing
    uint32_t bits; // of the first that pays, 1 .. REDUN_ENTRY_BITS_MAX
};

// The bits that the next account of a block with this score pays, 0 for none.
uint32_t redun_entry_bits(const struct redun_entry *entry, uint32_t score);

// Whoever has paid so many bits may enter while the score is below this.
uint32_t redun_entry_reach(const struct redun_entry *entry, uint32_t bits);

#endif
