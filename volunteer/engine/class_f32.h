// class_f32.h - kernel class f32: norms, softmax and activations in float,
// quantised at the same points as class exact.
//
// It is the second arithmetic that tolerant checks are measured with
// (redundancy/tolerance.h), and deliberately another one: sums run backwards
// in strides, halves are rounded to even, activations follow a cubic through
// the table's points. Products of matrices, and of queries with keys, stay
// integers. How far its rows come to be from the exact ones, and why, is told
// in redundancy/tolerance.h.
// Native only, and never chosen by engine_kernels_pick.
#ifndef ENGINE_CLASS_F32_H
#define ENGINE_CLASS_F32_H

#include "engine/kernels.h"

engine_norm_fn engine_norm_f32;
engine_act_fn engine_act_f32;
engine_gate_fn engine_gate_f32;
engine_weights_fn engine_weights_f32;

// The table of this class; integer entries are the fastest of this machine.
struct engine_kernels engine_kernels_f32(void);

#endif
