// prints.h - one hash over fingerprints of both kinds, of random rows and of
// rows that nobody honest sends. Every build must give the committed one. libc
// only.
#ifndef TESTS_REDUNDANCY_PRINTS_H
#define TESTS_REDUNDANCY_PRINTS_H

#include "base/sha256.h"

// What all builds must give, as hexadecimal digits.
extern const char prints_committed[2 * SHA256_LEN + 1];

void prints_digest(uint8_t out[SHA256_LEN]);

#endif
