// tolerance.h - how far apart honest results of two kernel classes may be.
//
// Honest: mantissas are off by one in up to a quarter of the places, at random
// (class f32 against exact within four layers). A projection then differs by a
// sum of dim / 4 signs, so the mean squared difference is 0.156 dim (as
// half of the groups have half the unit), in units of the reference exponent.
// Measured on synthetic bell-shaped rows as in tests/redundancy/test_project,
// dim 768, in units of dim (no engine of class f32 has been measured yet):
//
//   rows of the stint                              1      4      8     32
//   honest, largest (20,000 stints; 4,000)      0.80   0.34   0.27   0.21
//   5 % relative error, least but 0.1 % (1,000) 0.30   0.86   1.13   1.63
//   8 % relative error, the same                0.42   2.78   3.68   4.83
//   another row altogether                    137.3  705.2  967.3 1274.3
//
// One row cannot both catch 5 % and pass all honest work, so stints are
// compared as a whole, and the limit falls with their length. By the
// chi-squared distribution honest stints pass but for less than one in 10^13.
#ifndef REDUN_TOLERANCE_H
#define REDUN_TOLERANCE_H

enum {
    // Limits of the mean squared difference, in 1/256 of dim.
    REDUN_LIMIT_1 = 512, // below 4 rows
    REDUN_LIMIT_4 = 179, // 4 to 15 rows
    REDUN_LIMIT_16 = 90, // 16 rows and more
};

#endif
