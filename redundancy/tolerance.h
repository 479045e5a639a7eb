// tolerance.h - how far apart honest results of two kernel classes may be.
//
// Within class exact nothing is tolerated: keyed hashes are compared. Of class
// f32 against exact the mean squared difference of projections is compared, in
// units of the rows' width and mean square unit (redun_scale): a value that is
// off by one unit adds 1 to it. Measured by `tolerance` in ops/bench, on every
// span of up to four layers of tales-gpt2 and tales-llama, each layer a shard
// of its own, 500,000 rows of either, none rejected; the largest distance of
// so many rows together:
//
//   rows of the stint              1      4     16     32     64
//   honest, 1 layer           2.88   0.89   0.44   0.39   0.33
//   honest, 2 layers          5.43   1.58   0.90   0.71   0.63
//   honest, 3 layers         11.11   2.80   1.40   1.08   0.93
//   honest, 4 layers          8.55   4.67   2.24   1.75   1.29
//
// The first layer differs most (one of its values in four is off by one, in
// later ones 4 to 12 %); each shard boundary inside a span rounds once more.
// By `lies` in ops/bench, the least of 60 stints of 32 rows behind 32 others:
//
//   layers                                1             4
//   weights of 4 bits             2.4 - 10.1   10.3 - 21.1
//   one matrix of 4 bits          0.8 -  3.8    1.0 -  1.6
//   a layer left out              133 - 280000  108 -  172
//   half of the prompt left out   0.2 - 15.8    9.3 - 19.9
//   one position without K and V  0.2 - 55.3    1.2 -  247
//   another's or random rows      over 5100     over 5100
//
// So what saves work is found; one matrix of 4 bits, or a small part of the
// context missing in a single layer, can hide in the rounding of class f32.
#ifndef REDUN_TOLERANCE_H
#define REDUN_TOLERANCE_H

// Limits of the mean squared difference, in 1/256: a line for each number of
// layers, for stretches below 4, below 16, below 32, and of more rows.
#define REDUN_LIMITS                                                          \
    {                                                                         \
        {2048, 512, 218, 166}, {3584, 896, 358, 294}, {5120, 1408, 563, 486}, \
            {6144, 2048, 819, 666},                                           \
    }

#endif
