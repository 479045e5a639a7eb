// manifest.json: what is written reads back, and each wrong field is named.
#include <string.h>

#include "check.h"
#include "splitter/manifest.h"

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

#define LLAMA3                                               \
    "\"type\":\"llama3\",\"theta\":500000.0,\"factor\":8.0," \
    "\"low_frequency\":1.0,\"high_frequency\":4.0,\"context\":8192"

static const char base[] =
    "{\"format\":1,\"arithmetic\":1,\"name\":\"m-1.b_c\",\"architecture\":{"
    "\"family\":\"llama\",\"layers\":4,\"width\":256,\"heads\":8,"
    "\"kv_heads\":2,\"head_size\":32,\"hidden\":700,\"vocabulary\":1000,"
    "\"context\":512,\"norm_epsilon\":1e-5,\"tied_head\":false,"
    "\"qkv_bias\":false,\"rope\":{" LLAMA3 "}},\"ends\":[1,2],\"shards\":["
    "{\"file\":\"a.safetensors\",\"layers\":[0,1],\"bytes\":10,\"sha256\":"
    "\"" HASH "\",\"parameters\":5,\"exponent\":9},"
    "{\"file\":\"b.safetensors\",\"layers\":[1,4],\"bytes\":20,\"sha256\":"
    "\"" HASH "\",\"parameters\":6,\"exponent\":10}],"
    "\"files\":[{\"file\":\"tokenizer.json\",\"bytes\":3,\"sha256\":"
    "\"" HASH "\"}]}";

static enum err parse(const char *text, struct manifest *m,
                      char why[WHY_LEN_MAX])
{
    // An exact-size copy lets AddressSanitizer see an overread.
    size_t n = strlen(text);
    char *copy = malloc(n + 1);
    enum err err;

    CHECK(copy);
    memcpy(copy, text, n);
    err = manifest_parse(copy, n, (struct why){why, WHY_LEN_MAX}, m);
    free(copy);
    return err;
}

static void reads_every_field(void)
{
    char why[WHY_LEN_MAX] = "";
    struct manifest m;

    CHECK_EQ(parse(base, &m, why), ERR_OK);
    CHECK(strcmp(m.name, "m-1.b_c") == 0);
    CHECK_EQ(m.arch.family, ARCH_LLAMA);
    CHECK_EQ(m.arch.n_layers, 4);
    CHECK_EQ(m.arch.d_model, 256);
    CHECK_EQ(m.arch.n_heads, 8);
    CHECK_EQ(m.arch.n_kv_heads, 2);
    CHECK_EQ(m.arch.head_dim, 32);
    CHECK_EQ(m.arch.d_ff, 700);
    CHECK_EQ(m.arch.n_vocab, 1000);
    CHECK_EQ(m.arch.n_ctx, 512);
    CHECK_EQ(m.arch.rope, ARCH_ROPE_LLAMA3);
    CHECK_EQ(m.arch.rope_orig_ctx, 8192);
    CHECK_EQ(m.arch.n_ends, 2);
    CHECK_EQ(m.arch.ends[1], 2);
    CHECK_EQ(m.n_shards, 2);
    CHECK(strcmp(m.shards[1].file.name, "b.safetensors") == 0);
    CHECK_EQ(m.shards[1].layer_first, 1);
    CHECK_EQ(m.shards[1].layer_end, 4);
    CHECK_EQ(m.shards[1].exponent, 10);
    CHECK_EQ((intmax_t)m.shards[1].n_params, 6);
    CHECK_EQ((intmax_t)m.shards[0].file.n_bytes, 10);
    CHECK_EQ(m.shards[0].file.sha256[1], 0x11);
    CHECK_EQ(m.n_files, 1);
    manifest_release(&m);
}

// text -> struct -> text -> struct -> text: the texts are equal.
static void writes_what_it_reads(void)
{
    static const char *const ropes[] = {
        LLAMA3,
        "\"type\":\"linear\",\"theta\":1e6,\"factor\":2.5",
        "\"type\":\"default\",\"theta\":10000",
    };

    for (size_t i = 0; i < 3; i++) {
        char text[2048], why[WHY_LEN_MAX] = "";
        const char *rope = strstr(base, ropes[0]);
        struct manifest m;
        char *one, *two;

        CHECK(rope);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(rope - base), base,
                 ropes[i], rope + strlen(ropes[0]));
        CHECK_EQ(parse(text, &m, why), ERR_OK);
        one = manifest_text(&m);
        CHECK(one);
        manifest_release(&m);
        CHECK_EQ(parse(one, &m, why), ERR_OK);
        two = manifest_text(&m);
        CHECK(two);
        CHECK(strcmp(one, two) == 0);
        CHECK(strstr(one, "\"norm_epsilon\": 1e-5") ||
              strstr(one, "\"norm_epsilon\": 1e-05"));
        manifest_release(&m);
        free(one);
        free(two);
    }
}

static const struct {
    const char *from, *to; // the first occurrence is replaced
    enum err err;
    const char *why;
} wrong[] = {
    {"\"format\":1", "\"format\":2", ERR_VERSION,
     "manifest.json: format: 2 is not this program's version; split the "
     "model again"},
    {"\"arithmetic\":1", "\"arithmetic\":9", ERR_VERSION,
     "manifest.json: arithmetic: 9 is not this program's version; split the "
     "model again"},
    {"\"format\":1,", "", ERR_FORMAT, "manifest.json: format: missing"},
    {"\"format\":1,", "\"format\":1,\"format\":1,", ERR_FORMAT, NULL},
    {"m-1.b_c", "", ERR_RANGE, "manifest.json: name: \"\" is empty"},
    {"m-1.b_c", "-m", ERR_FORMAT,
     "manifest.json: name: \"-m\" is not a model's name"},
    {"m-1.b_c", "a/b", ERR_FORMAT, NULL},
    {"\"llama\"", "\"bloom\"", ERR_FORMAT,
     "manifest.json: architecture: family: \"bloom\" is not known"},
    {"\"layers\":4", "\"layers\":0", ERR_RANGE,
     "manifest.json: architecture: layers: 0 is out of range (1 to 1024)"},
    {"\"kv_heads\":2", "\"kv_heads\":3", ERR_RANGE,
     "manifest.json: architecture: 8 heads, 3 of them for k and v, of 32 do "
     "not fit together"},
    {"\"kv_heads\":2", "\"kv_heads\":9", ERR_RANGE, NULL},
    {"\"head_size\":32", "\"head_size\":33", ERR_RANGE, NULL},
    {"\"head_size\":32", "\"head_size\":130", ERR_RANGE, NULL},
    {"\"heads\":8", "\"heads\":4096", ERR_RANGE, NULL},
    {"\"vocabulary\":1000", "\"vocabulary\":1048577", ERR_RANGE, NULL},
    {"\"context\":512", "\"context\":131073", ERR_RANGE, NULL},
    {"\"norm_epsilon\":1e-5", "\"norm_epsilon\":\"x\"", ERR_FORMAT, NULL},
    {"\"type\":\"llama3\"", "\"type\":\"yarn\"", ERR_FORMAT,
     "manifest.json: rope: type: \"yarn\" is not known"},
    {"\"rope\":{", "\"rope_\":{", ERR_FORMAT,
     "manifest.json: architecture: rope: is not an object"},
    {"\"ends\":[1,2]", "\"ends\":[1000]", ERR_RANGE,
     "manifest.json: ends: 1000 is not a token id"},
    {"\"ends\":[1,2]", "\"ends\":[1,2,3,4,5,6,7,8,9]", ERR_RANGE, NULL},
    {"[0,1]", "[1,1]", ERR_RANGE,
     "manifest.json: shards[0]: layers: [1,1] does not continue the shards "
     "before it"},
    {"[0,1]", "[0,0]", ERR_RANGE, NULL},
    {"[1,4]", "[2,4]", ERR_RANGE, NULL},
    {"[1,4]", "[1,5]", ERR_RANGE, NULL},
    {"[1,4]", "[1,3]", ERR_RANGE,
     "manifest.json: shards: they end with layer 3 of 4"},
    {"a.safetensors", "../a", ERR_FORMAT,
     "manifest.json: shards[0]: file: \"../a\" is not a file name"},
    {"a.safetensors", "a/b", ERR_FORMAT, NULL},
    {"a.safetensors", ".a", ERR_FORMAT, NULL},
    {"a.safetensors", "manifest.json", ERR_FORMAT, NULL},
    {"a.safetensors", "b.safetensors", ERR_FORMAT,
     "manifest.json: b.safetensors is named twice"},
    {"a.safetensors", "tokenizer.json", ERR_FORMAT,
     "manifest.json: tokenizer.json is named twice"},
    {"\"bytes\":10", "\"bytes\":0", ERR_RANGE, NULL},
    {"\"bytes\":10", "\"bytes\":-5", ERR_RANGE, NULL},
    {HASH, "00", ERR_FORMAT,
     "manifest.json: shards[0]: sha256: \"00\" is not a SHA-256 in lower "
     "case"},
    {HASH, "0G112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
     ERR_FORMAT, NULL},
    {"\"exponent\":9", "\"exponent\":25", ERR_RANGE, NULL},
    {"\"parameters\":5", "\"parameters\":\"5\"", ERR_FORMAT, NULL},
    {"\"files\":[", "\"files\":[7,", ERR_FORMAT,
     "manifest.json: files[0]: not an object"},
    {"\"files\":[", "\"file\":[", ERR_FORMAT, "manifest.json: files: missing"},
};

static void names_each_wrong_field(void)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *at = strstr(base, wrong[i].from);
        char text[2048], why[WHY_LEN_MAX] = "";
        struct manifest m = {.n_shards = 4711};
        enum err err;

        CHECK(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - base), base,
                 wrong[i].to, at + strlen(wrong[i].from));
        err = parse(text, &m, why);
        if (err != wrong[i].err ||
            (wrong[i].why && strcmp(why, wrong[i].why) != 0))
            fprintf(stderr, "%s: %d %s\n", wrong[i].to, (int)err, why);
        CHECK_EQ(err, wrong[i].err);
        CHECK(strncmp(why, "manifest.json: ", 15) == 0);
        CHECK(!wrong[i].why || strcmp(why, wrong[i].why) == 0);
        CHECK_EQ(m.n_shards, 4711);
    }
}

static void rejects_every_prefix(void)
{
    char text[sizeof base], why[WHY_LEN_MAX];
    struct manifest m;

    for (size_t n = 0; n + 1 < sizeof base; n++) {
        memcpy(text, base, n);
        text[n] = '\0';
        CHECK_EQ(parse(text, &m, why), ERR_FORMAT);
    }
}

static void counts_what_a_row_costs(void)
{
    struct arch a = {.family = ARCH_GPT2,
                     .n_layers = 12,
                     .d_model = 768,
                     .n_heads = 12,
                     .n_kv_heads = 12,
                     .head_dim = 64,
                     .d_ff = 3072,
                     .n_vocab = 50257};

    CHECK_EQ((intmax_t)manifest_params(&a, 0, 12), 84934656 + 38597376);
    CHECK_EQ((intmax_t)manifest_params(&a, 0, 1), 7077888);
    a.family = ARCH_LLAMA;
    a.n_kv_heads = 3;
    CHECK_EQ((intmax_t)manifest_params(&a, 3, 4),
             768 * (2 * 768 + 2 * 192) + 3 * 768 * 3072);
}

int main(void)
{
    reads_every_field();
    writes_what_it_reads();
    names_each_wrong_field();
    rejects_every_prefix();
    counts_what_a_row_costs();
    return 0;
}
