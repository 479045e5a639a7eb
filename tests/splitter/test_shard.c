// Shards: what the writer makes, the reader gives back; both check.
#include <string.h>

#include "check.h"
#include "scratch.h"
#include "splitter/safetensors.h"
#include "splitter/shard.h"

static struct shard_writer *writer_new(const struct scratch *s, char *why)
{
    struct shard_writer *w = NULL;

    CHECK_EQ(shard_writer_new(s->path, "x.safetensors",
                              (struct why){why, WHY_LEN_MAX}, &w),
             ERR_OK);
    return w;
}

static void declare_ok(struct shard_writer *w, const char *name,
                       enum tensor_dtype dtype, uint32_t a, uint32_t b)
{
    uint32_t dims[2] = {a, b};

    CHECK_EQ(shard_writer_declare(w, name, dtype, b ? 2 : 1, dims), ERR_OK);
}

// Three tensors of 7, 0 and 24 bytes, then one of 128, with data 0, 1, 2, ...
static void write_sample(const struct scratch *s, size_t piece, uint64_t *len,
                         uint8_t sha[SHA256_LEN])
{
    char why[WHY_LEN_MAX] = "";
    struct shard_writer *w = writer_new(s, why);
    uint8_t data[7 + 24 + 128];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    CHECK_EQ(shard_writer_note(w, "model", "tales \"x\""), ERR_OK);
    declare_ok(w, "seven", TENSOR_I8, 7, 0);
    declare_ok(w, "none", TENSOR_I32, 0, 3);
    declare_ok(w, "a.words", TENSOR_I32, 2, 3);
    declare_ok(w, "bytes", TENSOR_U8, 128, 0);
    CHECK_EQ(shard_writer_begin(w), ERR_OK);
    for (size_t at = 0; at < sizeof data; at += piece)
        CHECK_EQ(shard_writer_write(w, data + at,
                                    at + piece > sizeof data ? sizeof data - at
                                                             : piece),
                 ERR_OK);
    CHECK(!scratch_has(s, "x.safetensors"));
    CHECK_EQ(shard_writer_finish(w, len, sha), ERR_OK);
    CHECK(scratch_has(s, "x.safetensors"));
    CHECK(!scratch_has(s, "x.safetensors.part"));
    shard_writer_free(w);
}

static void gives_back_what_was_written(void)
{
    struct scratch s;
    char path[SCRATCH_PATH_MAX];
    uint8_t sha[SHA256_LEN], want[SHA256_LEN];
    uint64_t file_len;
    size_t len, n;
    struct tensor *tensors;
    uint8_t *file, *aligned;

    scratch_init(&s);
    write_sample(&s, 1000, &file_len, sha);
    file = scratch_get(scratch_path(&s, "x.safetensors", path), &len);
    CHECK_EQ((intmax_t)file_len, (intmax_t)len);
    sha256(file, len, want);
    CHECK(memcmp(sha, want, sizeof sha) == 0);

    CHECK_EQ(posix_memalign((void **)&aligned, TENSOR_ALIGN, len), 0);
    memcpy(aligned, file, len);
    CHECK_EQ(shard_parse(aligned, len, "f", (struct why){0}, &tensors, &n),
             ERR_OK);
    CHECK_EQ(n, 4); // fillers are left out
    CHECK(strcmp(tensors[0].name, "a.words") == 0);
    CHECK_EQ(tensors[0].dtype, TENSOR_I32);
    CHECK_EQ(tensors[0].n_dims, 2);
    CHECK_EQ(tensors[0].dims[0], 2);
    CHECK_EQ(tensors[0].dims[1], 3);
    CHECK_EQ(tensors[0].n_bytes, 24);
    CHECK_EQ(((const uint8_t *)tensors[0].data)[0], 7);
    CHECK(strcmp(tensors[1].name, "bytes") == 0);
    CHECK_EQ(((const uint8_t *)tensors[1].data)[127], 158);
    CHECK(strcmp(tensors[3].name, "seven") == 0);
    for (size_t i = 0; i < n; i++)
        CHECK_EQ((uintptr_t)tensors[i].data % TENSOR_ALIGN, 0);
    free(tensors);
    free(aligned);
    free(file);
    scratch_release(&s);
}

// The standard asks for tensors without gaps that end with the file.
static void leaves_no_gap_between_tensors(void)
{
    struct scratch s;
    char path[SCRATCH_PATH_MAX];
    uint8_t sha[SHA256_LEN];
    uint64_t file_len;
    size_t len, covered = 0;
    struct safetensors st;
    uint8_t *file;

    scratch_init(&s);
    write_sample(&s, 5, &file_len, sha);
    file = scratch_get(scratch_path(&s, "x.safetensors", path), &len);
    CHECK_EQ(safetensors_parse(file, len, "f", (struct why){0}, &st), ERR_OK);
    for (size_t i = 0; i < st.n_tensors; i++)
        covered += st.tensors[i].n_bytes;
    CHECK_EQ(covered, 64 + 64 + 128);
    CHECK_EQ((len - covered) % TENSOR_ALIGN, 0);
    CHECK(strcmp(json_string_value(json_object_get(st.metadata, "model")),
                 "tales \"x\"") == 0);
    safetensors_release(&st);
    free(file);
    scratch_release(&s);
}

static void pieces_do_not_change_the_bytes(void)
{
    struct scratch s;
    uint8_t first[SHA256_LEN], sha[SHA256_LEN];
    uint64_t len;

    scratch_init(&s);
    write_sample(&s, 1000, &len, first);
    for (size_t piece = 1; piece < 40; piece += 3) {
        scratch_remove(&s, "x.safetensors");
        write_sample(&s, piece, &len, sha);
        CHECK(memcmp(first, sha, sizeof sha) == 0);
    }
    scratch_release(&s);
}

static void writer_checks_its_caller(void)
{
    static const struct {
        const char *name;
        int dtype;
        uint32_t n_dims, dims[4];
        enum err err;
    } cases[] = {
        {"", TENSOR_I8, 1, {1}, ERR_RANGE},
        {"pad.3", TENSOR_I8, 1, {1}, ERR_RANGE},
        {"x", 0, 1, {1}, ERR_RANGE},
        {"x", 5, 1, {1}, ERR_RANGE},
        {"x", TENSOR_I8, 0, {1}, ERR_RANGE},
        {"x", TENSOR_I8, 5, {1}, ERR_RANGE},
        {"x", TENSOR_I32, 2, {UINT32_MAX, UINT32_MAX}, ERR_RANGE},
        {"there", TENSOR_I8, 1, {1}, ERR_EXISTS},
        {"__metadata__", TENSOR_I8, 1, {1}, ERR_EXISTS},
    };
    char why[WHY_LEN_MAX] = "";
    struct shard_writer *w;
    struct scratch s;
    uint8_t sha[SHA256_LEN];
    uint64_t len;

    scratch_init(&s);
    w = writer_new(&s, why);
    declare_ok(w, "there", TENSOR_I16, 2, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_EQ(shard_writer_declare(w, cases[i].name,
                                      (enum tensor_dtype)cases[i].dtype,
                                      cases[i].n_dims, cases[i].dims),
                 cases[i].err);
    CHECK_EQ(shard_writer_begin(w), ERR_OK);
    CHECK_EQ(shard_writer_finish(w, &len, sha), ERR_TRUNCATED);
    CHECK_EQ(shard_writer_write(w, "abcd", 4), ERR_OK);
    CHECK_EQ(shard_writer_write(w, "e", 1), ERR_RANGE);
    CHECK(strstr(why, "more data than was declared"));
    shard_writer_free(w); // unfinished: nothing stays
    CHECK(!scratch_has(&s, "x.safetensors"));
    CHECK(!scratch_has(&s, "x.safetensors.part"));

    w = NULL;
    CHECK_EQ(shard_writer_new("/nonexistent", "x", (struct why){why, 99}, &w),
             ERR_IO);
    CHECK(strcmp(why, "/nonexistent/x.part: No such file or directory") == 0);
    CHECK(!w);
    scratch_release(&s);
}

static void reader_refuses_what_is_no_shard(void)
{
    static const struct {
        const char *header;
        enum err err;
        const char *why;
    } cases[] = {
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}  ",
         ERR_UNSUPPORTED, "f: t: dtype F32 does not belong in a shard"},
        {"{\"t\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[0,1]}}    ",
         ERR_RANGE, "f: t: has 0 dimensions"},
        {"{\"t\":{\"dtype\":\"I8\",\"shape\":[1,1,1,1,1],"
         "\"data_offsets\":[0,1]}}",
         ERR_RANGE, "f: t: has 5 dimensions"},
        {"{\"t\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
         ERR_FORMAT, "f: t: not aligned to 64 bytes"},
        {"{\"t\":{\"dtype\":\"I8\",\"shape\":[0,4294967296],"
         "\"data_offsets\":[0,0]}}",
         ERR_RANGE, "f: t: a dimension is too large"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[WHY_LEN_MAX] = "";
        struct tensor *tensors = NULL;
        uint8_t *buf;
        size_t n = 0;

        CHECK_EQ(posix_memalign((void **)&buf, TENSOR_ALIGN, 192), 0);
        memset(buf, ' ', 192);
        memset(buf, 0, 8);
        buf[0] = 128 - 8;
        memcpy(buf + 8, cases[i].header, strlen(cases[i].header));
        CHECK_EQ(shard_parse(buf, 192, "f", (struct why){why, sizeof why},
                             &tensors, &n),
                 cases[i].err);
        CHECK(strcmp(why, cases[i].why) == 0);
        CHECK(!tensors && !n);
        free(buf);
    }
}

int main(void)
{
    gives_back_what_was_written();
    leaves_no_gap_between_tensors();
    pieces_do_not_change_the_bytes();
    writer_checks_its_caller();
    reader_refuses_what_is_no_shard();
    return 0;
}
