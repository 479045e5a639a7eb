// golden.h - the parts of a golden.json that are about the model: windows of
// token ids with their likelihood, and greedy lines with their margins.
#ifndef TESTS_ENGINE_GOLDEN_H
#define TESTS_ENGINE_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

struct golden_line {
    uint32_t *ids; // n_prompt + n_new
    uint32_t n_prompt, n_new;
    double *margins; // n_new
};

struct golden_window {
    uint32_t *ids;
    uint32_t n;
    double nll; // mean, of tokens 1 .. n-1
};

struct golden {
    double perplexity;
    size_t n_windows, n_lines;
    struct golden_window *windows;
    struct golden_line *lines;
};

// Ends the test if the file is not there or not as expected.
struct golden golden_load(const char *path);
void golden_release(struct golden *g);

#endif
