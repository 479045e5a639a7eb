#include "splitter/why.h"

#include <stdarg.h>
#include <stdio.h>

enum err why_fail(struct why why, enum err err, const char *format, ...)
{
    va_list args;

    if (!why.text || !why.len)
        return err;
    va_start(args, format);
    (void)vsnprintf(why.text, why.len, format, args);
    va_end(args);
    for (char *p = why.text; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
    return err;
}
