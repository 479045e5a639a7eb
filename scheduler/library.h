// library.h - the function library of this build (made from lua/ by
// join.cmake).
#ifndef SCHED_LIBRARY_H
#define SCHED_LIBRARY_H

#include <stddef.h>

// The library's name and the prefix of its functions' names.
extern const char sched_library_version[];
extern const unsigned char sched_library_text[];
extern const size_t sched_library_len;

#endif
