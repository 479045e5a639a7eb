// equalise.h - exact inverse scalings between neighbouring tensors, so that no
// channel is so large that it takes the precision of its group away. The model
// computes the same function; no data is needed.
#ifndef SPLITTER_EQUALISE_H
#define SPLITTER_EQUALISE_H

#include "splitter/quantise_plan.h"

// Fill in the scales of all layers of q, whose src, arch and options are set.
MUST_USE enum err equalise(struct quantise *q, struct why why);

#endif
