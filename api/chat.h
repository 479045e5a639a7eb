// chat.h - the messages of a chat as the tokens that a model expects, by the
// family of its chat template.
//
// What stands in messages is always plain text: special tokens that it spells
// out do not become special.
#ifndef API_CHAT_H
#define API_CHAT_H

#include <jansson.h>

#include "api/chat_template.h"
#include "api/fields.h"
#include "tokenizer/text.h"

struct api_model;

enum { API_CHAT_MESSAGES_MAX = 1024 };

// Append the prompt for the assistant's next message. A mistake in messages is
// noted in f. *end gets the token that ends a message, if the family has one.
// Errors: ERR_NOMEM.
MUST_USE enum err api_chat_encode(struct api_fields *f,
                                  const struct api_model *model,
                                  struct token_ids *out, uint32_t *end,
                                  bool *has_end);

#endif
