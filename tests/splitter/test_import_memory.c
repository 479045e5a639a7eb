// Memory that runs out: every allocation that the importer and the model folder
// make themselves fails once, in turn (jansson's are left alone: its parser
// does not survive that). The call must say so; AddressSanitizer sees what
// leaks. The program runs in the repository's root.
#include <string.h>

#include "check.h"
#include "scratch.h"
#include "splitter/model.h"
#include "splitter/shard.h"
#include "splitter/source.h"
#include "splitter/split.h"

// The linker sends the library's calls here.
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *text);

static long left = -1; // allocations until one fails; below 0: none does

static bool fails(void)
{
    if (left < 0)
        return false;
    return left-- == 0;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

struct world {
    struct scratch scratch;
    const char *model_dir;
    char *manifest;
    size_t manifest_len;
};

static enum err open_source(const struct world *w, uint8_t out[SHA256_LEN])
{
    struct source *src = NULL;
    char why[WHY_LEN_MAX];
    enum err err = source_open("ops/models/tales-gpt2", &src, why, sizeof why);

    (void)w;
    if (!err)
        sha256(source_arch(src), sizeof(struct arch), out);
    source_free(src);
    return err;
}

static enum err open_model(const struct world *w, uint8_t out[SHA256_LEN])
{
    struct model *model = NULL;
    const struct tensor *tensors = NULL;
    char why[WHY_LEN_MAX];
    size_t n = 0;
    enum err err = model_open(w->model_dir, &model, why, sizeof why);

    if (!err)
        err = model_shard_map(model, 1, &tensors, &n, why, sizeof why);
    if (!err)
        sha256(tensors[n - 1].name, strlen(tensors[n - 1].name), out);
    model_free(model);
    return err;
}

static enum err rewrite_manifest(const struct world *w, uint8_t out[SHA256_LEN])
{
    struct manifest m;
    char why[WHY_LEN_MAX];
    char *text;
    enum err err = manifest_parse(w->manifest, w->manifest_len,
                                  (struct why){why, sizeof why}, &m);

    if (err)
        return err;
    text = manifest_text(&m);
    manifest_release(&m);
    if (!text)
        return ERR_NOMEM;
    sha256(text, strlen(text), out);
    free(text);
    return ERR_OK;
}

static enum err write_shard(const struct world *w, uint8_t out[SHA256_LEN])
{
    struct shard_writer *writer = NULL;
    uint8_t data[70] = {0};
    uint32_t dims[2] = {7, 10};
    char why[WHY_LEN_MAX];
    uint64_t len;
    enum err err = shard_writer_new(w->scratch.path, "s",
                                    (struct why){why, sizeof why}, &writer);

    if (!err)
        err = shard_writer_note(writer, "a", "b");
    if (!err)
        err = shard_writer_declare(writer, "t", TENSOR_I8, 2, dims);
    if (!err)
        err = shard_writer_begin(writer);
    if (!err)
        err = shard_writer_write(writer, data, sizeof data);
    if (!err)
        err = shard_writer_finish(writer, &len, out);
    shard_writer_free(writer);
    CHECK(err == ERR_OK || !scratch_has(&w->scratch, "s.part"));
    return err;
}

typedef enum err call_fn(const struct world *w, uint8_t out[SHA256_LEN]);

static void fail_each(call_fn *call, const struct world *w, long at_least)
{
    uint8_t want[SHA256_LEN], got[SHA256_LEN];
    long n_failed = 0;

    CHECK_EQ(call(w, want), ERR_OK);
    for (long n = 0;; n++) {
        bool spared;
        enum err err;

        left = n;
        err = call(w, got);
        spared = left >= 0; // it came to an end before the failure
        left = -1;
        CHECK_EQ(err, spared ? ERR_OK : ERR_NOMEM);
        if (spared)
            break;
        n_failed++;
    }
    CHECK(memcmp(want, got, sizeof want) == 0);
    CHECK(n_failed >= at_least);
}

int main(void)
{
    struct split_options options = {.hf_dir = "ops/models/tales-gpt2",
                                    .n_shards = 2};
    char out[SCRATCH_PATH_MAX], path[SCRATCH_PATH_MAX], why[WHY_LEN_MAX];
    struct world w;

    scratch_init(&w.scratch);
    options.out_dir = w.model_dir = scratch_path(&w.scratch, "m", out);
    CHECK_EQ(split_run(&options, NULL, NULL, why, sizeof why), ERR_OK);
    w.manifest = (char *)scratch_get(
        scratch_path(&w.scratch, "m/manifest.json", path), &w.manifest_len);
    fail_each(open_source, &w, 5);
    fail_each(open_model, &w, 5);
    fail_each(rewrite_manifest, &w, 1);
    fail_each(write_shard, &w, 4);
    free(w.manifest);
    scratch_release(&w.scratch);
    return 0;
}
