// The events of a streamed answer: pieces, stop strings, text that is taken
// back, the end. With the demo model's tokenizer.
#include "api/ask_stream.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "tokenizer/tokenizer.h"

struct world {
    struct api_models *models;
    struct api_ask_stream stream;
    struct token_ids ids;
    bool over;
};

static void begin(struct world *w, struct api_models *models, const char *stops)
{
    memset(w, 0, sizeof *w);
    w->models = models;
    w->stream.models = models;
    w->stream.model = &models->items[0];
    w->stream.id = "1";
    if (stops) {
        w->stream.stops = json_loads(stops, 0, NULL);
        w->stream.stop_len =
            json_string_length(json_array_get(w->stream.stops, 0));
    }
}

static void end(struct world *w)
{
    api_ask_stream_release(&w->stream);
    token_ids_release(&w->ids);
}

static void encode(struct world *w, const char *text)
{
    w->ids.len = 0;
    CHECK_EQ(tokenizer_encode(w->models->items[0].tokenizer, text, strlen(text),
                              0, &w->ids),
             ERR_OK);
}

// Choice 0 has got as far as text.
static void look(struct world *w, const char *text, uint32_t epoch)
{
    struct sched_ask_line line = {.epoch = epoch};
    struct sched_ask ask = {.n_lines = 1, .lines = &line, .n_open = 1};

    encode(w, text);
    line.tokens = w->ids.ptr;
    line.n_tokens = (uint32_t)w->ids.len;
    CHECK_EQ(api_ask_stream_look(&w->stream, &ask, &w->over), ERR_OK);
    CHECK(!w->over);
}

static void look_final(struct world *w, const char *text)
{
    static const uint8_t none[] = {0}, chat[] = {2};
    struct sched_result r = {.n_prompt = 5,
                             .finish = SCHED_FINISH_LENGTH,
                             .checker = {"c", "native-ref", 0},
                             .blob = {w->stream.chat ? chat : none, 1},
                             .model = "m"};
    struct sched_ask ask = {.n_lines = 1, .results = &r, .n_final = 1};
    char *stops =
        w->stream.stops ? json_dumps(w->stream.stops, JSON_COMPACT) : NULL;

    encode(w, text);
    r.tokens = w->ids.ptr;
    r.n_tokens = (uint32_t)w->ids.len;
    if (stops)
        r.stops = (struct bytes){(const uint8_t *)stops, strlen(stops)};
    CHECK_EQ(api_ask_stream_look(&w->stream, &ask, &w->over), ERR_OK);
    CHECK(w->over);
    free(stops);
}

// Take the next event from the stream. Returns its data; *name: its name or "".
static json_t *event(struct world *w, char name[32])
{
    struct text *out = &w->stream.out;
    const char *p = out->ptr, *stop;
    json_t *value;

    CHECK(out->len > 0);
    name[0] = '\0';
    if (strncmp(p, "event: ", 7) == 0) {
        stop = memchr(p, '\n', out->len);
        CHECK(stop && stop - p - 7 < 32);
        memcpy(name, p + 7, (size_t)(stop - p - 7));
        name[stop - p - 7] = '\0';
        p = stop + 1;
    }
    CHECK(strncmp(p, "data: ", 6) == 0);
    p += 6;
    stop = memchr(p, '\n', out->len - (size_t)(p - out->ptr));
    CHECK(stop && stop[1] == '\n');
    value = json_loadb(p, (size_t)(stop - p), 0, NULL);
    out->len -= (size_t)(stop + 2 - out->ptr);
    memmove(out->ptr, stop + 2, out->len);
    return value;
}

// The next event is a piece of text.
static void piece(struct world *w, const char *want, const char *finish)
{
    char name[32];
    json_t *value = event(w, name);
    const json_t *choice = json_array_get(json_object_get(value, "choices"), 0);
    const char *text = json_string_value(json_object_get(choice, "text"));
    const char *got =
        json_string_value(json_object_get(choice, "finish_reason"));

    CHECK(!*name && text && strcmp(text, want) == 0);
    CHECK(finish ? got && strcmp(got, finish) == 0 : !got);
    CHECK(!!json_object_get(value, "synapse") == !!finish);
    json_decref(value);
}

static void done(struct world *w)
{
    CHECK_EQ(w->stream.out.len, 14);
    CHECK(memcmp(w->stream.out.ptr, "data: [DONE]\n\n", 14) == 0);
}

static void text_comes_in_pieces(struct api_models *models)
{
    struct world w;

    begin(&w, models, NULL);
    look(&w, "", 0);
    CHECK_EQ(w.stream.out.len, 0);
    look(&w, " a king", 0);
    piece(&w, " a king", NULL);
    look(&w, " a king", 0);
    CHECK_EQ(w.stream.out.len, 0);
    look(&w, " a king and", 0);
    piece(&w, " and", NULL);
    look_final(&w, " a king and so");
    piece(&w, " so", NULL);
    piece(&w, "", "length");
    done(&w);
    end(&w);
}

static void text_is_taken_back(struct api_models *models)
{
    struct world w;
    char name[32];
    json_t *value;
    json_int_t index, position;

    begin(&w, models, NULL);
    look(&w, " a k\xc3\xb6nig", 0);
    piece(&w, " a k\xc3\xb6nig", NULL);
    look(&w, " a k\xc3\xa4se", 1); // the characters share their first byte
    value = event(&w, name);
    CHECK(strcmp(name, "retract") == 0);
    CHECK_EQ(json_unpack(value, "{s:[], s:{s:{s:I, s:I}}}", "choices",
                         "synapse", "retract", "index", &index, "position",
                         &position),
             0);
    CHECK(index == 0 && position == 4);
    json_decref(value);
    piece(&w, "\xc3\xa4se", NULL);
    end(&w);
}

static void what_may_begin_a_stop_string_waits(struct api_models *models)
{
    struct world w;

    begin(&w, models, "[\"king\"]");
    look(&w, " a ki", 0);
    piece(&w, " a", NULL); // three bytes may begin one
    look(&w, " a kite", 0);
    piece(&w, " k", NULL);
    look_final(&w, " a kite, a king");
    piece(&w, "ite, a ", NULL);
    piece(&w, "", "stop");
    done(&w);
    end(&w);
}

static void confirmed_only_waits_for_the_end(struct api_models *models)
{
    struct world w;
    json_t *value;
    char name[32];
    json_int_t n;

    begin(&w, models, NULL);
    w.stream.confirmed_only = true;
    w.stream.usage = true;
    look(&w, " a king", 0);
    CHECK_EQ(w.stream.out.len, 0);
    look_final(&w, " a king");
    piece(&w, " a king", NULL);
    piece(&w, "", "length");
    value = event(&w, name);
    CHECK_EQ(json_unpack(value, "{s:[], s:{s:I}}", "choices", "usage",
                         "total_tokens", &n),
             0);
    CHECK_EQ(n, 5 + (json_int_t)w.ids.len);
    json_decref(value);
    done(&w);
    end(&w);
}

// As look, with a log-probability of -q16 / 65536 for each token.
static void look_probs(struct world *w, const char *text, uint32_t q16)
{
    struct sched_ask_line line = {.epoch = 0};
    struct sched_ask ask = {.n_lines = 1, .lines = &line, .n_open = 1};
    uint8_t raw[256];
    struct bytes_out b = {raw, sizeof raw, 0, false};

    encode(w, text);
    line.tokens = w->ids.ptr;
    line.n_tokens = (uint32_t)w->ids.len;
    for (size_t i = 0; i < w->ids.len; i++)
        bytes_put_u32(&b, 0U - (i == 0 ? 65536 : q16));
    line.logprobs = (struct bytes){raw, b.len};
    CHECK_EQ(api_ask_stream_look(&w->stream, &ask, &w->over), ERR_OK);
}

// The next event is a piece of text with as many tokens' log-probabilities, the
// last of them this.
static void piece_probs(struct world *w, const char *want, size_t n,
                        double last)
{
    char name[32];
    json_t *value = event(w, name);
    const char *text;
    json_t *tokens, *probs;

    CHECK_EQ(json_unpack(value, "{s:[{s:s, s:{s:o, s:o}}]}", "choices", "text",
                         &text, "logprobs", "tokens", &tokens, "token_logprobs",
                         &probs),
             0);
    CHECK(strcmp(text, want) == 0);
    CHECK_EQ(json_array_size(tokens), n);
    CHECK_EQ(json_array_size(probs), n);
    CHECK(json_real_value(json_array_get(probs, n - 1)) == last);
    json_decref(value);
}

// Also where only the log-probability of a token was wrong.
static void log_probabilities_are_taken_back(struct api_models *models)
{
    struct world w;
    char name[32];

    begin(&w, models, NULL);
    look_probs(&w, " a king", 65536);
    piece_probs(&w, " a king", 2, -1);
    look_probs(&w, " a king and", 65536);
    piece_probs(&w, " and", 1, -1);
    look_probs(&w, " a king and", 32768);
    json_decref(event(&w, name));
    CHECK(strcmp(name, "retract") == 0);
    CHECK_EQ(w.stream.choices[0].n_told, 3);
    piece_probs(&w, " king and", 2, -0.5);
    CHECK_EQ(w.stream.out.len, 0);
    end(&w);
}

static void a_chat_has_deltas(struct api_models *models)
{
    struct world w;
    json_t *value;
    char name[32];
    const char *role, *content, *object;

    begin(&w, models, NULL);
    w.stream.chat = true;
    look(&w, " a king", 0);
    value = event(&w, name);
    CHECK_EQ(json_unpack(value, "{s:s, s:[{s:{s:s, s:s}}]}", "object", &object,
                         "choices", "delta", "role", &role, "content",
                         &content),
             0);
    CHECK(strcmp(object, "chat.completion.chunk") == 0);
    CHECK(strcmp(role, "assistant") == 0 && strcmp(content, " a king") == 0);
    json_decref(value);
    end(&w);
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
    text_comes_in_pieces(models);
    text_is_taken_back(models);
    what_may_begin_a_stop_string_waits(models);
    confirmed_only_waits_for_the_end(models);
    a_chat_has_deltas(models);
    log_probabilities_are_taken_back(models);
    tokenizer_free(models->items[0].tokenizer);
    free(models);
    return 0;
}
