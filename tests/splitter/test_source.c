// Importing a folder: dtypes, orientation, files, and what is refused.
#include <math.h>
#include <string.h>

#include "check.h"
#include "scratch.h"
#include "splitter/source.h"
#include "splitter/why.h"

// A GPT-2 of one layer, written tensor by tensor. Element i of tensor t is
// t + i / 1024 (exact in F32), or rounded to the dtype.
enum { D = 32, VOCAB = 5, CTX = 3, FF = 7, N_TENSORS = 16 };

struct spec {
    const char *name;
    unsigned rows, cols; // as stored; cols 0: a vector
};

static const struct spec gpt2[N_TENSORS] = {
    {"wte.weight", VOCAB, D},
    {"wpe.weight", CTX, D},
    {"ln_f.weight", D, 0},
    {"ln_f.bias", D, 0},
    {"h.0.ln_1.weight", D, 0},
    {"h.0.ln_1.bias", D, 0},
    {"h.0.attn.c_attn.weight", D, 3 * D},
    {"h.0.attn.c_attn.bias", 3 * D, 0},
    {"h.0.attn.c_proj.weight", D, D},
    {"h.0.attn.c_proj.bias", D, 0},
    {"h.0.ln_2.weight", D, 0},
    {"h.0.ln_2.bias", D, 0},
    {"h.0.mlp.c_fc.weight", D, FF},
    {"h.0.mlp.c_fc.bias", FF, 0},
    {"h.0.mlp.c_proj.weight", FF, D},
    {"h.0.mlp.c_proj.bias", D, 0},
};

static const char gpt2_config[] =
    "{\"model_type\":\"gpt2\",\"n_layer\":1,\"n_embd\":32,\"n_head\":1,"
    "\"n_positions\":3,\"n_inner\":7,\"vocab_size\":5";

static float value(unsigned tensor, unsigned i)
{
    return (float)tensor + (float)i / 1024;
}

static uint16_t to_bf16(float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof bits);
    return (uint16_t)(bits >> 16); // cut off; the test compares so too
}

// Zero and normal numbers only, cut off.
static uint16_t to_f16(float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof bits);
    if (!bits)
        return 0;
    return (uint16_t)(((bits >> 23) - 127 + 15) << 10 | (bits >> 13 & 0x3ff));
}

static size_t put_value(uint8_t *out, const char *dtype, float v)
{
    uint32_t bits;
    size_t n = strcmp(dtype, "F32") == 0 ? 4 : 2;

    memcpy(&bits, &v, sizeof bits);
    if (strcmp(dtype, "BF16") == 0)
        bits = to_bf16(v);
    else if (n == 2)
        bits = to_f16(v);
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(bits >> 8 * i);
    return n;
}

// What a test changes in the file: nothing, or one tensor.
struct change {
    const char *tensor; // NULL: nothing
    const char *rename; // "" leaves it out
    const char *dtype;  // written instead; with that dtype's size
    unsigned rows;      // 0: as it is
    bool set;           // element at becomes v
    unsigned at;
    float v;
};

// Write tensors first .. end-1 with a prefix before each name.
static void put_model(const struct scratch *s, const char *file,
                      const char *dtype, const char *prefix, unsigned first,
                      unsigned end, const struct change *change)
{
    static char header[1 << 14];
    static uint8_t data[1 << 16];
    size_t h = 0, d = 0;

    h += (size_t)snprintf(header, sizeof header, "{");
    for (unsigned t = first; t < end; t++) {
        const struct spec *sp = &gpt2[t];
        bool changed = change->tensor && strcmp(change->tensor, sp->name) == 0;
        const char *type = changed && change->dtype ? change->dtype : dtype;
        const char *name =
            changed && change->rename ? change->rename : sp->name;
        unsigned rows = changed && change->rows ? change->rows : sp->rows;
        unsigned n = rows * (sp->cols ? sp->cols : 1);
        size_t from = d;
        char shape[32];

        if (!*name)
            continue;
        for (unsigned i = 0; i < n; i++) {
            float v = changed && change->set && i == change->at ? change->v
                                                                : value(t, i);

            d += put_value(data + d, type, v);
        }
        snprintf(shape, sizeof shape, sp->cols ? "%u,%u" : "%u", rows,
                 sp->cols);
        h += (size_t)snprintf(header + h, sizeof header - h,
                              "%s\"%s%s\":{\"dtype\":\"%s\",\"shape\":[%s],"
                              "\"data_offsets\":[%zu,%zu]}",
                              h > 1 ? "," : "", prefix, name, type, shape, from,
                              d);
        CHECK(h + 256 < sizeof header && d + 8192 < sizeof data);
    }
    h += (size_t)snprintf(header + h, sizeof header - h, "}");
    scratch_put_safetensors(s, file, header, data, d);
}

static void put_config(const struct scratch *s, const char *more)
{
    char config[512];

    snprintf(config, sizeof config, "%s%s}", gpt2_config, more);
    scratch_put_text(s, "config.json", config);
}

static struct source *open_ok(const struct scratch *s)
{
    struct source *src = NULL;
    char why[WHY_LEN_MAX] = "";
    enum err err = source_open(s->path, &src, why, sizeof why);

    if (err)
        fprintf(stderr, "%s\n", why);
    CHECK_EQ(err, ERR_OK);
    return src;
}

static void open_fails(const struct scratch *s, enum err want, const char *line)
{
    struct source *src = NULL;
    char why[WHY_LEN_MAX] = "";
    enum err err = source_open(s->path, &src, why, sizeof why);

    if (err != want || strcmp(why, line) != 0)
        fprintf(stderr, "%d %s\nnot %s\n", (int)err, why, line);
    CHECK_EQ(err, want);
    CHECK(strcmp(why, line) == 0);
    CHECK(!src);
}

static float rounded(const char *dtype, float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof bits);
    if (strcmp(dtype, "BF16") == 0)
        bits &= UINT32_C(0xffff0000);
    if (strcmp(dtype, "F16") == 0)
        bits &= UINT32_C(0xffffe000);
    memcpy(&v, &bits, sizeof v);
    return v;
}

// Read a role in pieces of two rows; element (r, c) must be the stored
// tensor's element at(r, c).
static void check_role(const struct source *src, const char *dtype,
                       enum source_role role, unsigned tensor,
                       unsigned row_step, unsigned col_step, unsigned first)
{
    float out[2 * 64];
    size_t rows, cols;

    CHECK(source_has(src, role));
    source_shape(src, role, &rows, &cols);
    CHECK(cols <= 64);
    for (size_t r = 0; r < rows; r += 2) {
        size_t n = rows - r < 2 ? rows - r : 2;

        CHECK_EQ(source_read(src, role, 0, r, n, out, NULL, 0), ERR_OK);
        for (size_t i = 0; i < n * cols; i++) {
            unsigned at = first + (unsigned)(r + i / cols) * row_step +
                          (unsigned)(i % cols) * col_step;
            float want = rounded(dtype, value(tensor, at));

            CHECK(memcmp(&out[i], &want, sizeof want) == 0);
        }
    }
}

static void reads_every_dtype_in_one_orientation(void)
{
    static const char *const dtypes[] = {"F32", "F16", "BF16"};
    static const char *const prefixes[] = {"transformer.", ""};

    for (size_t i = 0; i < 6; i++) {
        const char *dtype = dtypes[i % 3];
        struct scratch s;
        struct source *src;

        scratch_init(&s);
        put_config(&s, "");
        put_model(&s, "model.safetensors", dtype, prefixes[i / 3], 0, N_TENSORS,
                  &(struct change){0});
        src = open_ok(&s);
        CHECK_EQ(source_arch(src)->n_layers, 1);
        check_role(src, dtype, SOURCE_EMBED, 0, D, 1, 0);
        check_role(src, dtype, SOURCE_HEAD, 0, D, 1, 0);
        check_role(src, dtype, SOURCE_POSITION, 1, D, 1, 0);
        check_role(src, dtype, SOURCE_FINAL_BIAS, 3, 1, 0, 0);
        check_role(src, dtype, SOURCE_Q, 6, 1, 3 * D, 0);
        check_role(src, dtype, SOURCE_K, 6, 1, 3 * D, D);
        check_role(src, dtype, SOURCE_V, 6, 1, 3 * D, 2 * D);
        check_role(src, dtype, SOURCE_V_BIAS, 7, 1, 0, 2 * D);
        check_role(src, dtype, SOURCE_O, 8, 1, D, 0);
        check_role(src, dtype, SOURCE_UP, 12, 1, FF, 0);
        check_role(src, dtype, SOURCE_UP_BIAS, 13, 1, 0, 0);
        check_role(src, dtype, SOURCE_DOWN, 14, 1, D, 0);
        CHECK(!source_has(src, SOURCE_GATE));
        source_free(src);
        scratch_release(&s);
    }
}

static void refuses_rows_past_the_end(void)
{
    struct scratch s;
    struct source *src;
    float out[2 * D];

    scratch_init(&s);
    put_config(&s, "");
    put_model(&s, "model.safetensors", "F32", "", 0, N_TENSORS,
              &(struct change){0});
    src = open_ok(&s);
    CHECK_EQ(source_read(src, SOURCE_EMBED, 0, 4, 2, out, NULL, 0), ERR_RANGE);
    CHECK_EQ(source_read(src, SOURCE_EMBED, 0, SIZE_MAX, 2, out, NULL, 0),
             ERR_RANGE);
    CHECK_EQ(source_read(src, SOURCE_EMBED, 0, 4, 1, out, NULL, 0), ERR_OK);
    source_free(src);
    scratch_release(&s);
}

static void names_what_does_not_fit(void)
{
    static const struct {
        struct change change;
        enum err err;
        const char *why;
    } cases[] = {
        {{.tensor = "h.0.mlp.c_fc.bias", .rename = ""},
         ERR_NOT_FOUND,
         "model.safetensors: tensor h.0.mlp.c_fc.bias is missing"},
        {{.tensor = "wpe.weight", .rename = "wpe.bias"},
         ERR_NOT_FOUND,
         "model.safetensors: tensor wpe.weight is missing"},
        {{.tensor = "wte.weight", .rows = 6},
         ERR_FORMAT,
         "model.safetensors: wte.weight: the shape is not (5, 32) as "
         "config.json says"},
        {{.tensor = "ln_f.bias", .rows = 31},
         ERR_FORMAT,
         "model.safetensors: ln_f.bias: the shape is not (32) as config.json "
         "says"},
        {{.tensor = "h.0.attn.c_proj.weight", .dtype = "I16"},
         ERR_UNSUPPORTED,
         "model.safetensors: h.0.attn.c_proj.weight: dtype I16 is not "
         "supported, only F32, F16, BF16"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scratch s;

        scratch_init(&s);
        put_config(&s, "");
        put_model(&s, "model.safetensors", "F32", "", 0, N_TENSORS,
                  &cases[i].change);
        open_fails(&s, cases[i].err, cases[i].why);
        scratch_release(&s);
    }
}

static void names_a_value_that_is_no_number(void)
{
    static const struct {
        float v;
        const char *why;
    } cases[] = {
        {NAN, "model.safetensors: h.0.mlp.c_fc.weight: row 4, column 3 is "
              "NaN"},
        {INFINITY, "model.safetensors: h.0.mlp.c_fc.weight: row 4, column 3 "
                   "is infinite"},
        {-INFINITY, "model.safetensors: h.0.mlp.c_fc.weight: row 4, column 3 "
                    "is infinite"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct change change = {.tensor = "h.0.mlp.c_fc.weight",
                                .set = true,
                                .at = 3 * FF + 4, // (in 3, out 4)
                                .v = cases[i].v};
        char why[WHY_LEN_MAX] = "";
        struct scratch s;
        struct source *src;
        float out[4 * D];

        scratch_init(&s);
        put_config(&s, "");
        put_model(&s, "model.safetensors", i == 1 ? "BF16" : "F32", "", 0,
                  N_TENSORS, &change);
        src = open_ok(&s);
        CHECK_EQ(source_read(src, SOURCE_UP, 0, 0, 4, out, why, sizeof why),
                 ERR_OK);
        CHECK_EQ(source_read(src, SOURCE_UP, 0, 3, 3, out, why, sizeof why),
                 ERR_FORMAT);
        CHECK(strcmp(why, cases[i].why) == 0);
        source_free(src);
        scratch_release(&s);
    }
}

static void reads_f16_subnormals_and_nan(void)
{
    // Bits of one row of the embedding in F16, and what they are.
    static const struct {
        uint16_t bits;
        float v;
    } cases[] = {
        {0x0001, 0x1p-24f},  {0x8001, -0x1p-24f}, {0x03ff, 0x3ffp-24f},
        {0x0400, 0x1p-14f},  {0x8000, -0.0f},     {0x7bff, 65504.0f},
        {0xfbff, -65504.0f}, {0x3c00, 1.0f},      {0x3555, 0x1.554p-2f},
    };
    struct scratch s;
    uint8_t *bytes;
    char path[SCRATCH_PATH_MAX];
    size_t len;
    struct source *src;
    float out[D];

    scratch_init(&s);
    put_config(&s, "");
    put_model(&s, "model.safetensors", "F16", "", 0, N_TENSORS,
              &(struct change){0});
    bytes = scratch_get(scratch_path(&s, "model.safetensors", path), &len);
    size_t data = 8 + ((size_t)bytes[0] | (size_t)bytes[1] << 8);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes[data + 2 * i] = (uint8_t)cases[i].bits;
        bytes[data + 2 * i + 1] = (uint8_t)(cases[i].bits >> 8);
    }
    scratch_put(&s, "model.safetensors", bytes, len);
    src = open_ok(&s);
    CHECK_EQ(source_read(src, SOURCE_EMBED, 0, 0, 1, out, NULL, 0), ERR_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK(memcmp(&out[i], &cases[i].v, sizeof(float)) == 0);
    source_free(src);
    bytes[data] = 0x01; // NaN
    bytes[data + 1] = 0x7c;
    scratch_put(&s, "model.safetensors", bytes, len);
    src = open_ok(&s);
    CHECK_EQ(source_read(src, SOURCE_EMBED, 0, 0, 1, out, NULL, 0), ERR_FORMAT);
    source_free(src);
    free(bytes);
    scratch_release(&s);
}

static void checks_a_tied_head(void)
{
    struct scratch s;
    struct source *src;
    float out[D];

    scratch_init(&s);
    put_config(&s, ",\"tie_word_embeddings\":false");
    put_model(&s, "model.safetensors", "F32", "", 0, N_TENSORS,
              &(struct change){0});
    open_fails(&s, ERR_NOT_FOUND,
               "model.safetensors: tensor lm_head.weight is missing");

    // Two files: the second has a head of the embedding's shape.
    scratch_remove(&s, "model.safetensors");
    put_model(&s, "a.safetensors", "F32", "", 0, N_TENSORS,
              &(struct change){0});
    put_model(&s, "b.safetensors", "F32", "", 0, 1,
              &(struct change){.tensor = "wte.weight",
                               .rename = "lm_head.weight",
                               .set = true,
                               .at = 40,
                               .v = 3.5f});
    char map[2048] = "{\"weight_map\":{\"lm_head.weight\":\"b.safetensors\"";

    for (unsigned t = 0; t < N_TENSORS; t++)
        snprintf(map + strlen(map), sizeof map - strlen(map),
                 ",\"%s\":\"a.safetensors\"", gpt2[t].name);
    snprintf(map + strlen(map), sizeof map - strlen(map), "}}");
    scratch_put_text(&s, "model.safetensors.index.json", map);
    src = open_ok(&s);
    CHECK_EQ(source_read(src, SOURCE_HEAD, 0, 1, 1, out, NULL, 0), ERR_OK);
    CHECK(memcmp(&out[8], &(float){3.5f}, sizeof(float)) == 0);
    source_free(src);

    put_config(&s, "");
    open_fails(&s, ERR_UNSUPPORTED,
               "b.safetensors: lm_head.weight: differs from the embedding, "
               "but config.json: tie_word_embeddings: true");
    put_model(
        &s, "b.safetensors", "F32", "", 0, 1,
        &(struct change){.tensor = "wte.weight", .rename = "lm_head.weight"});
    src = open_ok(&s); // the same bytes again are allowed
    source_free(src);
    scratch_release(&s);
}

static void follows_an_index(void)
{
    static const struct {
        const char *extra; // one entry more in the weight_map
        enum err err;
        const char *why;
    } cases[] = {
        {"\"x\":\"../a.safetensors\"", ERR_FORMAT,
         "model.safetensors.index.json: weight_map: x: ../a.safetensors is "
         "not a file name"},
        {"\"x\":\"/etc/passwd\"", ERR_FORMAT,
         "model.safetensors.index.json: weight_map: x: /etc/passwd is not a "
         "file name"},
        {"\"x\":\"..\"", ERR_FORMAT,
         "model.safetensors.index.json: weight_map: x: .. is not a file name"},
        {"\"x\":\"\"", ERR_FORMAT,
         "model.safetensors.index.json: weight_map: x:  is not a file name"},
        {"\"x\":5", ERR_FORMAT,
         "model.safetensors.index.json: weight_map: x: this is not a file "
         "name"},
        {"\"x\":\"c.safetensors\"", ERR_NOT_FOUND, NULL},
        {"\"x\":\"a.safetensors\"", ERR_NOT_FOUND,
         "model.safetensors.index.json: weight_map: x is not in "
         "a.safetensors"},
        {"\"wte.weight\":\"a.safetensors\"", ERR_FORMAT, NULL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char map[2048], why[WHY_LEN_MAX] = "";
        struct scratch s;
        struct source *src = NULL;

        scratch_init(&s);
        put_config(&s, "");
        put_model(&s, "a.safetensors", "F32", "transformer.", 0, 6,
                  &(struct change){0});
        put_model(&s, "b.safetensors", "BF16", "transformer.", 6, N_TENSORS,
                  &(struct change){0});
        snprintf(map, sizeof map, "{\"metadata\":{},\"weight_map\":{");
        for (unsigned t = 0; t < N_TENSORS; t++)
            snprintf(map + strlen(map), sizeof map - strlen(map),
                     "%s\"transformer.%s\":\"%s.safetensors\"", t ? "," : "",
                     gpt2[t].name, t < 6 ? "a" : "b");
        size_t good = strlen(map);

        snprintf(map + good, sizeof map - good, "}}");
        scratch_put_text(&s, "model.safetensors.index.json", map);
        src = open_ok(&s);
        check_role(src, "F32", SOURCE_EMBED, 0, D, 1, 0);
        check_role(src, "BF16", SOURCE_O, 8, 1, D, 0);
        source_free(src);

        if (i == 7) // a duplicate key
            snprintf(map + good, sizeof map - good, ",%s,%s}}", cases[i].extra,
                     cases[i].extra);
        else
            snprintf(map + good, sizeof map - good, ",%s}}", cases[i].extra);
        scratch_put_text(&s, "model.safetensors.index.json", map);
        src = NULL;
        CHECK_EQ(source_open(s.path, &src, why, sizeof why), cases[i].err);
        if (cases[i].why && strcmp(why, cases[i].why) != 0)
            fprintf(stderr, "%s\n", why);
        CHECK(!cases[i].why || strcmp(why, cases[i].why) == 0);
        CHECK(!src);
        scratch_release(&s);
    }
}

static void names_missing_files(void)
{
    char line[WHY_LEN_MAX];
    struct scratch s;

    scratch_init(&s);
    snprintf(line, sizeof line, "config.json: no such file in %s", s.path);
    open_fails(&s, ERR_NOT_FOUND, line);
    put_config(&s, "");
    snprintf(line, sizeof line,
             "model.safetensors: no such file in %s, nor "
             "model.safetensors.index.json",
             s.path);
    open_fails(&s, ERR_NOT_FOUND, line);
    scratch_put_text(&s, "model.safetensors.index.json", "{}");
    open_fails(&s, ERR_FORMAT,
               "model.safetensors.index.json: weight_map: not an object");
    scratch_put_text(&s, "model.safetensors.index.json", "{\"weight_map\":{}}");
    open_fails(&s, ERR_RANGE,
               "model.safetensors.index.json: weight_map has 0 entries");
    scratch_put_text(&s, "model.safetensors", "");
    open_fails(&s, ERR_TRUNCATED,
               "model.safetensors: 0 bytes are too short for safetensors");
    scratch_put_text(&s, "config.json", "");
    open_fails(&s, ERR_FORMAT,
               "config.json: not valid JSON: line 1: '[' or '{' expected near "
               "end of file");
    scratch_release(&s);
}

int main(void)
{
    reads_every_dtype_in_one_orientation();
    refuses_rows_past_the_end();
    names_what_does_not_fit();
    names_a_value_that_is_no_number();
    reads_f16_subnormals_and_nan();
    checks_a_tied_head();
    follows_an_index();
    names_missing_files();
    return 0;
}
