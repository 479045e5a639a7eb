// hf_config.h - what a Hugging Face config.json says, as a struct arch.
//
// Families: gpt2, llama, qwen2. Everything that would change the computation
// and that the engine does not do is refused by a line naming key and value.
#ifndef SPLITTER_HF_CONFIG_H
#define SPLITTER_HF_CONFIG_H

#include <stddef.h>

#include "splitter/arch.h"
#include "splitter/why.h"

// config is the text of config.json; generation that of
// generation_config.json, whose end tokens come first, or NULL if there is
// none. Errors: ERR_FORMAT, ERR_RANGE, ERR_UNSUPPORTED; *out is then
// untouched. A context over ARCH_CTX_MAX is served up to that limit (not of
// GPT-2, whose positions are a tensor).
MUST_USE enum err hf_config_parse(const void *config, size_t config_len,
                                  const void *generation, size_t generation_len,
                                  struct why why, struct arch *out);

#endif
