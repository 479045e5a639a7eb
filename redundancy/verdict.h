// verdict.h - compare what two volunteers say of the same positions: of class
// exact, equal bytes or not; of two classes, close or not.
#ifndef REDUN_VERDICT_H
#define REDUN_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "redundancy/project.h"

// What one volunteer says a sequence's generated positions are.
struct redun_answer {
    uint32_t n;            // positions
    const uint8_t *tokens; // n * 4 bytes, little-endian ids
    const uint8_t *prints; // n * 16 bytes
};

// The first position in which a and b differ, in token or fingerprint, or the
// smaller n if one only ends earlier. Equal answers give their n.
uint32_t redun_verdict_same(const struct redun_answer *a,
                            const struct redun_answer *b);

struct redun_verdict {
    bool primary_right;
    bool challenger_right;
    uint32_t keep; // so many positions of the primary agree with the word
};

// Judge by the word of one who is believed: the referee on a dispute, or the
// checker on a first check. challenger: who differed before, or NULL (then
// challenger_right is false). All answers are teacher-forced on the primary's
// tokens, so a position's answer does not depend on who was wrong before it.
struct redun_verdict redun_verdict_by(const struct redun_answer *word,
                                      const struct redun_answer *primary,
                                      const struct redun_answer *challenger);

// Rows that a span gave, in wire form, back to back, and what their check is
// made with.
struct redun_rows {
    uint32_t n;
    size_t row_len; // bytes of one
    const uint8_t *rows;
    uint64_t seed; // of the checker's fingerprints
};

// The same by the fingerprints (n of 16 bytes) of one who computed those rows
// again: word's, and challenger's, who differed before, or NULL.
struct redun_verdict redun_verdict_rows(const struct redun_rows *primary,
                                        const uint8_t *word,
                                        const uint8_t *challenger);

// The same for rows of another class than word's: they need only agree within
// the tolerance (project.h). keep: the first row that is too far by itself, or
// from where on rows are that are so together; 0 if it takes all of them to
// tell.
// ERR_NOMEM.
MUST_USE enum err redun_verdict_near(const struct redun_rows *primary,
                                     const struct redun_stretch *stretch,
                                     const uint8_t *word,
                                     const uint8_t *challenger,
                                     struct redun_verdict *out);

#endif
