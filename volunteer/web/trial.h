// trial.h - which kernels of this module compute fastest on this machine. What
// a relaxed dot product compiles to depends on the processor, and no module
// can ask; so it is measured, for some hundredths of a second.
#ifndef WEB_TRIAL_H
#define WEB_TRIAL_H

#include "engine/kernels.h"

// now_ms is a clock that never goes back. Never NULL.
const struct engine_kernels *trial_fastest(double (*now_ms)(void));

#endif
