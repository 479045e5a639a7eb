#include "api/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

// In the child, after fork: set all up and become the program. Returns only on
// failure, with errno set. Calls nothing that could allocate.
static void become(const struct api_child_spec *spec, pid_t parent)
{
    int null = open("/dev/null", O_RDWR);
    int out = spec->output
                  ? open(spec->output, O_WRONLY | O_CREAT | O_APPEND, 0600)
                  : -1;
    sigset_t none;

    setsid();
    if (spec->with_parent) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(1); // it ended before the line above
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    if (out >= 0) {
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
    }
    if (spec->keep_fd >= 0)
        fcntl(spec->keep_fd, F_SETFD, 0);
    if (spec->dir && chdir(spec->dir))
        return;
    if (spec->nice)
        setpriority(PRIO_PROCESS, 0, spec->nice);
    // exec promises to change nothing, but its type is older than const.
    execvp(spec->argv[0], (char *const *)(uintptr_t)spec->argv);
}

enum err api_child_start(const struct api_child_spec *spec, pid_t *out)
{
    pid_t parent = getpid(), pid;
    int pipe_fds[2], failed = 0;
    ssize_t n;

    // A pipe that closes on exec tells how it went.
    if (pipe(pipe_fds))
        return ERR_IO;
    fcntl(pipe_fds[0], F_SETFD, FD_CLOEXEC);
    fcntl(pipe_fds[1], F_SETFD, FD_CLOEXEC);
    // In the parent, so that the child need not allocate; taken back below.
    if (spec->env_name && setenv(spec->env_name, spec->env_value, 1)) {
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        return ERR_NOMEM;
    }
    pid = fork();
    if (pid == 0) {
        become(spec, parent);
        failed = errno ? errno : EIO;
        n = write(pipe_fds[1], &failed, sizeof failed);
        _exit(n == sizeof failed ? 127 : 126);
    }
    if (spec->env_name)
        unsetenv(spec->env_name);
    close(pipe_fds[1]);
    if (pid < 0) {
        close(pipe_fds[0]);
        return ERR_IO;
    }
    do
        n = read(pipe_fds[0], &failed, sizeof failed);
    while (n < 0 && errno == EINTR);
    close(pipe_fds[0]);
    if (n == sizeof failed) {
        waitpid(pid, NULL, 0);
        return failed == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    *out = pid;
    return ERR_OK;
}

bool api_child_ended(pid_t pid, int *status)
{
    return waitpid(pid, status, WNOHANG) == pid;
}
