// plan_make.h - decide who holds which part of a model. Pure: no I/O, no clock.
//
// Whoever has the memory holds the whole model. The others share it: a path of
// boundaries cuts it into spans, each for two of them at least where there are
// enough, over as few as possible, and as even as their memory allows. A path
// that still does is kept, and so is what a volunteer holds, so that nothing is
// fetched twice without need. Paths are for those of class exact, as long as
// they can hold one; those of class f32 then hold what suits them beside.
#ifndef SCHED_PLAN_MAKE_H
#define SCHED_PLAN_MAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "scheduler/model.h"

enum {
    PLAN_SHARDS_MAX = 1024,
    PLAN_NONE = -1,  // nothing of this model
    PLAN_WHOLE = -2, // all of it
};

struct plan_volunteer {
    uint64_t memory; // bytes it may use; 0: not known, taken for enough
    uint32_t speed;  // rows a second on spans, 0: not measured
    uint16_t n_held; // spans of this model that it holds
    uint16_t held[4][2];
    bool near; // of class f32: only for spans of at most REDUN_LAYERS_MAX
               // layers without the head, and nobody whom exact work counts on
    bool pinned; // to this span, if the path has it
    uint16_t pin[2];
};

struct plan {
    size_t n_path; // boundaries, 0 if nobody needs a path
    uint16_t path[PLAN_SHARDS_MAX + 1];
    uint16_t n_holders[PLAN_SHARDS_MAX]; // of each span, to be, of class exact
    uint16_t n_near[PLAN_SHARDS_MAX];    // ... and of class f32
    bool whole;                          // somebody holds all of it
    uint32_t missing; // 1-based number of the first shard that nobody is to
                      // hold, 0: all are held
};

// Bytes that shards first .. end-1 take, with room to compute one sequence.
uint64_t plan_need(const struct sched_shard *shards, size_t first, size_t end);

// Make a plan for a model of n_shards (1 .. PLAN_SHARDS_MAX). now: the path as
// it is (n_now boundaries, 0: none); fixed: it must stay. stages gets for each
// volunteer the index of its span in the path, PLAN_WHOLE or PLAN_NONE.
void plan_make(const struct sched_shard *shards, size_t n_shards,
               const struct plan_volunteer *volunteers, size_t n,
               const uint16_t *now, size_t n_now, bool fixed, int *stages,
               struct plan *out);

#endif
