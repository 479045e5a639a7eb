// cases_out.h - writes cases for kernels (kernel_cases.c says in which form),
// and draws the numbers for them.
#ifndef TESTS_SHADERS_CASES_OUT_H
#define TESTS_SHADERS_CASES_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cases_out {
    FILE *index, *blob;
    size_t at; // bytes in blob
    unsigned n_cases, n_buffers;
    uint64_t random;
    char constants[512]; // of the case in hand
};

// Failure ends the program, here and below.
void cases_open(struct cases_out *out, const char *dir);
void cases_close(struct cases_out *out);

// A case: its kernel and constants, `"C":67,"G":2`, then its buffers, then how
// many workgroups. cases_more adds constants, before the end.
void cases_begin(struct cases_out *out, const char *kernel, const char *format,
                 ...) __attribute__((format(printf, 3, 4)));
void cases_more(struct cases_out *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void cases_end(struct cases_out *out, uint32_t x, uint32_t y);

// A buffer that is only read.
void cases_in(struct cases_out *out, uint32_t binding, const void *bytes,
              size_t len);

// A buffer that begins as `before` (NULL: zeros) and of which the first
// expect_len bytes must be `expect` afterwards.
void cases_expect(struct cases_out *out, uint32_t binding, const void *before,
                  size_t len, const void *expect, size_t expect_len);

int32_t cases_between(struct cases_out *out, int32_t from, int32_t to);

// Of any magnitude up to FORMAT_VALUE_MAX, so that all shifts occur; now and
// then exactly the limit.
int32_t cases_any(struct cases_out *out);

#endif
