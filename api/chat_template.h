// chat_template.h - what this server understands of a model's chat template:
// its family, and what it says without being asked.
#ifndef API_CHAT_TEMPLATE_H
#define API_CHAT_TEMPLATE_H

#include "base/err.h"

enum api_chat_family {
    API_CHAT_PLAIN, // no template, a base model: the texts, a line each
    API_CHAT_CHATML,
    API_CHAT_LLAMA2,
    API_CHAT_LLAMA3,
    API_CHAT_UNKNOWN, // a template of another kind
};

enum { API_CHAT_SAYS_MAX = 511 };

struct api_chat_template {
    enum api_chat_family family;
    // ChatML: the system message of a chat that has none, as Qwen's and
    // SmolLM's templates spell it; "": there is none.
    char system[API_CHAT_SAYS_MAX + 1];
    // Llama 3.1: what stands before the system message, which there is then
    // always; "": nothing. The date is the template's own, never today's, so
    // that a prompt is the same on every day.
    char preface[API_CHAT_SAYS_MAX + 1];
};

// Read the text of a template; NULL: there is none.
void api_chat_template_read(const char *text, struct api_chat_template *out);

#endif
