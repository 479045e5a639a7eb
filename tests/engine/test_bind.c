// Shards that are not what they should be are refused by name, and nothing
// leaks.
#include <string.h>

#include "check.h"
#include "synthetic.h"

static struct synthetic model;

static struct tensor *find(uint32_t shard, const char *name)
{
    for (size_t i = 0; i < model.shards[shard].n_tensors; i++) {
        const struct tensor *t = &model.shards[shard].tensors[i];

        if (strcmp(t->name, name) == 0)
            return (struct tensor *)(uintptr_t)t;
    }
    fprintf(stderr, "no tensor %s\n", name);
    exit(1);
}

static int32_t *words(uint32_t shard, const char *name)
{
    return (int32_t *)(uintptr_t)find(shard, name)->data;
}

static enum err bind_err(uint32_t first, uint32_t end, char *why, size_t len)
{
    struct engine_options options = {0};
    struct engine *e = NULL;
    enum err err =
        engine_new(model.shards + first, end - first, &options, &e, why, len);

    CHECK(!err == (e != NULL));
    engine_free(e);
    return err;
}

static void refused(enum err want, const char *line)
{
    char why[128] = "";

    CHECK_EQ(bind_err(0, 3, why, sizeof why), want);
    if (strcmp(why, line) != 0) {
        fprintf(stderr, "said \"%s\", not \"%s\"\n", why, line);
        exit(1);
    }
}

// Each tensor in turn: gone, of another dtype, shape or size, unaligned.
static void every_tensor_is_checked(void)
{
    for (uint32_t s = 0; s < 3; s++)
        for (size_t i = 0; i < model.shards[s].n_tensors; i++) {
            struct tensor *t =
                (struct tensor *)(uintptr_t)&model.shards[s].tensors[i];
            const struct tensor good = *t;

            t->name[0] = '?';
            CHECK_EQ(bind_err(0, 3, NULL, 0), ERR_NOT_FOUND);
            *t = good;
            t->dtype = t->dtype == TENSOR_I32 ? TENSOR_I16 : TENSOR_I32;
            CHECK_EQ(bind_err(0, 3, NULL, 0), ERR_FORMAT);
            *t = good;
            t->dims[t->n_dims - 1]++;
            CHECK_EQ(bind_err(0, 3, NULL, 0), ERR_FORMAT);
            *t = good;
            t->n_dims++;
            CHECK_EQ(bind_err(0, 3, NULL, 0), ERR_FORMAT);
            *t = good;
            t->n_bytes--;
            CHECK_EQ(bind_err(0, 3, NULL, 0), ERR_FORMAT);
            *t = good;
            t->data = (const char *)t->data + 4;
            CHECK_EQ(bind_err(0, 3, NULL, 0), ERR_FORMAT);
            *t = good;
            t->data = NULL;
            CHECK_EQ(bind_err(0, 3, NULL, 0), ERR_FORMAT);
            *t = good;
        }
    CHECK_EQ(bind_err(0, 3, NULL, 0), ERR_OK);
}

static void numbers_out_of_range_are_named(void)
{
    static const struct {
        uint32_t shard;
        const char *tensor;
        size_t at;
        int32_t value;
        const char *line;
    } rows[] = {
        {0, "exp2", 0, 1 << 29, "exp2: does not start at 2^30 - 2^16"},
        {0, "exp2", 9, 0, "exp2: value out of range"},
        {0, "act", 7, 1 << 23, "act: a step is out of range"},
        {0, "act", 7, INT32_MIN, "act: value out of range"},
        {0, "embed.e", 5, 65, "embed.e: value out of range"},
        {1, "layers.1.qkv.e", 5, -65, "layers.1.qkv.e: value out of range"},
        {1, "layers.1.qkv.b", 1, INT32_MIN,
         "layers.1.qkv.b: value out of range"},
        {1, "layers.1.fixed", 1, 25, "layers.1.fixed: value out of range"},
        {2, "layers.2.norm2.g", 0, INT32_MAX,
         "layers.2.norm2.g: value out of range"},
        {2, "log2", 3, -1, "log2: value out of range"},
        {2, "logh", 3, 1 << 25, "logh: value out of range"},
        {1, "exp2", 9, 77, "tables: differ between shards"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int32_t *w = words(rows[i].shard, rows[i].tensor) + rows[i].at;
        int32_t good = *w;

        *w = rows[i].value;
        refused(i + 1 < sizeof rows / sizeof rows[0] ? ERR_RANGE : ERR_FORMAT,
                rows[i].line);
        *w = good;
    }
}

// Every word of the config tensor, changed.
static void configs_are_checked(void)
{
    int32_t *config = words(0, "config");
    unsigned refusals = 0;

    for (int i = 0; i < FORMAT_CONFIG_WORDS; i++) {
        static const int32_t values[] = {-1, INT32_MIN, INT32_MAX, 0};
        int32_t good = config[i];

        for (size_t v = 0; v < 4; v++) {
            config[i] = values[v];
            refusals += bind_err(0, 3, NULL, 0) != ERR_OK;
        }
        // What is not an end token's place may not hold just anything.
        config[i] = INT32_MAX;
        CHECK(bind_err(0, 3, NULL, 0) != ERR_OK);
        config[i] = good;
    }
    CHECK(refusals > 3 * FORMAT_CONFIG_WORDS);
    config[1]++;
    refused(ERR_VERSION, "config: version not supported");
    config[1]--;
}

static void spans_must_be_runs(void)
{
    struct engine_shard good[3], *shards = model.shards;

    memcpy(good, shards, sizeof good);
    CHECK_EQ(bind_err(1, 3, NULL, 0), ERR_OK);
    CHECK_EQ(bind_err(1, 2, NULL, 0), ERR_OK);
    shards[1] = good[2];
    refused(ERR_FORMAT, "config: not the shard after the one before");
    shards[1] = good[0];
    refused(ERR_FORMAT, "config: not the shard after the one before");
    memcpy(shards, good, sizeof good);
    CHECK_EQ(bind_err(0, 0, NULL, 0), ERR_RANGE);
}

int main(void)
{
    CHECK(synthetic_new(SYNTHETIC_LLAMA, 3, &model));
    every_tensor_is_checked();
    numbers_out_of_range_are_named();
    configs_are_checked();
    spans_must_be_runs();
    synthetic_release(&model);
    return 0;
}
