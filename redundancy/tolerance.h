// tolerance.h - how far apart honest results of two kernel classes may be.
//
// Within class exact nothing is tolerated: keyed hashes are compared. Of class
// f32 against exact the distance of projections is compared (project.h): a
// value that is off by one unit adds 1 to it.
//
// Measured by `tolerance` in ops/bench, on every span of up to four layers of
// tales-gpt2 and tales-llama, each layer a shard of its own, 1,500,000 rows;
// the largest distance of so many rows together:
//
//   rows of the stretch                1      4     16     32     64
//   behind the first layer, 1       1.33   0.47   0.22   0.18   0.16
//                           2       3.67   1.41   0.54   0.49   0.43
//                           3       3.65   1.47   0.96   0.83   0.74
//                           4       5.88   2.56   1.33   1.20   1.08
//   with the first layer,   1       6.43   1.04   0.53   0.42   0.37
//                           2       5.88   2.49   1.07   0.83   0.71
//                           3       9.18   2.92   1.43   1.17   1.06
//                           4       7.21   3.74   2.13   1.60   1.38
//
// By `lies` in ops/bench, the least of 200 stints of 32 rows behind 32 others,
// by a cheat that computes exactly but for its lie:
//
//   layers                                1             4
//   weights of 4 bits             2.8 - 14.2   13.1 - 23.9
//   one matrix of 4 bits          0.8 -  5.0    1.1 -  1.7
//   a layer left out               85 -  608     73 -   95
//   half of the prompt left out   0.2 - 16.6   10.6 - 22.3
//   one position without K and V  0.1 - 52.1    1.3 -  101
//   another's or random rows      120 -  199    160 -  218
//
// So what saves work is found in all of 800 stints of either model, each time.
// One matrix of 4 bits can hide in the rounding of class f32. One position of
// many missing (3 of each 64) cannot in stints that begin with their line, where
// the rows right behind it show it most: in 32 rows from the first on the least
// distance is 0.33, in the last layer of tales-llama, and all of 3,500 stints
// over seven spans of that model are found. It can where a line was taken over:
// in rows 32 .. 63, 93 of 100 are found from layer 2 to 3 of tales-llama, 80
// from 3 to 4 and 76 from 4 to 5.
//
// A better fingerprint of those rows would not find them all. Compared value by
// value, without projections, honest ones come to 0.17 (44,800 stretches of both
// models), and 4, 13 and 22 of 100 such lies stay below 1.2 times that. A tenth
// of what the lie changes, in energy, is along one direction; the rest is
// rounding, independent from row to row. So signed sums over rows whose vectors
// are the same (8, 16 or 32 rows) tell little more: with means they miss 5 of
// 100 from 2 to 3, at the best weight, where means alone miss 9 or more; without
// projections 0.2, 4 and 6. Honest differences have a direction in common, too,
// where a key or value that all rows look at is off by one: the sum's energy is
// 0.1 as a rule, and was 0.42 in tales-gpt2.
//
// The limits are 1.2 times the honest distances from 16 rows on, and more
// below, where the tail is long. A better second arithmetic would not be
// closer: a difference in the last bit of a few values moves some of them
// across the middle between two int8 steps, each such step is as large as all
// others, and the next product spreads it over a whole row, where it moves more
// of them. One float function in the last matrix of a layer changes 0.2 % of
// its values, and behind three more layers 37 %; so after four layers two
// honest rows are as far apart as what int8 rounds off, whichever function
// began it.
#ifndef REDUN_TOLERANCE_H
#define REDUN_TOLERANCE_H

// Stretches of so many rows and more have a limit of their own; the first one
// is that of a single row, too, in stretches of any length.
#define REDUN_LENGTHS 5
// clang-format off
#define REDUN_LENGTHS_FROM {1, 4, 16, 32, 64}

// Limits, in 1/256: of spans behind the first layer and of those that have it,
// a line for each number of layers.
#define REDUN_LIMITS                     \
    {                                    \
        {                                \
            {486, 180, 72, 55, 48},      \
            {1408, 480, 171, 148, 130},  \
            {1536, 666, 309, 245, 222},  \
            {3072, 1075, 424, 348, 322}, \
        },                               \
        {                                \
            {2432, 512, 163, 130, 115},  \
            {3584, 1024, 319, 250, 217}, \
            {3584, 1152, 437, 348, 309}, \
            {3584, 1536, 668, 481, 412}, \
        },                               \
    }
// clang-format on

#endif
