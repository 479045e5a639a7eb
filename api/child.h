// child.h - starting a program as a child process.
#ifndef API_CHILD_H
#define API_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct api_child_spec {
    const char *const *argv; // NULL at the end; argv[0] is looked up in PATH
                             // unless it has a slash
    const char *dir;         // working directory, or NULL
    const char *env_name;    // one more variable, or NULL
    const char *env_value;
    const char *output; // file for stdout and stderr (appended), or NULL
    int keep_fd;        // left open in the child, or -1
    int nice;           // added to the priority
    bool with_parent;   // ends with this process, whatever happens to it
};

// Start it, in a session of its own (a Ctrl-C at the terminal is for us).
// ERR_NOT_FOUND: no such program. ERR_IO: fork or exec failed.
MUST_USE enum err api_child_start(const struct api_child_spec *spec,
                                  pid_t *out);

// Has it ended? Collects it without waiting. *status as waitpid.
bool api_child_ended(pid_t pid, int *status);

#endif
