// toll.h - the small proof of work that a server asks of new accounts of an
// address block that has opened many (redundancy/entry.h says how many bits).
//
// The server gives a challenge, a text. It is paid with a nonce of 8 bytes for
// which SHA-256(SHA-256(challenge) || nonce) begins with so many zero bits:
// 2^bits tries on average. The same search runs natively and as WASM.
#ifndef BASE_TOLL_H
#define BASE_TOLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sha256.h"

enum {
    TOLL_NONCE_LEN = 8,
    TOLL_LEN = SHA256_LEN + TOLL_NONCE_LEN, // SHA-256(challenge) || nonce
    TOLL_BITS_MAX = 40, // more than that nobody should try to pay
};

// What a challenge asks for, with the nonce 0.
void toll_begin(const void *challenge, size_t len, uint8_t out[TOLL_LEN]);

// Does the nonce in toll pay so many bits (0 .. 256)?
bool toll_is_paid(const uint8_t toll[TOLL_LEN], unsigned bits);

// Try this nonce and the next ones, tries in all. True: the one in toll pays.
// False: none did, and the one in toll is the next to be tried.
bool toll_search(uint8_t toll[TOLL_LEN], uint32_t tries, unsigned bits);

#endif
