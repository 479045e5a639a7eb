// fingerprint.h - 16 bytes that stand for one row of residuals, under a seed.
//
// Class exact: a keyed hash in which every bit counts, so equal fingerprints
// mean equal rows, and without the seed none can be made in advance.
#ifndef REDUNDANCY_FINGERPRINT_H
#define REDUNDANCY_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

enum { REDUN_PRINT_LEN = 16 };

// SipHash-2-4 with a 128-bit result (Aumasson and Bernstein 2012), of n bytes
// under the key of 16 bytes (k0, k1 little-endian).
void redun_siphash(uint8_t out[REDUN_PRINT_LEN], uint64_t k0, uint64_t k1,
                   const uint8_t *data, size_t n);

// The fingerprint of a row in wire form (mantissas, then exponents).
void redun_print(uint8_t out[REDUN_PRINT_LEN], uint64_t seed,
                 const uint8_t *row, size_t n);

#endif
