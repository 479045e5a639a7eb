// chat.h - the messages of a chat as the tokens that a model expects, by the
// family of its chat template.
//
// What stands in messages is always plain text: special tokens that it spells
// out do not become special.
#ifndef API_CHAT_H
#define API_CHAT_H

#include <jansson.h>

#include "api/fields.h"
#include "tokenizer/text.h"

struct api_model;

enum api_chat_family {
    API_CHAT_PLAIN, // no template, a base model: the texts, a line each
    API_CHAT_CHATML,
    API_CHAT_LLAMA2,
    API_CHAT_LLAMA3,
    API_CHAT_UNKNOWN, // a template of another kind
};

enum { API_CHAT_MESSAGES_MAX = 1024 };

// The family of a chat template; NULL: there is none.
enum api_chat_family api_chat_family_of(const char *template);

// Append the prompt for the assistant's next message. A mistake in messages is
// noted in f. *end gets the token that ends a message, if the family has one.
// Errors: ERR_NOMEM.
MUST_USE enum err api_chat_encode(struct api_fields *f,
                                  const struct api_model *model,
                                  struct token_ids *out, uint32_t *end,
                                  bool *has_end);

#endif
