// tolerance.h - how far apart honest results of two kernel classes may be.
//
// Within class exact nothing is tolerated: keyed hashes are compared. Of class
// f32 against exact the distance of projections is compared (project.h): a
// value that is off by one unit adds 1 to it.
//
// Measured by `tolerance` in ops/bench, on every span of up to four layers of
// tales-gpt2 and tales-llama, each layer a shard of its own, 6,800,000 rows;
// the largest distance of so many rows together:
//
//   rows of the stretch                1      4     16     32     64
//   behind the first layer, 1       1.33   0.52   0.24   0.19   0.16
//                           2       5.89   1.41   0.64   0.50   0.44
//                           3       6.21   2.30   1.03   0.91   0.75
//                           4       6.71   2.68   1.44   1.27   1.08
//   with the first layer,   1       6.43   1.16   0.53   0.45   0.39
//                           2       6.33   2.49   1.07   0.83   0.73
//                           3      15.17   3.64   1.85   1.41   1.07
//                           4      12.05   3.74   2.13   1.60   1.38
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
// many missing (3 of each 64) cannot in stints that begin with their line,
// where the rows right behind it show it most: in 32 rows from the first on the
// least distance is 0.33, in the last layer of tales-llama, and all of 3,500
// stints over seven spans of that model are found. It can where a line was
// taken over: in rows 32 .. 63, 83 of 100 are found from layer 2 to 3 of
// tales-llama, 72 from 3 to 4, 68 from 4 to 5 and 97 from 1 to 5.
//
// A better fingerprint of those rows would not find them all. Compared value by
// value, without projections, honest ones come to 0.17 (44,800 stretches of
// both models), and 4, 13 and 22 of 100 such lies stay below 1.2 times that. A
// tenth of what the lie changes, in energy, is along one direction; the rest is
// rounding, independent from row to row. So signed sums over rows whose vectors
// are the same (8, 16 or 32 rows) tell little more: with means they miss 5 of
// 100 from 2 to 3, at the best weight, where means alone miss 9 or more;
// without projections 0.2, 4 and 6. Honest differences have a direction in
// common, too, where a key or value that all rows look at is off by one: the
// sum's energy is 0.1 as a rule, and was 0.42 in tales-gpt2.
//
// The limits are 1.2 times the honest distances from 16 rows on, 1.4 times from
// 4 on and 1.6 (of several layers 2) times of a single row, where the tail is
// long. A better second arithmetic would not be
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
            {545, 187, 76, 59, 51},      \
            {3014, 506, 199, 154, 137},  \
            {3180, 824, 320, 281, 234},  \
            {3438, 1075, 447, 395, 335}, \
        },                               \
        {                                \
            {2634, 512, 165, 141, 120},  \
            {3584, 1024, 332, 258, 227}, \
            {7769, 1307, 574, 437, 332}, \
            {7769, 1536, 668, 496, 428}, \
        },                               \
    }
// clang-format on

#endif
