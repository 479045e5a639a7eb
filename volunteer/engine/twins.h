// twins.h - the fast twins of the reference kernels. Each gives the reference's
// bytes; tests/engine/test_twins.c compares them. Which of them a build has is
// decided in twins.cmake, which of those a machine runs in dispatch.c.
#ifndef ENGINE_TWINS_H
#define ENGINE_TWINS_H

#include "engine/kernels.h"

matmul_fn matmul_avx2;
matmul_fn matmul_vnni;    // AVX-VNNI
matmul_fn matmul_vnni512; // AVX512-VNNI
matmul_lay_fn matmul_lay_avx2;

matmul_fn matmul_simd;          // WASM SIMD
matmul_fn matmul_relaxed;       // WASM relaxed SIMD, 32-bit dot products
matmul_fn matmul_relaxed_pairs; // the same, 16-bit ones
matmul_lay_fn matmul_lay_pairs;

engine_scores_fn engine_scores_avx2;
engine_mix_fn engine_mix_avx2;
engine_quantise_fn engine_quantise_avx2;
engine_norm_fn engine_norm_avx2;
engine_act_fn engine_act_avx2;
engine_weights_fn engine_weights_avx2;

engine_scores_fn engine_scores_vnni512;
engine_mix_fn engine_mix_vnni512;
engine_quantise_fn engine_quantise_vnni512;

engine_scores_fn engine_scores_simd;
engine_mix_fn engine_mix_simd;
engine_quantise_fn engine_quantise_simd;
engine_norm_fn engine_norm_simd;
engine_act_fn engine_act_simd;
engine_weights_fn engine_weights_simd;

#endif
