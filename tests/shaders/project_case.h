// project_case.h - a case for project.wgsl, beside those of kernel_cases.c.
#ifndef TESTS_SHADERS_PROJECT_CASE_H
#define TESTS_SHADERS_PROJECT_CASE_H

#include "cases_out.h"

// Rows of C values, 1 .. 1280: as engines make them, then as others may send
// them: exponents that no value needs, zeros, limits.
void project_case(struct cases_out *out, uint32_t C);

#endif
