// digest_frames DIR: writes the models of the committed digest, the units for
// them and what the reference answers, for engines that are not in C:
//
//   DIR/M/shard-K         safetensors
//   DIR/M/unit-I, result-I
//
// with M, K and I counted from 0, and prints the digest of all results.
#include <stdio.h>
#include <sys/stat.h>

#include "check.h"
#include "digest.h"
#include "splitter/shard.h"

struct out {
    const char *dir;
    int model; // -1 before the first
    int unit;
};

static void write_shard(const char *dir, const char *name,
                        const struct engine_shard *shard)
{
    char text[WHY_LEN_MAX];
    struct why why = {text, sizeof text};
    uint8_t hash[SHA256_LEN];
    struct shard_writer *w;
    uint64_t n_bytes;

    CHECK_EQ(shard_writer_new(dir, name, why, &w), ERR_OK);
    for (size_t i = 0; i < shard->n_tensors; i++) {
        const struct tensor *t = &shard->tensors[i];

        CHECK_EQ(shard_writer_declare(w, t->name, t->dtype, t->n_dims, t->dims),
                 ERR_OK);
    }
    CHECK_EQ(shard_writer_begin(w), ERR_OK);
    for (size_t i = 0; i < shard->n_tensors; i++)
        CHECK_EQ(shard_writer_write(w, shard->tensors[i].data,
                                    shard->tensors[i].n_bytes),
                 ERR_OK);
    CHECK_EQ(shard_writer_finish(w, &n_bytes, hash), ERR_OK);
    shard_writer_free(w);
}

static void on_model(void *ctx, const struct engine_shard *shards,
                     uint32_t n_shards)
{
    struct out *out = ctx;
    char dir[512], name[32];

    out->model++;
    out->unit = 0;
    snprintf(dir, sizeof dir, "%s/%d", out->dir, out->model);
    CHECK_EQ(mkdir(dir, 0777), 0);
    for (uint32_t i = 0; i < n_shards; i++) {
        snprintf(name, sizeof name, "shard-%u", (unsigned)i);
        write_shard(dir, name, &shards[i]);
    }
}

static void write_file(const struct out *out, const char *kind,
                       const uint8_t *bytes, size_t len)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/%d/%s-%d", out->dir, out->model, kind,
             out->unit);
    f = fopen(path, "wb");
    CHECK(f);
    CHECK_EQ(fwrite(bytes, 1, len, f), len);
    CHECK_EQ(fclose(f), 0);
}

static void on_unit(void *ctx, const uint8_t *unit, size_t unit_len,
                    const uint8_t *result, size_t result_len)
{
    struct out *out = ctx;

    write_file(out, "unit", unit, unit_len);
    write_file(out, "result", result, result_len);
    out->unit++;
}

int main(int argc, char **argv)
{
    struct engine_options options = {.kernels = &engine_kernels_ref};
    uint8_t digest[SHA256_LEN];
    char text[2 * SHA256_LEN + 1];

    CHECK_EQ(argc, 2);
    struct out out = {.dir = argv[1], .model = -1};
    struct digest_watch watch = {on_model, on_unit, &out};

    CHECK_EQ(digest_watch(&options, &watch, digest), ERR_OK);
    digest_text(digest, text);
    puts(text);
    return 0;
}
