// sample_case.h - the case for sample.wgsl: greedy, top_p, top_k, penalties
// with biases, and nearly flat, with log-probabilities.
#ifndef TESTS_SHADERS_SAMPLE_CASE_H
#define TESTS_SHADERS_SAMPLE_CASE_H

#include "cases_out.h"

// logs: the tables exp2, log2 and logh of format.h, one behind the other.
void sample_case(struct cases_out *out, const int32_t *logs);

#endif
