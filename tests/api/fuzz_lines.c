// JSON Lines: any bytes as an uploaded input file are looked through and read
// line by line, as a file of either endpoint and as requests in line; each line
// becomes a request that the scheduler takes, or an error that is JSON.
#include <stdlib.h>
#include <string.h>

#include "api/batch_line.h"
#include "api/input_check.h"
#include "tokenizer/tokenizer.h"

enum { VOCAB = 512, CONTEXT = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A model with a byte-level tokenizer of a few tokens.
static struct api_models *models_new(void)
{
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,"
        "\"\\u0120\":3,\"x\":4},\"merges\":[\"a b\"]},"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
        "\"decoder\":{\"type\":\"ByteLevel\"},\"added_tokens\":[]}";
    struct api_models *models = calloc(1, sizeof *models);
    char why[200] = "";

    if (!models ||
        tokenizer_parse(json, sizeof json - 1, &models->items[0].tokenizer, why,
                        sizeof why))
        abort();
    models->n = 1;
    strcpy(models->items[0].manifest.name, "m");
    models->items[0].manifest.arch.n_vocab = VOCAB;
    models->items[0].manifest.arch.n_ctx = CONTEXT;
    return models;
}

static void look(const struct api_batch_line *line)
{
    const struct sched_line *l = &line->line;
    json_t *error;

    if (l->custom_id.len == 0 || l->custom_id.len > SCHED_CUSTOM_ID_MAX)
        abort();
    if (line->error) {
        error = json_loads(line->error, 0, NULL);
        if (!json_is_string(json_object_get(error, "code")) ||
            !json_is_string(json_object_get(error, "message")) ||
            !json_is_string(json_object_get(error, "param")))
            abort();
        json_decref(error);
    } else if (l->n_prompt == 0 || l->n_prompt >= CONTEXT ||
               l->max_tokens == 0 || l->n_choices == 0 ||
               l->n_choices > SCHED_CHOICES_MAX || l->sampling.top_p_q16 == 0 ||
               l->sampling.top_p_q16 > 65536 || l->n_bias > API_BIAS_MAX ||
               l->sampling.n_top > SYN1_TOP_MAX) {
        abort();
    }
}

static void read_all(const struct api_line_rules *rules, const char *text,
                     size_t size)
{
    uint64_t number = 0;

    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t len = end ? (size_t)(end - text) : size;
        struct api_batch_line line;

        if (api_batch_line_read(rules, number++, text, len, &line) == ERR_OK)
            look(&line);
        api_batch_line_release(&line);
        text += len + (end ? 1 : 0);
        size -= len + (end ? 1 : 0);
    }
}

static void check_all(const char *endpoint, const char *text, size_t size)
{
    struct api_input_check check;
    bool ok = true;

    if (api_input_check_init(&check, endpoint))
        abort();
    while (ok && size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t len = end ? (size_t)(end - text) : size;

        ok = api_input_check_line(&check, text, len);
        text += len + (end ? 1 : 0);
        size -= len + (end ? 1 : 0);
    }
    ok = ok && api_input_check_end(&check);
    if (!ok && (!check.code || !*check.why || check.n_lines == 0))
        abort();
    api_input_check_release(&check);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct api_models *models; // loaded once; it never changes
    const char *text = (const char *)data;

    if (!models)
        models = models_new();
    check_all(API_ENDPOINT_TEXT, text, size);
    for (int i = 0; i < 4; i++) {
        struct api_line_rules rules = {
            .models = models, .chat = i & 1, .wrapped = i & 2};

        read_all(&rules, text, size);
    }
    return 0;
}
