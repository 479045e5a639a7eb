#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 30 };

int cli_fail(const char *argv0, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", argv0);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return CLI_FAILED;
}

int cli_usage(const char *argv0, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", argv0);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry `%s --help`.\n", argv0);
    return CLI_USAGE;
}

// Digits from *text on; false if there are none or they do not fit.
static bool digits(const char **text, uint64_t *out)
{
    const char *p = *text;
    uint64_t v = 0;

    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');

        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *text = p;
    *out = v;
    return true;
}

bool cli_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t v;

    if (!digits(&text, &v) || *text || v < min || v > max)
        return false;
    *out = v;
    return true;
}

bool cli_bytes(const char *text, uint64_t *out)
{
    uint64_t v;
    unsigned shift = 0;

    if (!digits(&text, &v))
        return false;
    if (*text == 'K' || *text == 'M' || *text == 'G') {
        shift = *text == 'K' ? 10 : *text == 'M' ? 20 : 30;
        text++;
    }
    if (*text || !v || v > UINT64_MAX >> shift)
        return false;
    *out = v << shift;
    return true;
}

bool cli_switch(const char *text, bool *out)
{
    bool on = strcmp(text, "on") == 0;

    if (!on && strcmp(text, "off") != 0)
        return false;
    *out = on;
    return true;
}

static void bar_print(const struct cli_progress *p, int percent, double done,
                      double total)
{
    char bar[BAR_WIDTH + 1];
    int full = percent * BAR_WIDTH / 100;

    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%s [%s] %3d %%, %.1f of %.1f %s ", p->title, bar,
            percent, done, total, p->unit);
    fflush(stderr);
}

void cli_progress_show(struct cli_progress *p, uint64_t done, uint64_t total)
{
    int percent = total ? (int)((double)done / (double)total * 100.0) : 100;
    double shown_done = (double)done / p->scale;
    double shown_total = (double)total / p->scale;
    int state;

    if (!p->started) {
        p->started = true;
        p->terminal = isatty(STDERR_FILENO);
        p->shown = -1;
    }
    state = p->terminal ? percent : percent / 10;
    if (state == p->shown)
        return;
    p->shown = state;
    if (p->terminal)
        bar_print(p, percent, shown_done, shown_total);
    else
        fprintf(stderr, "%s: %d %%, %.1f of %.1f %s\n", p->title, percent,
                shown_done, shown_total, p->unit);
}

void cli_progress_end(struct cli_progress *p)
{
    if (p->started && p->terminal)
        fputc('\n', stderr);
    p->started = false;
}
