// The tokenizers of the two small models against what was recorded with them.
#include <jansson.h>
#include <string.h>

#include "check.h"
#include "tokenizer/tokenizer.h"

static struct tokenizer *load(const char *path)
{
    struct tokenizer *t;
    char why[256] = "";

    if (tokenizer_load(path, &t, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    return t;
}

static void decodes_to(const struct tokenizer *t, const struct token_ids *ids,
                       const char *text, size_t len)
{
    struct text whole = {0}, streamed = {0};
    struct tokenizer_stream stream;

    CHECK_EQ(tokenizer_decode_text(t, ids->ptr, ids->len, 0, &whole), ERR_OK);
    CHECK_EQ(whole.len, len);
    CHECK(len == 0 || !memcmp(whole.ptr, text, len));

    tokenizer_stream_init(&stream, t, 0);
    for (size_t i = 0; i < ids->len; i++) {
        uint32_t cp;

        CHECK_EQ(tokenizer_stream_put(&stream, ids->ptr[i], &streamed), ERR_OK);
        for (size_t k = 0; k < streamed.len;) { // whole characters only
            int n = utf8_next(streamed.ptr + k, streamed.len - k, &cp);
            CHECK(n > 0);
            k += (size_t)n;
        }
    }
    CHECK_EQ(tokenizer_stream_end(&stream, &streamed), ERR_OK);
    CHECK_EQ(streamed.len, len);
    CHECK(len == 0 || !memcmp(streamed.ptr, text, len));
    text_release(&whole);
    text_release(&streamed);
}

static void encodes_to(const struct tokenizer *t, const char *text, size_t len,
                       const json_t *want)
{
    struct token_ids ids = {0};
    size_t i;
    json_t *id;

    CHECK_EQ(tokenizer_encode(t, text, len, TOKENIZER_ADD_SPECIAL, &ids),
             ERR_OK);
    CHECK_EQ(ids.len, json_array_size(want));
    json_array_foreach(want, i, id)
        CHECK_EQ(ids.ptr[i], json_integer_value(id));
    decodes_to(t, &ids, text, len);
    token_ids_release(&ids);
}

static void matches_golden(const char *dir)
{
    char path[256];
    size_t i;
    json_t *item;

    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    struct tokenizer *t = load(path);
    snprintf(path, sizeof path, "%s/golden.json", dir);
    json_t *golden = json_load_file(path, JSON_ALLOW_NUL, NULL);
    const json_t *texts = json_object_get(golden, "tokenizer");
    const json_t *greedy = json_object_get(golden, "greedy");

    CHECK(json_array_size(texts) >= 15);
    json_array_foreach(texts, i, item)
    {
        const json_t *text = json_object_get(item, "text");

        encodes_to(t, json_string_value(text), json_string_length(text),
                   json_object_get(item, "ids"));
    }
    json_array_foreach(greedy, i, item)
    {
        const json_t *text = json_object_get(item, "prompt");

        encodes_to(t, json_string_value(text), json_string_length(text),
                   json_object_get(item, "prompt_ids"));
    }
    json_decref(golden);
    tokenizer_free(t);
}

static void finds_special_tokens(void)
{
    struct tokenizer *t = load("ops/models/tales-gpt2/tokenizer.json");
    const char text[] = "a<|endoftext|>b";
    struct token_ids ids = {0};
    struct text out = {0};
    uint32_t id;

    CHECK_EQ(tokenizer_n_ids(t), 4096);
    CHECK(tokenizer_find(t, "<|endoftext|>", &id));
    CHECK_EQ(id, 0);
    CHECK(tokenizer_is_special(t, 0));
    CHECK(!tokenizer_is_special(t, 1));
    CHECK(!tokenizer_is_special(t, UINT32_MAX));
    CHECK(!tokenizer_find(t, "<|endoftex", &id));

    CHECK_EQ(tokenizer_encode(t, text, sizeof text - 1, 0, &ids), ERR_OK);
    CHECK_EQ(ids.len, 3);
    CHECK_EQ(ids.ptr[1], 0);
    CHECK_EQ(
        tokenizer_decode(t, ids.ptr, ids.len, TOKENIZER_SKIP_SPECIAL, &out),
        ERR_OK);
    CHECK_EQ(out.len, 2);

    ids.len = 0;
    CHECK_EQ(tokenizer_encode(t, text, sizeof text - 1, TOKENIZER_PLAIN, &ids),
             ERR_OK);
    CHECK(ids.len > 3);
    for (size_t i = 0; i < ids.len; i++)
        CHECK(ids.ptr[i] != 0);
    decodes_to(t, &ids, text, sizeof text - 1);
    token_ids_release(&ids);
    text_release(&out);
    tokenizer_free(t);
}

static void encodes_any_bytes(void)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"\xff", "\xEF\xBF\xBD"},
        {"a\xe2\x82", "a\xEF\xBF\xBD"},                // one cut-off character
        {"\xe2\x28\xa1", "\xEF\xBF\xBD(\xEF\xBF\xBD"}, // broken in the middle
        {"\xed\xa0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, // surrogate
        {"\xf0\x9f\x99\x82", "\xf0\x9f\x99\x82"},
        {"\xc0\xaf", "\xEF\xBF\xBD\xEF\xBF\xBD"}, // overlong
        {"\xf4\x90\x80\x80",
         "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    struct tokenizer *t = load("ops/models/tales-gpt2/tokenizer.json");

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct token_ids ids = {0};

        CHECK_EQ(tokenizer_encode(t, rows[i].in, strlen(rows[i].in), 0, &ids),
                 ERR_OK);
        decodes_to(t, &ids, rows[i].out, strlen(rows[i].out));
        token_ids_release(&ids);
    }
    tokenizer_free(t);
}

static void holds_back_cut_off_characters(void)
{
    struct tokenizer *t = load("ops/models/tales-gpt2/tokenizer.json");
    const char face[] = "\xf0\x9f\x99\x82"; // four tokens, one a byte
    struct token_ids ids = {0};
    struct text out = {0};
    struct tokenizer_stream s;

    CHECK_EQ(tokenizer_encode(t, face, 4, 0, &ids), ERR_OK);
    CHECK(ids.len >= 2);
    tokenizer_stream_init(&s, t, 0);
    for (size_t i = 0; i + 1 < ids.len; i++) {
        CHECK_EQ(tokenizer_stream_put(&s, ids.ptr[i], &out), ERR_OK);
        CHECK_EQ(out.len, 0);
    }
    // Ended here it is one unknown character, also as a whole text.
    struct tokenizer_stream cut = s;
    CHECK_EQ(tokenizer_stream_end(&cut, &out), ERR_OK);
    CHECK_EQ(out.len, 3);
    out.len = 0;
    CHECK_EQ(tokenizer_decode_text(t, ids.ptr, ids.len - 1, 0, &out), ERR_OK);
    CHECK(out.len == 3 && !memcmp(out.ptr, "\xEF\xBF\xBD", 3));
    out.len = 0;
    CHECK_EQ(tokenizer_stream_put(&s, ids.ptr[ids.len - 1], &out), ERR_OK);
    CHECK(out.len == 4 && !memcmp(out.ptr, face, 4));
    // An id past the vocabulary gives nothing.
    CHECK_EQ(tokenizer_stream_put(&s, 1u << 30, &out), ERR_OK);
    CHECK_EQ(out.len, 4);

    token_ids_release(&ids);
    text_release(&out);
    tokenizer_free(t);
}

// One word of a megabyte, which a quadratic BPE would not finish in an hour.
static void encodes_a_megabyte_of_one_character(void)
{
    static const char fills[] = {'a', ' ', '\n', '1', '.'};
    enum { LEN = 1 << 20 };
    struct tokenizer *t = load("ops/models/tales-gpt2/tokenizer.json");
    char *text = malloc(LEN);

    CHECK(text);
    for (size_t i = 0; i < sizeof fills; i++) {
        struct token_ids ids = {0};

        memset(text, fills[i], LEN);
        CHECK_EQ(tokenizer_encode(t, text, LEN, 0, &ids), ERR_OK);
        CHECK(ids.len > 0);
        token_ids_release(&ids);
    }
    free(text);
    tokenizer_free(t);
}

int main(void)
{
    matches_golden("ops/models/tales-gpt2");
    matches_golden("tests/models/tales-llama");
    finds_special_tokens();
    encodes_any_bytes();
    holds_back_cut_off_characters();
    encodes_a_megabyte_of_one_character();
    return 0;
}
