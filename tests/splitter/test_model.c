// From the demo model's folder to a model folder and back: the files agree
// with the manifest, the same input gives the same bytes, and every kind of
// damage is named. The program runs in the repository's root.
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"
#include "splitter/format.h"
#include "splitter/model.h"
#include "splitter/split.h"

#define DEMO  "ops/models/tales-gpt2"
#define SHARD "shard-00001-of-00003.safetensors"

static enum err split(const char *hf, const char *out, uint32_t n_shards,
                      char why[WHY_LEN_MAX])
{
    struct split_options options = {
        .hf_dir = hf, .out_dir = out, .n_shards = n_shards};

    return split_run(&options, NULL, NULL, why, WHY_LEN_MAX);
}

static void split_ok(const char *out, uint32_t n_shards)
{
    char why[WHY_LEN_MAX] = "";
    enum err err = split(DEMO, out, n_shards, why);

    if (err)
        fprintf(stderr, "%s\n", why);
    CHECK_EQ(err, ERR_OK);
}

static struct model *open_ok(const char *dir)
{
    struct model *m = NULL;
    char why[WHY_LEN_MAX] = "";
    enum err err = model_open(dir, &m, why, sizeof why);

    if (err)
        fprintf(stderr, "%s\n", why);
    CHECK_EQ(err, ERR_OK);
    return m;
}

static void describes_the_model(const struct scratch *s)
{
    struct model *m = open_ok(s->path);
    const struct manifest *mf = model_manifest(m);
    uint8_t id[SHA256_LEN];
    const uint8_t *text;
    size_t len;

    CHECK(strcmp(mf->name, "tales-gpt2") == 0);
    CHECK_EQ(mf->arch.n_layers, 6);
    CHECK_EQ(mf->arch.n_vocab, 4096);
    CHECK_EQ(mf->arch.n_ends, 1);
    CHECK_EQ(mf->n_shards, 3);
    CHECK_EQ(mf->shards[1].layer_first, 2);
    CHECK_EQ(mf->shards[1].layer_end, 4);
    CHECK_EQ((intmax_t)(mf->shards[0].n_params + mf->shards[1].n_params +
                        mf->shards[2].n_params),
             (intmax_t)manifest_params(&mf->arch, 0, 6));
    CHECK(strcmp(mf->files[0].name, "tokenizer.json") == 0);
    text = model_manifest_bytes(m, &len);
    sha256(text, len, id);
    CHECK(memcmp(id, model_id(m), sizeof id) == 0);
    CHECK_EQ((intmax_t)strlen(model_id_text(m)), MANIFEST_HASH_LEN);
    CHECK_EQ(model_verify(m, NULL, 0), ERR_OK);
    model_free(m);
}

static void maps_every_shard(const struct scratch *s)
{
    struct model *m = open_ok(s->path);
    const struct tensor *tensors, *again;
    char why[WHY_LEN_MAX] = "";
    size_t n;

    for (uint32_t i = 0; i < 3; i++) {
        struct format_config config = {0};
        bool found = false;

        CHECK_EQ(model_shard_map(m, i, &tensors, &n, why, sizeof why), ERR_OK);
        for (size_t k = 0; k < n; k++) {
            if (strcmp(tensors[k].name, "config") != 0)
                continue;
            CHECK_EQ(format_config_parse(&tensors[k], &config), ERR_OK);
            found = true;
        }
        CHECK(found);
        CHECK_EQ(config.shard, i);
        CHECK_EQ(config.n_shards, 3);
        CHECK_EQ(config.layer_first, 2 * i);
        CHECK_EQ(model_shard_map(m, i, &again, &n, why, sizeof why), ERR_OK);
        CHECK(again == tensors);
    }
    CHECK_EQ(model_shard_map(m, 3, &tensors, &n, why, sizeof why), ERR_RANGE);
    CHECK(strcmp(why, "shard 3 of 3") == 0);
    model_free(m);
}

static void same_input_same_bytes(const struct scratch *s)
{
    struct model *m = open_ok(s->path);
    char id[MANIFEST_HASH_LEN + 1];

    memcpy(id, model_id_text(m), sizeof id);
    model_free(m);
    split_ok(s->path, 3); // replaces the model that is there
    m = open_ok(s->path);
    CHECK(strcmp(id, model_id_text(m)) == 0);
    model_free(m);
}

static void open_fails(const struct scratch *s, enum err want, const char *line)
{
    struct model *m = NULL;
    char why[WHY_LEN_MAX] = "";
    enum err err = model_open(s->path, &m, why, sizeof why);

    if (err != want || strcmp(why, line) != 0)
        fprintf(stderr, "%d %s\n", (int)err, why);
    CHECK_EQ(err, want);
    CHECK(strcmp(why, line) == 0);
    CHECK(!m);
}

static void names_damage(const struct scratch *s)
{
    char path[SCRATCH_PATH_MAX], line[WHY_LEN_MAX], why[WHY_LEN_MAX] = "";
    const struct tensor *tensors;
    size_t len, n;
    uint8_t *file = scratch_get(scratch_path(s, SHARD, path), &len);
    struct model *m;

    file[len - 1] ^= 1; // one bit
    scratch_put(s, SHARD, file, len);
    m = open_ok(s->path);
    CHECK_EQ(model_verify(m, why, sizeof why), ERR_CHECKSUM);
    CHECK(strcmp(why, SHARD ": its SHA-256 is not the manifest's") == 0);
    model_free(m);

    file[len - 1] ^= 1;
    file[8] = '['; // the header
    scratch_put(s, SHARD, file, len);
    m = open_ok(s->path);
    CHECK_EQ(model_shard_map(m, 0, &tensors, &n, why, sizeof why), ERR_FORMAT);
    CHECK(strstr(why, SHARD ": not valid JSON"));
    model_free(m);

    file[8] = '{';
    scratch_put(s, SHARD, file, len - 1);
    snprintf(line, sizeof line, "%s: has %zu bytes, the manifest says %zu",
             SHARD, len - 1, len);
    open_fails(s, ERR_TRUNCATED, line);
    scratch_remove(s, SHARD);
    snprintf(line, sizeof line, "%s: no such file in %s", SHARD, s->path);
    open_fails(s, ERR_NOT_FOUND, line);
    scratch_put(s, SHARD, file, len);
    scratch_remove(s, "tokenizer.json");
    snprintf(line, sizeof line, "tokenizer.json: no such file in %s", s->path);
    open_fails(s, ERR_NOT_FOUND, line);
    scratch_remove(s, MANIFEST_FILE);
    snprintf(line, sizeof line, "manifest.json: no such file in %s", s->path);
    open_fails(s, ERR_NOT_FOUND, line);
    free(file);
}

// A folder that an interrupted run left: shards, a .part, no manifest.
static void clears_what_was_left(const struct scratch *s)
{
    scratch_put_text(s, "shard-00002-of-00009.safetensors.part", "half");
    split_ok(s->path, 1);
    CHECK(!scratch_has(s, "shard-00002-of-00009.safetensors.part"));
    CHECK(!scratch_has(s, SHARD));
    CHECK(scratch_has(s, "shard-00001-of-00001.safetensors"));
    model_free(open_ok(s->path));
}

static void split_fails(const char *hf, const char *out, uint32_t n_shards,
                        enum err want, const char *line)
{
    char why[WHY_LEN_MAX] = "";
    enum err err = split(hf, out, n_shards, why);

    if (err != want || strcmp(why, line) != 0)
        fprintf(stderr, "%d %s\nnot %s\n", (int)err, why, line);
    CHECK_EQ(err, want);
    CHECK(strcmp(why, line) == 0);
}

static void touches_no_folder_of_others(void)
{
    char out[SCRATCH_PATH_MAX], line[WHY_LEN_MAX];
    struct scratch s;

    scratch_init(&s);
    scratch_put_text(&s, "tokenizer.json", "mine");
    snprintf(line, sizeof line, "%s: not empty, and not a model folder",
             s.path);
    split_fails(DEMO, s.path, 1, ERR_EXISTS, line);
    scratch_put_text(&s, "diary.txt", "mine");
    snprintf(line, sizeof line,
             "%s: not empty, and not a model folder: it has diary.txt", s.path);
    split_fails(DEMO, s.path, 1, ERR_EXISTS, line);
    CHECK(scratch_has(&s, "tokenizer.json") && scratch_has(&s, "diary.txt"));

    scratch_path(&s, "diary.txt", out);
    snprintf(line, sizeof line, "%s: Not a directory", out);
    split_fails(DEMO, out, 1, ERR_IO, line);
    scratch_path(&s, "a/b", out);
    snprintf(line, sizeof line, "%s: No such file or directory", out);
    split_fails(DEMO, out, 1, ERR_IO, line);
    scratch_path(&s, "new", out);
    split_fails(DEMO, out, 7, ERR_RANGE, "7 shards of a model of 6 layers");
    CHECK(!scratch_has(&s, "new"));
    split_fails("no/such", out, 1, ERR_NOT_FOUND, "no/such: no such folder");
    scratch_release(&s);
}

static void keeps_to_a_limit(void)
{
    struct split_options options = {.hf_dir = DEMO, .name = "limited"};
    char out[SCRATCH_PATH_MAX], why[WHY_LEN_MAX] = "";
    struct scratch s;
    struct model *m;

    scratch_init(&s);
    options.out_dir = scratch_path(&s, "new", out);
    options.max_shard_bytes = 3000000;
    CHECK_EQ(split_run(&options, NULL, NULL, why, sizeof why), ERR_OK);
    m = open_ok(out);
    CHECK(strcmp(model_manifest(m)->name, "limited") == 0);
    CHECK(model_manifest(m)->n_shards > 2);
    for (uint32_t i = 0; i < model_manifest(m)->n_shards; i++)
        CHECK(model_manifest(m)->shards[i].file.n_bytes < 3000000 + 65536);
    model_free(m);
    options.max_shard_bytes = 100000;
    CHECK_EQ(split_run(&options, NULL, NULL, why, sizeof why), ERR_RANGE);
    CHECK(strstr(why, "a shard of one layer has "));
    CHECK(strstr(why, " bytes, more than the limit of 100000"));
    model_free(open_ok(out)); // the old one was left alone
    options.name = "no spaces";
    CHECK_EQ(split_run(&options, NULL, NULL, why, sizeof why), ERR_RANGE);
    CHECK(strstr(why, "no spaces: not a name for a model"));
    scratch_release(&s);
}

int main(void)
{
    struct scratch s;

    scratch_init(&s);
    split_ok(s.path, 3);
    describes_the_model(&s);
    maps_every_shard(&s);
    same_input_same_bytes(&s);
    names_damage(&s);
    clears_what_was_left(&s);
    scratch_release(&s);
    touches_no_folder_of_others();
    keeps_to_a_limit();
    return 0;
}
