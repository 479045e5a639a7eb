// tables.h - the tables that a shard carries (see format.h), computed once, at
// split, in double precision.
#ifndef SPLITTER_TABLES_H
#define SPLITTER_TABLES_H

#include "splitter/format.h"

void tables_exp2(int32_t out[FORMAT_EXP2_LEN]);

// GELU in its tanh form for GPT-2, SiLU for the other families.
void tables_act(enum arch_family family, int32_t out[FORMAT_ACT_LEN]);

void tables_log2(int32_t out[FORMAT_LOG2_LEN]);
void tables_logh(int32_t out[FORMAT_LOGH_LEN]);

// Row i of a rotation table: position i * step. out has head_dim elements.
void tables_rope_row(const struct arch *arch, uint32_t position, int16_t *out);

#endif
