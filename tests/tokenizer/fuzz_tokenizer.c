// fuzz_tokenizer.c - any bytes as tokenizer.json; what loads must encode and
// decode the rest of the input. The input is the file, a zero byte, the text.
#include <string.h>

#include "check.h"
#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void streams_like_the_whole(const struct tokenizer *t,
                                   const struct token_ids *ids)
{
    struct text whole = {0}, streamed = {0};
    struct tokenizer_stream s;

    CHECK_EQ(tokenizer_decode_text(t, ids->ptr, ids->len, 0, &whole), ERR_OK);
    tokenizer_stream_init(&s, t, 0);
    for (size_t i = 0; i < ids->len; i++)
        CHECK_EQ(tokenizer_stream_put(&s, ids->ptr[i], &streamed), ERR_OK);
    CHECK_EQ(tokenizer_stream_end(&s, &streamed), ERR_OK);
    CHECK_EQ(streamed.len, whole.len);
    CHECK(whole.len == 0 || !memcmp(streamed.ptr, whole.ptr, whole.len));
    text_release(&whole);
    text_release(&streamed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *json = (const char *)data;
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t len = zero ? (size_t)(zero - data) : size;
    struct tokenizer *t = NULL;
    char why[100];
    enum err err = tokenizer_parse(json, len, &t, why, sizeof why);

    CHECK((err == ERR_OK) == (t != NULL));
    CHECK(err == ERR_OK || strlen(why) > 0);
    if (err)
        return 0;

    struct token_ids ids = {0};
    const char *text = zero ? (const char *)zero + 1 : json;
    err = tokenizer_encode(t, text, zero ? size - len - 1 : len,
                           TOKENIZER_ADD_SPECIAL, &ids);
    CHECK(err == ERR_OK || err == ERR_FULL || err == ERR_NOMEM);
    for (size_t i = 0; i < ids.len; i++)
        CHECK(ids.ptr[i] < tokenizer_n_ids(t));
    streams_like_the_whole(t, &ids);
    token_ids_release(&ids);
    tokenizer_free(t);
    return 0;
}
