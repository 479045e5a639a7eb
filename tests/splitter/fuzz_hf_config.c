// Any bytes as config.json and, after a NUL, generation_config.json: a struct
// arch within arch.h's limits, or one printable line.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "splitter/hf_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void arch_check(const struct arch *a)
{
    CHECK(a->n_layers >= 1 && a->n_layers <= ARCH_LAYERS_MAX);
    CHECK(a->d_model >= 1 && a->d_model <= ARCH_WIDTH_MAX);
    CHECK(a->d_ff >= 1 && a->d_ff <= ARCH_WIDTH_MAX);
    CHECK(a->head_dim >= ARCH_HEAD_MIN && a->head_dim <= ARCH_HEAD_MAX);
    CHECK(a->head_dim % 2 == 0);
    CHECK(a->n_kv_heads >= 1 && a->n_heads % a->n_kv_heads == 0);
    CHECK((uint64_t)a->n_heads * a->head_dim <= ARCH_WIDTH_MAX);
    CHECK(a->n_vocab >= 1 && a->n_vocab <= ARCH_VOCAB_MAX);
    CHECK(a->n_ctx >= 1 && a->n_ctx <= ARCH_CTX_MAX);
    CHECK(a->norm_eps > 0);
    CHECK(a->n_ends <= ARCH_ENDS_MAX);
    for (uint32_t i = 0; i < a->n_ends; i++)
        CHECK(a->ends[i] < a->n_vocab);
    if (a->family != ARCH_GPT2)
        CHECK(a->rope_theta >= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t len = nul ? (size_t)(nul - data) : size;
    char why[WHY_LEN_MAX] = "";
    struct arch a;

    if (!hf_config_parse(data, len, nul ? nul + 1 : NULL,
                         nul ? size - len - 1 : 0,
                         (struct why){why, sizeof why}, &a)) {
        arch_check(&a);
        return 0;
    }
    CHECK(*why && strlen(why) < WHY_LEN_MAX);
    for (const char *p = why; *p; p++)
        CHECK(*p >= 0x20 && *p <= 0x7e);
    return 0;
}
