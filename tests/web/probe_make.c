// probe_make: the known piece of work that a browser's engine must get right
// before it may take part (volunteer/web/probe.mjs).
//
//   probe_make FILE          writes it
//   probe_make --check FILE  fails unless FILE is what would be written
//
// The file: three u32 lengths, then a shard (safetensors), a unit frame for it
// and the result frame of the reference kernels, with the compute time 0.
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "splitter/shard.h"
#include "synthetic.h"
#include "units.h"

enum { CAP = 4 << 20, N_SEQS = 3 };

static const char shard_name[] = "probe.safetensors";

static size_t read_whole(const char *path, uint8_t *buf, size_t cap)
{
    FILE *f = fopen(path, "rb");
    size_t n;

    CHECK(f);
    n = fread(buf, 1, cap, f);
    CHECK(n < cap);
    fclose(f);
    return n;
}

// The model as the file that a volunteer would download.
static size_t make_shard(const struct engine_shard *shard, uint8_t *buf)
{
    char dir[] = "/tmp/probe-XXXXXX", path[64], text[WHY_LEN_MAX];
    struct why why = {text, sizeof text};
    uint8_t hash[SHA256_LEN];
    struct shard_writer *w;
    uint64_t n_bytes;
    size_t n;

    CHECK(mkdtemp(dir));
    CHECK_EQ(shard_writer_new(dir, shard_name, why, &w), ERR_OK);
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
    snprintf(path, sizeof path, "%s/%s", dir, shard_name);
    n = read_whole(path, buf, CAP);
    CHECK_EQ(n, n_bytes);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(rmdir(dir), 0);
    return n;
}

static void set_prompt(struct units_seq *seq, uint32_t i, uint32_t n_rows,
                       uint32_t n_predict, uint32_t max_new, uint32_t n_vocab)
{
    *seq = (struct units_seq){.in = {.id = 1 + i,
                                     .n_rows = n_rows,
                                     .n_predict = n_predict,
                                     .max_new = max_new,
                                     .n_prompt = n_rows}};
    units_tokens(seq->tokens, n_rows, n_vocab, i);
}

// One greedy sequence, one sampled, one check.
static void make_unit(struct engine *engine, struct units_frame *out)
{
    static struct units_seq seqs[N_SEQS];
    uint32_t n_vocab = engine_config(engine)->n_vocab;

    set_prompt(&seqs[0], 0, 5, 0, 12, n_vocab);
    set_prompt(&seqs[1], 1, 37, 0, 12, n_vocab);
    seqs[1].in.sampling.inv_temp_q16 = 80000;
    seqs[1].in.sampling.top_p_q16 = 60000;
    seqs[1].in.sampling.seed = 7;
    set_prompt(&seqs[2], 2, 70, 70, 0, n_vocab);
    CHECK(units_build(engine, SYN1_TOKENS, seqs, N_SEQS, out));
}

static size_t make(uint8_t *buf)
{
    static uint8_t shard[CAP];
    struct engine_options options = {.kernels = &engine_kernels_ref};
    struct bytes_out out = {.ptr = buf, .cap = CAP};
    struct syn1_frame result;
    struct units_frame unit;
    struct synthetic model;
    struct engine *engine;
    const uint8_t *frame;
    size_t frame_len, shard_len;

    memset(options.model, 0x70, sizeof options.model);
    CHECK(synthetic_new(SYNTHETIC_GPT2, 1, &model));
    shard_len = make_shard(&model.shards[0], shard);
    CHECK_EQ(engine_new(model.shards, 1, &options, &engine, NULL, 0), ERR_OK);
    make_unit(engine, &unit);
    CHECK_EQ(engine_run(engine, unit.bytes, unit.len, &frame, &frame_len),
             ERR_OK);
    CHECK_EQ(syn1_parse(frame, frame_len, &result), ERR_OK);
    CHECK_EQ(result.header.number, 0); // no clock was given
    bytes_put_u32(&out, (uint32_t)shard_len);
    bytes_put_u32(&out, (uint32_t)unit.len);
    bytes_put_u32(&out, (uint32_t)frame_len);
    bytes_put(&out, shard, shard_len);
    bytes_put(&out, unit.bytes, unit.len);
    bytes_put(&out, frame, frame_len);
    CHECK(!out.full);
    free(unit.bytes);
    engine_free(engine);
    synthetic_release(&model);
    return out.len;
}

int main(int argc, char **argv)
{
    static uint8_t made[CAP], there[CAP];
    size_t len = make(made);

    if (argc == 3 && strcmp(argv[1], "--check") == 0) {
        if (read_whole(argv[2], there, CAP) != len ||
            memcmp(there, made, len) != 0) {
            fprintf(stderr, "%s is out of date: run probe_make on it\n",
                    argv[2]);
            return 1;
        }
        return 0;
    }
    CHECK_EQ(argc, 2);
    FILE *f = fopen(argv[1], "wb");
    CHECK(f);
    CHECK_EQ(fwrite(made, 1, len, f), len);
    CHECK_EQ(fclose(f), 0);
    return 0;
}
