// batch_read.h - batches and results as Redis replies. Inside scheduler/.
#ifndef SCHED_BATCH_READ_H
#define SCHED_BATCH_READ_H

#include "scheduler/batch.h"
#include "scheduler/reply.h"

// A batch from the list that batch.lua's show makes; views into the reply.
MUST_USE enum err sched_batch_read(const redisReply *reply,
                                   struct sched_batch *out);

// A final line from its record (drawn in batch_read.c). Views into record,
// but for tokens, which are put at *tokens (aligned, room for record.len / 4).
MUST_USE enum err sched_result_read(struct bytes record, uint32_t *tokens,
                                    char *names, size_t names_len,
                                    struct sched_result *out);

// How many choices does a record hold? 0: it is of one, or an error.
uint32_t sched_result_choices(struct bytes record);
// Take the next of them, number i, from the record.
MUST_USE enum err sched_result_choice(struct bytes *record, uint32_t i,
                                      struct bytes *choice);

// May the line be sent? And its 13 arguments (batch.lua names them).
struct sched_args;
bool sched_line_fits(const struct sched_line *line);
void sched_line_put(struct sched_args *args, const struct sched_line *line);

#endif
