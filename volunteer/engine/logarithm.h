// logarithm.h - logarithms of integers, by the shard's tables.
#ifndef ENGINE_LOGARITHM_H
#define ENGINE_LOGARITHM_H

#include <stdint.h>

// log2(v) in Q24, v > 0: linear interpolation between 1024 points an octave.
int32_t logarithm_2(uint64_t v, const int32_t *log2);

// A Q24 logarithm to base 2, |x| < 2^30, as a natural one.
int32_t logarithm_natural(int32_t x);

// Gumbel noise -ln(-ln U) in Q16 for U = (2u + 1) / 2^33, with relative
// precision in both tails; -3.2 .. 22.9.
int32_t logarithm_gumbel(uint32_t u, const int32_t *log2, const int32_t *logh);

#endif
