// dispatch.c - which table of kernels for which instruction set.
#include "engine/twins.h"

// The entries of a table by their endings: the product's own, what lays its
// panels and of which kind they are, those of attention and quantising, of the
// other twins, and the reference for what has no twin.
#define TABLE(text, product, laid, kind, dots, twin)                      \
    {                                                                     \
        .name = text, .matmul = matmul_##product, .lay = laid,            \
        .panel_bytes = sizeof(struct matmul_##kind),                      \
        .quantise = engine_quantise_##dots, .norm = engine_norm_##twin,   \
        .act = engine_act_##twin, .gate = engine_gate_ref,                \
        .scores = engine_scores_##dots, .weights = engine_weights_##twin, \
        .mix = engine_mix_##dots, .max = engine_max_ref                   \
    }

#if defined(__x86_64__)
#include <cpuid.h>

static const struct engine_kernels avx2 =
    TABLE("avx2", avx2, matmul_lay_avx2, panel, avx2, avx2);
static const struct engine_kernels vnni =
    TABLE("vnni", vnni, NULL, panel, avx2, avx2);
static const struct engine_kernels vnni512 =
    TABLE("vnni512", vnni512, matmul_lay_quads, quads, vnni512, avx2);

// AVX-VNNI is bit 4 of EAX of leaf 7, subleaf 1; gcc 12 has no name for it.
static bool has_avx_vnni(void)
{
    unsigned a, b, c, d;

    return __builtin_cpu_supports("avx2") && __get_cpuid_max(0, NULL) >= 7 &&
           __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

static bool has_avx512_vnni(void)
{
    return __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}

static const struct engine_kernels *pick_vnni(void)
{
    return has_avx512_vnni() ? &vnni512 : has_avx_vnni() ? &vnni : NULL;
}

const struct engine_kernels *engine_kernels_pick(enum engine_isa isa)
{
    const struct engine_kernels *wide = pick_vnni();
    const struct engine_kernels *good =
        __builtin_cpu_supports("avx2") ? &avx2 : NULL;

    switch (isa) {
    case ENGINE_ISA_BEST:
        return wide ? wide : good ? good : &engine_kernels_ref;
    case ENGINE_ISA_REF:
        return &engine_kernels_ref;
    case ENGINE_ISA_AVX2:
        return good;
    case ENGINE_ISA_VNNI:
        return has_avx_vnni() ? &vnni : NULL;
    case ENGINE_ISA_VNNI512:
        return has_avx512_vnni() ? &vnni512 : NULL;
    default:
        return NULL;
    }
}

#elif defined(__wasm_simd128__)
static const struct engine_kernels simd =
    TABLE("simd", simd, NULL, panel, simd, simd);
#if defined(ENGINE_RELAXED)
static const struct engine_kernels relaxed =
    TABLE("relaxed", relaxed, NULL, panel, simd, simd);
static const struct engine_kernels pairs =
    TABLE("relaxed-pairs", relaxed_pairs, matmul_lay_pairs, panel, simd, simd);
#endif

const struct engine_kernels *engine_kernels_pick(enum engine_isa isa)
{
    switch (isa) {
    case ENGINE_ISA_REF:
        return &engine_kernels_ref;
#if defined(ENGINE_RELAXED)
    case ENGINE_ISA_BEST:
    case ENGINE_ISA_RELAXED:
        return &relaxed;
    case ENGINE_ISA_RELAXED_PAIRS:
        return &pairs;
#else
    case ENGINE_ISA_BEST:
#endif
    case ENGINE_ISA_SIMD:
        return &simd;
    default:
        return NULL;
    }
}

#else
const struct engine_kernels *engine_kernels_pick(enum engine_isa isa)
{
    return isa == ENGINE_ISA_BEST || isa == ENGINE_ISA_REF ? &engine_kernels_ref
                                                           : NULL;
}
#endif
