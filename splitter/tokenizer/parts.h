// parts.h - reads the normaliser, pre-tokeniser and decoder of a
// tokenizer.json. null gives an empty one. Errors: ERR_FORMAT, ERR_RANGE,
// ERR_UNSUPPORTED, ERR_NOMEM, each with a complaint. On error out holds what
// was read so far: release it.
#ifndef TOKENIZER_PARTS_H
#define TOKENIZER_PARTS_H

#include "tokenizer/decoder.h"
#include "tokenizer/member.h"
#include "tokenizer/norm.h"
#include "tokenizer/pretok.h"

MUST_USE enum err parts_norm(const struct complaint *to, const json_t *json,
                             struct norm *out);
MUST_USE enum err parts_pretok(const struct complaint *to, const json_t *json,
                               struct pretok *out);
MUST_USE enum err parts_decoder(const struct complaint *to, const json_t *json,
                                struct decoder *out);

#endif
