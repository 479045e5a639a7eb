// misbehave.h - wrong answers on purpose, for the tests of checked work: a
// well-formed result frame of which a part is false.
#ifndef NATIVE_MISBEHAVE_H
#define NATIVE_MISBEHAVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum native_wrong {
    NATIVE_HONEST,
    NATIVE_WRONG_TOKEN, // another token in the middle of the first sequence
    NATIVE_WRONG_PRINT, // a false fingerprint of its last position
    NATIVE_WRONG_SHORT, // the last token left out
    NATIVE_WRONG_UNIT,  // the result is for a unit id that nobody holds
    NATIVE_WRONG_FRAME, // one bit of the frame flipped, its checksum stale
};

// The mode named text ("token", "print", "short", "unit", "frame").
// ERR_NOT_FOUND.
MUST_USE enum err native_wrong_parse(const char *text, enum native_wrong *out);

// Falsify a well-formed result frame in place. *len may shrink. Frames that
// have nothing to falsify are left as they are.
void native_wrong_apply(enum native_wrong mode, uint8_t *frame, size_t *len);

#endif
