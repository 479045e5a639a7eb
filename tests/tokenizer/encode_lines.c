// encode_lines TOKENIZER.json - for each line of standard input, a JSON string,
// prints one line: {"ids": [...], "text": the ids decoded, without special
// tokens}. compare.test.mjs sets it beside another implementation.
#include <jansson.h>
#include <string.h>

#include "check.h"
#include "tokenizer/tokenizer.h"

static json_t *answer(const struct tokenizer *t, const json_t *line)
{
    struct token_ids ids = {0};
    struct text text = {0};
    struct tokenizer_stream stream;
    json_t *list = json_array();

    CHECK(json_is_string(line));
    CHECK_EQ(tokenizer_encode(t, json_string_value(line),
                              json_string_length(line), TOKENIZER_ADD_SPECIAL,
                              &ids),
             ERR_OK);
    tokenizer_stream_init(&stream, t, TOKENIZER_SKIP_SPECIAL);
    for (size_t i = 0; i < ids.len; i++) {
        CHECK_EQ(json_array_append_new(list, json_integer(ids.ptr[i])), 0);
        CHECK_EQ(tokenizer_stream_put(&stream, ids.ptr[i], &text), ERR_OK);
    }
    CHECK_EQ(tokenizer_stream_end(&stream, &text), ERR_OK);

    json_t *out = json_pack("{s:o, s:s%}", "ids", list, "text",
                            text.len ? text.ptr : "", text.len);
    CHECK(out);
    token_ids_release(&ids);
    text_release(&text);
    return out;
}

int main(int argc, char **argv)
{
    struct tokenizer *t;
    char why[256];

    CHECK_EQ(argc, 2);
    if (tokenizer_load(argv[1], &t, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    for (;;) {
        json_error_t at;
        json_t *line = json_loadf(
            stdin, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL,
            &at);
        if (!line)
            break;
        json_t *out = answer(t, line);
        CHECK_EQ(json_dumpf(out, stdout, JSON_COMPACT), 0);
        putchar('\n');
        json_decref(out);
        json_decref(line);
    }
    tokenizer_free(t);
    return 0;
}
