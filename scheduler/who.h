// who.h - a volunteer's id and token hash as arguments. Inside scheduler/.
#ifndef SCHED_WHO_H
#define SCHED_WHO_H

#include "scheduler/args.h"
#include "scheduler/volunteer.h"

bool sched_who_valid(const struct sched_who *who);
void sched_who_put(struct sched_args *args, const struct sched_who *who);

#endif
