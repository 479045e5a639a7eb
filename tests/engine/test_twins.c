// Every table of kernels that this machine runs gives the reference's bytes.
#include "check.h"
#include "twins_check.h"

int main(void)
{
    static const struct {
        enum engine_isa isa;
        const char *name;
    } rows[] = {
        {ENGINE_ISA_BEST, "best"},           {ENGINE_ISA_REF, "reference"},
        {ENGINE_ISA_AVX2, "AVX2"},           {ENGINE_ISA_VNNI, "AVX-VNNI"},
        {ENGINE_ISA_VNNI512, "AVX512-VNNI"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct engine_kernels *k = engine_kernels_pick(rows[i].isa);
        char buf[128];

        if (!k) {
            printf("%s: not on this machine\n", rows[i].name);
            continue;
        }
        const char *why = twins_check(k, buf, sizeof buf);
        printf("%s: %s: %s\n", rows[i].name, k->name, why ? why : "equal");
        CHECK(!why);
    }
    CHECK(engine_kernels_pick(ENGINE_ISA_BEST));
    CHECK(!engine_kernels_pick(ENGINE_ISA_RELAXED));
    return 0;
}
