#include "api/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void api_log(enum api_log_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"info", "warn", "error"};
    char line[1280];
    struct timespec ts;
    struct tm tm;
    va_list ap;
    int n, m;

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    n = snprintf(line, 200,
                 "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ level=%s event=%.60s",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                 tm.tm_min, tm.tm_sec, (int)(ts.tv_nsec / 1000000),
                 names[level], event);
    if (n < 0)
        return;
    line[n++] = ' ';
    va_start(ap, fmt);
    m = vsnprintf(line + n, 1000, fmt, ap);
    va_end(ap);
    if (m > 0)
        n += m < 1000 ? m : 999;
    for (int i = 0; i < n; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 127)
            line[i] = ' ';
    }
    line[n++] = '\n';
    // One write a line, so that lines of several processes do not mix.
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return; // nowhere left to say so
}
