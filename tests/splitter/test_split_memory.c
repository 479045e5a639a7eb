// Splitting is streamed: whatever the size of a model, what is in memory at
// once is less than its largest tensor. Allocations of the splitter are
// counted, and so are the pages of the mapped weights. The program runs in the
// repository's root.
#define _GNU_SOURCE // malloc_usable_size
#include <malloc.h>
#include <string.h>

#include "check.h"
#include "scratch.h"
#include "splitter/split.h"

enum {
    LAYERS = 40,
    D = 128,
    FF = 352,
    VOCAB = 16384,
    KV = 64,
    LARGEST = VOCAB * D * 2,                                   // bytes, F16
    LAYER = 2 * (2 * D + 2 * D * D + 2 * KV * D + 3 * FF * D), // bytes
    HEADER_MAX = 1 << 18,
    LOOK_EVERY = 16, // steps of progress
};

// The linker sends the library's calls here.
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *text);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *text);
void __wrap_free(void *p);

static size_t held, most; // bytes

static void *count(void *p)
{
    held += p ? malloc_usable_size(p) : 0;
    most = held > most ? held : most;
    return p;
}

void *__wrap_malloc(size_t n)
{
    return count(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return count(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    held -= p ? malloc_usable_size(p) : 0;
    return count(__real_realloc(p, n));
}

char *__wrap_strdup(const char *text)
{
    return count(__real_strdup(text));
}

// What jansson allocated is given back by itself.
void __wrap_free(void *p)
{
    held -= p ? malloc_usable_size(p) : 0;
    __real_free(p);
}

// Pages of files that are in memory, in bytes.
static size_t mapped(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    size_t kb = 0;

    CHECK(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "RssFile:", 8) == 0)
            kb = strtoul(line + 8, NULL, 10);
    CHECK_EQ(fclose(f), 0);
    CHECK(kb > 0);
    return kb << 10;
}

static size_t most_mapped;

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    unsigned *step = ctx;

    CHECK(done <= total);
    if (++*step % LOOK_EVERY)
        return;
    size_t now = mapped();
    most_mapped = now > most_mapped ? now : most_mapped;
}

struct header {
    char text[HEADER_MAX];
    size_t len, at;
};

static void add(struct header *h, const char *name, size_t rows, size_t cols)
{
    size_t end = h->at + rows * (cols ? cols : 1) * 2;
    char shape[64];

    snprintf(shape, sizeof shape, cols ? "%zu,%zu" : "%zu", rows, cols);
    h->len += (size_t)snprintf(h->text + h->len, HEADER_MAX - h->len,
                               "%c\"%s\":{\"dtype\":\"F16\",\"shape\":[%s],"
                               "\"data_offsets\":[%zu,%zu]}",
                               h->at ? ',' : '{', name, shape, h->at, end);
    CHECK(h->len < HEADER_MAX - 2);
    h->at = end;
}

static void add_layer(struct header *h, int layer)
{
    static const struct {
        const char *name;
        size_t rows, cols;
    } tensors[] = {
        {"input_layernorm", D, 0},   {"self_attn.q_proj", D, D},
        {"self_attn.k_proj", KV, D}, {"self_attn.v_proj", KV, D},
        {"self_attn.o_proj", D, D},  {"post_attention_layernorm", D, 0},
        {"mlp.gate_proj", FF, D},    {"mlp.up_proj", FF, D},
        {"mlp.down_proj", D, FF},
    };

    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        char name[128];

        snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer,
                 tensors[i].name);
        add(h, name, tensors[i].rows, tensors[i].cols);
    }
}

static void write_model(const struct scratch *dir)
{
    static struct header h;
    uint16_t *data;
    uint8_t *tokenizer;
    size_t len;

    add(&h, "model.embed_tokens.weight", VOCAB, D);
    add(&h, "lm_head.weight", VOCAB, D);
    add(&h, "model.norm.weight", D, 0);
    for (int i = 0; i < LAYERS; i++)
        add_layer(&h, i);
    strcat(h.text, "}");
    data = __real_malloc(h.at);
    CHECK(data);
    for (size_t i = 0; i < h.at / 2; i++) // 0.5 to 1, and less than 0 as often
        data[i] = (uint16_t)(0x3800 | (i * 2654435761u >> 7 & 0x83ff));
    scratch_put_safetensors(dir, "model.safetensors", h.text, data, h.at);
    __real_free(data);
    scratch_put_text(dir, "config.json",
                     "{\"model_type\":\"llama\",\"hidden_act\":\"silu\","
                     "\"hidden_size\":128,\"intermediate_size\":352,"
                     "\"max_position_embeddings\":64,"
                     "\"num_attention_heads\":4,\"num_hidden_layers\":40,"
                     "\"num_key_value_heads\":2,\"rms_norm_eps\":1e-05,"
                     "\"rope_theta\":10000.0,\"tie_word_embeddings\":false,"
                     "\"vocab_size\":16384,\"bos_token_id\":0,"
                     "\"eos_token_id\":0}");
    tokenizer = scratch_get("tests/models/tales-llama/tokenizer.json", &len);
    scratch_put(dir, "tokenizer.json", tokenizer, len);
    __real_free(tokenizer);
}

int main(void)
{
    struct scratch in, out;
    char path[SCRATCH_PATH_MAX], why[256] = "";
    unsigned steps = 0;
    size_t before = 0, mapped_before = 0;

    _Static_assert(LAYERS * LAYER > 3 * LARGEST, "the model is the larger one");
    scratch_init(&in);
    scratch_init(&out);
    write_model(&in);
    struct split_options options = {.hf_dir = in.path,
                                    .out_dir = scratch_path(&out, "new", path),
                                    .name = "large",
                                    .n_shards = 4,
                                    .equalise = true};
    for (int i = 0; i < 2; i++) { // the program's own pages come in at first
        enum err err;

        before = most = held;
        mapped_before = most_mapped = mapped();
        err = split_run(&options, on_progress, &steps, why, sizeof why);
        if (err)
            fprintf(stderr, "%s\n", why);
        CHECK_EQ(err, ERR_OK);
    }
    CHECK(steps > 10 * LOOK_EVERY);
    printf("of %d bytes, the largest tensor with %d: %zu allocated, %zu "
           "mapped at once\n",
           2 * LARGEST + LAYERS * LAYER, LARGEST, most - before,
           most_mapped - mapped_before);
    CHECK(most - before < LARGEST);
    // the kernel brings in as much as 2 MB around what is read, here and there
    CHECK(most_mapped - mapped_before < 2 * LARGEST);
    scratch_release(&in);
    scratch_release(&out);
    return 0;
}
