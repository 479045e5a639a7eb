// Every instruction set of this machine, any number of rows at once and tasks
// in any order give the committed digest.
#include <string.h>

#include "check.h"
#include "digest.h"

static void gives_the_digest(const struct engine_options *options,
                             const char *how)
{
    uint8_t digest[SHA256_LEN];
    char text[2 * SHA256_LEN + 1];

    CHECK_EQ(digest_run(options, digest), ERR_OK);
    digest_text(digest, text);
    printf("%s %s\n", text, how);
    if (strcmp(text, digest_committed) != 0) {
        fprintf(stderr, "not the committed digest %s\n", digest_committed);
        exit(1);
    }
}

// A parallel loop that runs tasks backwards, workers taking turns.
static void backwards(void *ctx, engine_task_fn *fn, void *arg,
                      uint32_t n_tasks)
{
    (void)ctx;
    for (uint32_t i = n_tasks; i-- > 0;)
        fn(arg, i, i % 3);
}

int main(void)
{
    struct engine_options ref = {.kernels = &engine_kernels_ref};
    struct engine_options few = {.n_rows = 3};
    struct engine_options tasks = {.parallel = backwards, .n_workers = 3};

    gives_the_digest(&ref, "reference");
    for (int isa = ENGINE_ISA_AVX2; isa < ENGINE_ISA_COUNT; isa++) {
        struct engine_options o = {
            .kernels = engine_kernels_pick((enum engine_isa)isa)};

        if (o.kernels)
            gives_the_digest(&o, o.kernels->name);
    }
    gives_the_digest(&few, "three rows at once");
    gives_the_digest(&tasks, "three workers, backwards");
    return 0;
}
