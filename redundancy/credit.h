// credit.h - what confirmed work is worth.
//
// Credit is rows times parameters of the span that computed them, in millions.
// A maker of a line gets it for the rows that it computed (the prompt's rows go
// to whom computed the first token), a checker whose check was right for all
// rows of the line.
#ifndef REDUN_CREDIT_H
#define REDUN_CREDIT_H

#include <stdint.h>

// Credit of 1000 rows of a span with n_params parameters (up to 2^50), rounded
// half up, at least 1.
uint64_t redun_credit_1000(uint64_t n_params);

#endif
