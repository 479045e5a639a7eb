// Stop strings and the JSON of a result, with the demo model's tokenizer.
#include "api/result_line.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "tokenizer/tokenizer.h"

static struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

// Wherever the new tokens begin: the token that completes the first stop
// string is the last that is kept.
static void cuts_at_the_first_stop(struct api_models *models)
{
    static const struct {
        const char *text, *stops, *kept; // kept NULL: nothing is cut
    } cases[] = {
        {" there was a king. He had", "[\".\"]", " there was a king."},
        {" there was a king. He had", "[\"zebra\"]", NULL},
        {" there was a king. He had", "[\"zebra\",\"was a\"]", " there was a"},
        {" there was a king. He had", "[\"re w\"]", " there was"},
        {" there was a king. He had", "[\" there\"]", " there"},
        {" caf\xc3\xa9 \xe2\x82\xac 5", "[\"\xe2\x82\xac\"]",
         " caf\xc3\xa9 \xe2\x82\xac"},
    };
    const struct tokenizer *t = models->items[0].tokenizer;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct token_ids ids = {0};
        uint32_t end = 0; // tokens up to the one that completes the stop

        CHECK_EQ(
            tokenizer_encode(t, cases[i].text, strlen(cases[i].text), 0, &ids),
            ERR_OK);
        for (struct text text = {0}; cases[i].kept && !end;) {
            for (uint32_t n = 1; n <= ids.len && !end; n++) {
                text.len = 0;
                CHECK_EQ(tokenizer_decode(t, ids.ptr, n, 0, &text), ERR_OK);
                if (text.len >= strlen(cases[i].kept))
                    end = n;
            }
            text_release(&text);
        }
        for (uint32_t n_new = 1; n_new <= ids.len; n_new++) {
            struct sched_cut_ask ask = {.model = "m",
                                        .n_tokens = (uint32_t)ids.len,
                                        .n_new = n_new,
                                        .tokens = ids.ptr,
                                        .stops =
                                            (const uint8_t *)cases[i].stops,
                                        .stops_len = strlen(cases[i].stops)};
            struct sched_cut cut = api_result_cut(&ask, models);
            uint32_t old = (uint32_t)ids.len - n_new;

            CHECK_EQ(cut.stopped, cases[i].kept != NULL);
            if (!cases[i].kept)
                CHECK_EQ(cut.keep, n_new);
            else if (old < end)
                CHECK_EQ(cut.keep, end - old);
        }
        token_ids_release(&ids);
    }
}

static json_t *line_of(struct api_models *models,
                       const struct sched_result *result)
{
    char *text = NULL;
    json_t *line;

    CHECK_EQ(api_result_line(models, NULL, "batch_77", result, &text), ERR_OK);
    CHECK(!strchr(text, '\n'));
    line = json_loads(text, 0, NULL);
    CHECK(line);
    free(text);
    return line;
}

static void lines_are_as_documented(struct api_models *models)
{
    static const uint8_t greedy[] = {1};
    struct token_ids ids = {0};
    struct sched_result r = {
        .number = 3,
        .custom_id = bytes_of("my \"id\""),
        .finish = SCHED_FINISH_LENGTH,
        .n_prompt = 5,
        .seed = 99,
        .final_ms = 1700000000123,
        .n_makers = 1,
        .makers = {{"a\\b", "wasm-simd", 0}},
        .checker = {"c", "native-ref", 0},
        .stops = bytes_of("[\"king\"]"),
        .blob = {greedy, sizeof greedy},
        .model = "m",
    };
    const char *id, *text, *finish;
    json_int_t n;
    json_t *line, *seed;

    CHECK_EQ(
        tokenizer_encode(models->items[0].tokenizer, " a king", 7, 0, &ids),
        ERR_OK);
    r.tokens = ids.ptr;
    r.n_tokens = (uint32_t)ids.len;
    line = line_of(models, &r);
    CHECK_EQ(json_unpack(line,
                         "{s:s, s:{s:{s:[{s:s, s:s}], s:{s:I}, s:{s:o}}}}",
                         "id", &id, "response", "body", "choices", "text",
                         &text, "finish_reason", &finish, "usage",
                         "total_tokens", &n, "synapse", "seed", &seed),
             0);
    CHECK(strcmp(id, "batch_req_77_3") == 0);
    CHECK(strcmp(text, " a ") == 0); // the stop string itself is not told
    CHECK(strcmp(finish, "stop") == 0);
    CHECK_EQ(n, 5 + (json_int_t)ids.len);
    CHECK(json_is_null(seed)); // greedy: there is none
    json_decref(line);

    r.blob.len = 0;
    r.stops.len = 0;
    line = line_of(models, &r);
    CHECK_EQ(json_unpack(line, "{s:{s:{s:[{s:s, s:s}], s:{s:I}}}}", "response",
                         "body", "choices", "text", &text, "finish_reason",
                         &finish, "synapse", "seed", &n),
             0);
    CHECK(strcmp(text, " a king") == 0 && strcmp(finish, "length") == 0);
    CHECK_EQ(n, 99);
    json_decref(line);

    r.error = bytes_of("{\"code\":\"c\",\"message\":\"m\",\"param\":\"p\"}");
    line = line_of(models, &r);
    CHECK_EQ(json_unpack(line, "{s:n, s:{s:s}}", "response", "error", "param",
                         &text),
             0);
    CHECK(strcmp(text, "p") == 0);
    json_decref(line);
    token_ids_release(&ids);
}

static void unknown_models_are_named(struct api_models *models)
{
    struct sched_result r = {.model = "other", .n_tokens = 0};
    char *text = NULL;

    CHECK_EQ(api_result_line(models, NULL, "batch_1", &r, &text),
             ERR_NOT_FOUND);
    CHECK(!text);
}

int main(void)
{
    struct api_models *models = calloc(1, sizeof *models);
    char why[256] = "";

    CHECK(models);
    CHECK_EQ(tokenizer_load("ops/models/tales-gpt2/tokenizer.json",
                            &models->items[0].tokenizer, why, sizeof why),
             ERR_OK);
    strcpy(models->items[0].manifest.name, "m");
    models->n = 1;
    cuts_at_the_first_stop(models);
    lines_are_as_documented(models);
    unknown_models_are_named(models);
    tokenizer_free(models->items[0].tokenizer);
    free(models);
    return 0;
}
