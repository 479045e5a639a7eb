// Files that are wrong or ask for what is not supported: a named error each.
#include <string.h>

#include "check.h"
#include "small.h"
#include "tokenizer/tokenizer.h"

#define WITH(part)   "{" SMALL_MODEL "," SMALL_DECODER "," part "}"
#define MODEL(model) "{\"model\":{" model "}," SMALL_DECODER "}"
#define PRETOK(part) WITH("\"pre_tokenizer\":" part)
#define REGEX(source)                                                    \
    PRETOK("{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{" \
           "\"Regex\":\"" source "\"}}")
#define DECODER(part) "{" SMALL_MODEL ",\"decoder\":" part "}"
#define ADDED(part)   WITH("\"added_tokens\":[" part "]")

static const struct {
    const char *json;
    enum err err;
    const char *why; // is in the line
} rows[] = {
    {"", ERR_FORMAT, "line "},
    {"[]", ERR_FORMAT, "must hold an object"},
    {"{}", ERR_FORMAT, "model must be"},
    {SMALL "x", ERR_FORMAT, "line 1"},
    {"{\"model\":1,\"model\":2}", ERR_FORMAT, "duplicate"},
    // model
    {MODEL("\"type\":\"Unigram\""), ERR_UNSUPPORTED, "model Unigram"},
    {MODEL("\"vocab\":{\"a\":0}"), ERR_UNSUPPORTED, "without a type"},
    {MODEL("\"type\":\"BPE\",\"dropout\":0.1," SMALL_VOCAB), ERR_UNSUPPORTED,
     "dropout"},
    {MODEL("\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\"," SMALL_VOCAB),
     ERR_UNSUPPORTED, "end_of_word_suffix \"</w>\""},
    {MODEL("\"type\":\"BPE\",\"byte_fallback\":3"), ERR_FORMAT,
     "byte_fallback must be true or false"},
    {MODEL("\"type\":\"BPE\",\"vocab\":[]"), ERR_FORMAT, "model.vocab"},
    {MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":\"1\"}"), ERR_RANGE,
     "the id of \"a\""},
    {MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":-1}"), ERR_RANGE,
     "the id of \"a\""},
    {MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":1048576}"), ERR_RANGE,
     "the id of \"a\""},
    {MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":99999999999999999999}"),
     ERR_FORMAT, "too big integer"},
    {MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":1,\"b\":1}"), ERR_EXISTS,
     "id 1: already there"},
    {MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":1,\"a\":2}"), ERR_FORMAT,
     "duplicate"},
    {MODEL("\"type\":\"BPE\"," SMALL_VOCAB), ERR_FORMAT, "merges must be"},
    {MODEL("\"type\":\"BPE\"," SMALL_VOCAB ",\"merges\":[\"a x\"]"),
     ERR_NOT_FOUND, "merges[0]: \"x\" is no token"},
    {MODEL("\"type\":\"BPE\"," SMALL_VOCAB ",\"merges\":[\"a b\",\"c a\"]"),
     ERR_NOT_FOUND, "merges[1] makes \"ca\""},
    {MODEL("\"type\":\"BPE\"," SMALL_VOCAB ",\"merges\":[\"ab\"]"), ERR_FORMAT,
     "merges[0] must be"},
    {MODEL("\"type\":\"BPE\"," SMALL_VOCAB ",\"merges\":[\"a b c\"]"),
     ERR_FORMAT, "merges[0] must be"},
    {MODEL("\"type\":\"BPE\"," SMALL_VOCAB ",\"merges\":[[\"a\",2]]"),
     ERR_FORMAT, "merges[0] must be"},
    {MODEL("\"type\":\"BPE\"," SMALL_VOCAB ",\"merges\":[[\"a\"]]"), ERR_FORMAT,
     "merges[0] must be"},
    {MODEL("\"type\":\"BPE\",\"unk_token\":\"<u>\"," SMALL_VOCAB
           "," SMALL_MERGES),
     ERR_NOT_FOUND, "unk_token \"<u>\""},
    // added tokens
    {WITH("\"added_tokens\":{}"), ERR_FORMAT, "added_tokens must be"},
    {ADDED("1"), ERR_FORMAT, "added_tokens[0] must be"},
    {ADDED("{\"content\":\"x\"}"), ERR_FORMAT, "added_tokens[0].id"},
    {ADDED("{\"id\":1048576,\"content\":\"x\"}"), ERR_RANGE,
     "added_tokens[0].id must be 0 to 1048575"},
    {ADDED("{\"id\":11,\"content\":\"\"}"), ERR_FORMAT, "content is empty"},
    {ADDED("{\"id\":11,\"content\":\"a\"}"), ERR_EXISTS,
     "added_tokens[0].id is 11, in model.vocab it is 1"},
    {ADDED("{\"id\":3,\"content\":\"x\"}"), ERR_EXISTS, "already there"},
    {ADDED("{\"id\":11,\"content\":\"x\"},{\"id\":12,\"content\":\"x\"}"),
     ERR_EXISTS, "added_tokens[1], \"x\", id 12"},
    {ADDED("{\"id\":11,\"content\":\"x\",\"lstrip\":1}"), ERR_FORMAT,
     "lstrip must be true or false"},
    // normaliser
    {WITH("\"normalizer\":{\"type\":\"Precompiled\"}"), ERR_UNSUPPORTED,
     "normalizer Precompiled"},
    {WITH("\"normalizer\":\"NFC\""), ERR_FORMAT, "normalizer must be"},
    {WITH("\"normalizer\":{\"type\":\"Sequence\"}"), ERR_FORMAT,
     "normalizer.normalizers"},
    {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":\" \"}"),
     ERR_FORMAT, "normalizer.pattern must be"},
    {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"}"
          "}"),
     ERR_FORMAT, "normalizer.pattern is empty"},
    // pre-tokeniser
    {PRETOK("{\"type\":\"BertPreTokenizer\"}"), ERR_UNSUPPORTED,
     "pre_tokenizer BertPreTokenizer"},
    {PRETOK("{}"), ERR_FORMAT, "pre_tokenizer.type is missing"},
    {PRETOK("{\"type\":\"Split\",\"behavior\":\"Once\",\"pattern\":{"
            "\"String\":\" \"}}"),
     ERR_UNSUPPORTED, "behavior Once"},
    {PRETOK("{\"type\":\"Metaspace\",\"replacement\":\"ab\"}"), ERR_FORMAT,
     "one character"},
    {REGEX("a("), ERR_FORMAT, "regular expression: missing"},
    {REGEX("\\\\p{Nope}"), ERR_FORMAT, "regular expression: unknown property"},
    {REGEX("[a-z&&[^b]]"), ERR_UNSUPPORTED, "a set within a set"},
    {REGEX("[]a]"), ERR_UNSUPPORTED, "an empty set"},
    {REGEX("\\\\h"), ERR_UNSUPPORTED, "\\h is not"},
    {REGEX("(a)\\\\1"), ERR_UNSUPPORTED, "\\1 is not"},
    {REGEX("(?m:a)"), ERR_UNSUPPORTED, "(?m: is not"},
    {REGEX("(*UTF)a"), ERR_UNSUPPORTED, "(* is not"},
    {REGEX("a{1,2}+"), ERR_UNSUPPORTED, "}+"},
    {REGEX("[\\\\S]"), ERR_UNSUPPORTED, "\\S is not"},
    {REGEX("a\\\\"), ERR_UNSUPPORTED, "is not supported"},
    {REGEX("\\\\p"), ERR_UNSUPPORTED, "\\p is not"},
    {REGEX("\\\\u12"), ERR_UNSUPPORTED, "\\u is not"},
    // post-processor
    {WITH("\"post_processor\":{\"type\":\"BertProcessing\"}"), ERR_UNSUPPORTED,
     "post_processor BertProcessing"},
    {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}"),
     ERR_UNSUPPORTED, "has 0 Sequences"},
    {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{"
          "\"SpecialToken\":{\"id\":\"<s>\"}}]}"),
     ERR_NOT_FOUND, "special_tokens has no \"<s>\""},
    {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{"
          "\"SpecialToken\":{\"id\":\"<s>\"}}],\"special_tokens\":{\"<s>\":{"
          "\"ids\":[10]}}}"),
     ERR_RANGE, "ids must be token ids"},
    // decoder
    {"{" SMALL_MODEL "}", ERR_UNSUPPORTED, "decoder null"},
    {DECODER("{\"type\":\"CTC\"}"), ERR_UNSUPPORTED, "decoder CTC"},
    {DECODER("{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{"
             "\"type\":\"ByteFallback\"}]}"),
     ERR_UNSUPPORTED, "ByteFallback after Fuse"},
    {DECODER("{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{"
             "\"type\":\"Strip\",\"content\":\" \",\"start\":0,\"stop\":1}]}"),
     ERR_UNSUPPORTED, "Strip off the end"},
    {DECODER("{\"type\":\"Strip\",\"content\":\" \",\"start\":-1}"), ERR_RANGE,
     "decoder.start"},
};

static void refuses_by_name(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tokenizer *t = NULL;
        char why[256] = "";
        enum err err = tokenizer_parse(rows[i].json, strlen(rows[i].json), &t,
                                       why, sizeof why);

        if (err != rows[i].err || !strstr(why, rows[i].why) || t ||
            strchr(why, '\n')) {
            fprintf(stderr, "%s\ngave: %s (%s)\n", rows[i].json, why,
                    err_text(err));
            exit(1);
        }
    }
}

static void refuses_every_prefix(void)
{
    static const char json[] = SMALL;

    for (size_t len = 0; len < sizeof json - 1; len++) {
        // An exact-size copy lets AddressSanitizer see a one-byte overread.
        char *cut = malloc(len ? len : 1);
        struct tokenizer *t = NULL;
        char why[64];

        CHECK(cut);
        memcpy(cut, json, len);
        CHECK_EQ(tokenizer_parse(cut, len, &t, why, sizeof why), ERR_FORMAT);
        CHECK(!t);
        free(cut);
    }
}

static void refuses_missing_files(void)
{
    struct tokenizer *t = NULL;
    char why[128], tiny[1];

    CHECK_EQ(tokenizer_load("no/such/tokenizer.json", &t, why, sizeof why),
             ERR_NOT_FOUND);
    CHECK(strstr(why, "no/such/tokenizer.json"));
    CHECK_EQ(tokenizer_load("tests", &t, tiny, sizeof tiny), ERR_IO);
    CHECK_EQ(tiny[0], '\0');
    CHECK(!t);
}

// Nesting deeper than any real file.
static void refuses_deep_sequences(void)
{
    enum { DEPTH = 40 };
    static const char head[] =
        "{" SMALL_MODEL "," SMALL_DECODER ",\"normalizer\":";
    static const char open[] = "{\"type\":\"Sequence\",\"normalizers\":[";
    struct text json = {0};
    struct tokenizer *t = NULL;
    char why[128];

    CHECK_EQ(text_put(&json, head, sizeof head - 1), ERR_OK);
    for (int i = 0; i < DEPTH; i++)
        CHECK_EQ(text_put(&json, open, sizeof open - 1), ERR_OK);
    for (int i = 0; i < DEPTH; i++)
        CHECK_EQ(text_put(&json, "]}", 2), ERR_OK);
    CHECK_EQ(text_put(&json, "}", 1), ERR_OK);
    CHECK_EQ(tokenizer_parse(json.ptr, json.len, &t, why, sizeof why),
             ERR_RANGE);
    CHECK(strstr(why, "normalizer: over 8 steps"));
    text_release(&json);
}

int main(void)
{
    refuses_by_name();
    refuses_every_prefix();
    refuses_missing_files();
    refuses_deep_sequences();
    return 0;
}
