// tolerance.h - how far apart honest results of two kernel classes may be.
//
// Within class exact nothing is tolerated: keyed hashes are compared. Of class
// f32 against exact the mean squared difference of projections is compared, in
// units of the rows' width and mean square unit (redun_scale): a value that is
// off by one unit adds 1 to it. Measured by `tolerance` in ops/bench, on every
// span of up to four layers of tales-gpt2 and tales-llama, each layer a shard
// of its own, 57,000 rows of either; the largest of so many rows together:
//
//   rows of the stint              1      4     16     32     64
//   honest, 1 layer             2.06   0.62   0.42   0.37   0.34
//           2 layers            4.00   1.41   0.71   0.63   0.59
//           3 layers            5.02   1.95   1.16   1.07   0.91
//           4 layers            4.80   2.98   1.66   1.48   1.16
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
        {1536, 410, 218, 166}, {2560, 768, 358, 294}, {3328, 1152, 563, 486}, \
            {4096, 1536, 819, 666},                                           \
    }

#endif
