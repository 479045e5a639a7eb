// probe.h - how fast an engine is, measured on a small unit of its own, so
// that the first units from the server have the right size.
#ifndef NATIVE_PROBE_H
#define NATIVE_PROBE_H

#include "engine/engine.h"

// Run a prompt and a few tokens, or rows where the span is not the whole
// model; takes the time of about 30 rows. Numbers are at least 1. Errors of
// engine_run. The engine forgets the sequence.
MUST_USE enum err native_probe(struct engine *engine, bool whole,
                               uint32_t *prefill_rows_s,
                               uint32_t *decode_tokens_s);

#endif
