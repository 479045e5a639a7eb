// twins_check.h - compares a table of kernels with the reference, byte for
// byte, on random and extreme inputs. libc only, so that it also runs as WASM.
#ifndef TESTS_ENGINE_TWINS_CHECK_H
#define TESTS_ENGINE_TWINS_CHECK_H

#include "engine/kernels.h"

// NULL if all is equal, else what differs first: a text in why.
const char *twins_check(const struct engine_kernels *twin, char *why,
                        size_t why_len);

#endif
