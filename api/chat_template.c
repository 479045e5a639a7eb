#include "api/chat_template.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// A line break, in a literal of the template or as it is. Its length, or 0.
static size_t newline(const char *text)
{
    if (*text == '\n')
        return 1;
    return strncmp(text, "\\n", 2) == 0 ? 2 : 0;
}

// Copy a literal's text up to end, its line breaks read. False: it is not all
// of one literal, or does not fit.
static bool literal_copy(const char *text, const char *end, char *out)
{
    size_t n = 0;

    while (strncmp(text, end, strlen(end)) != 0) {
        size_t skip = newline(text);

        if (n == API_CHAT_SAYS_MAX || !*text || strchr("'\"{}", *text) ||
            (*text == '\\' && !skip))
            return false;
        out[n++] = *text;
        if (skip)
            out[n - 1] = '\n';
        text += skip ? skip : 1;
    }
    out[n] = '\0';
    return n > 0;
}

// "<|im_start|>system\nYou are a helpful assistant.<|im_end|>" in one literal.
static void system_find(const char *text, char *out)
{
    static const char begin[] = "<|im_start|>system";
    char found[API_CHAT_SAYS_MAX + 1];

    while ((text = strstr(text, begin))) {
        size_t skip;

        text += sizeof begin - 1;
        skip = newline(text);
        if (skip && literal_copy(text + skip, "<|im_end|>", found)) {
            memcpy(out, found, sizeof found);
            return;
        }
    }
}

// "Cutting Knowledge Date: December 2023\n", and the date that the template
// takes where it is told none.
static void preface_find(const char *text, char *out)
{
    static const char cut[] = "Cutting Knowledge Date: ";
    static const char date[] = "date_string = \"";
    char until[API_CHAT_SAYS_MAX + 1], today[API_CHAT_SAYS_MAX + 1];
    const char *at = strstr(text, cut);
    const char *day = strstr(text, date);
    int n;

    if (!at || !day || !literal_copy(at + sizeof cut - 1, "\\n", until) ||
        !literal_copy(day + sizeof date - 1, "\"", today))
        return;
    n = snprintf(out, API_CHAT_SAYS_MAX + 1, "%s%s\nToday Date: %s\n\n", cut,
                 until, today);
    if (n < 0 || n > API_CHAT_SAYS_MAX)
        *out = '\0';
}

void api_chat_template_read(const char *text, struct api_chat_template *out)
{
    *out = (struct api_chat_template){.family = API_CHAT_UNKNOWN};
    if (!text || !*text) {
        out->family = API_CHAT_PLAIN;
    } else if (strstr(text, "<|im_start|>")) {
        out->family = API_CHAT_CHATML;
        system_find(text, out->system);
    } else if (strstr(text, "<|start_header_id|>")) {
        out->family = API_CHAT_LLAMA3;
        preface_find(text, out->preface);
    } else if (strstr(text, "[INST]") && strstr(text, "<<SYS>>")) {
        out->family = API_CHAT_LLAMA2;
    }
}
