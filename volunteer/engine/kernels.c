#include "engine/kernels.h"

const struct engine_kernels engine_kernels_ref = {
    .name = "ref",
    .matmul = matmul_ref,
    .quantise = engine_quantise_ref,
    .norm = engine_norm_ref,
    .act = engine_act_ref,
    .gate = engine_gate_ref,
    .scores = engine_scores_ref,
    .weights = engine_weights_ref,
    .mix = engine_mix_ref,
    .max = engine_max_ref,
};
