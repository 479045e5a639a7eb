// run.c - `synapse run`: continue a prompt on this machine.
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sampling.h"
#include "cli.h"
#include "engine/local.h"
#include "whole_model.h"

static const char help[] =
    "usage: synapse run MODEL_DIR --prompt TEXT [options]\n"
    "\n"
    "Prints what the model of a folder made by `synapse split` writes after\n"
    "TEXT, as it comes. The grid gives the same text for the same numbers.\n"
    "\n"
    "  --max-tokens N     at most so many tokens (default: 64)\n"
    "  --temperature T    0 to 2; 0 takes the best token (default: 0)\n"
    "  --top-p P          above 0 to 1 (default: 1)\n"
    "  --top-k K          of the K best only; 0: all (default)\n"
    "  --seed S           which of the possible texts (default: 0)\n"
    "  --isa NAME         " WHOLE_MODEL_ISAS " (default: best)\n"
    "  --threads N        compute on so many threads (default: 1)\n"
    "  --json             print one JSON object: text, tokens (their ids),\n"
    "                     prompt_tokens, completion_tokens, finish_reason\n"
    "  --stats            print tokens per second to stderr\n";

enum {
    OPT_PROMPT = 1,
    OPT_MAX_TOKENS,
    OPT_TEMPERATURE,
    OPT_TOP_P,
    OPT_TOP_K,
    OPT_SEED,
    OPT_ISA,
    OPT_THREADS,
    OPT_JSON,
    OPT_STATS,
    OPT_HELP,
};

static const struct option longopts[] = {
    {"prompt", required_argument, NULL, OPT_PROMPT},
    {"max-tokens", required_argument, NULL, OPT_MAX_TOKENS},
    {"temperature", required_argument, NULL, OPT_TEMPERATURE},
    {"top-p", required_argument, NULL, OPT_TOP_P},
    {"top-k", required_argument, NULL, OPT_TOP_K},
    {"seed", required_argument, NULL, OPT_SEED},
    {"isa", required_argument, NULL, OPT_ISA},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"json", no_argument, NULL, OPT_JSON},
    {"stats", no_argument, NULL, OPT_STATS},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

struct run_options {
    struct whole_model_options model;
    const char *prompt;
    uint32_t max_tokens;
    struct syn1_sampling sampling;
    bool json, stats;
};

// One text being made.
struct run {
    const struct run_options *options;
    const struct manifest *manifest;
    struct tokenizer_stream stream;
    struct token_ids ids; // generated, the ending one left out
    struct text text;     // of all of them
    size_t printed;       // bytes of text that are on stdout
    enum err err;
};

// A decimal fraction, and nothing else.
static bool number_read(const char *text, double *out)
{
    char *end;
    double v = strtod(text, &end);

    if (end == text || *end || strspn(text, "0123456789.") != strlen(text))
        return false;
    *out = v;
    return true;
}

// The options that are numbers. NULL, or what was expected.
static const char *number_option(int opt, const char *arg,
                                 struct run_options *o, double *temperature,
                                 double *top_p)
{
    uint64_t n = 0;

    switch (opt) {
    case OPT_MAX_TOKENS:
        if (!cli_u64(arg, 1, SYN1_POS_MAX, &n))
            return "--max-tokens: 1 or more";
        o->max_tokens = (uint32_t)n;
        return NULL;
    case OPT_TEMPERATURE:
        return number_read(arg, temperature) ? NULL : "--temperature: 0 to 2";
    case OPT_TOP_P:
        return number_read(arg, top_p) ? NULL : "--top-p: above 0 to 1";
    case OPT_TOP_K:
        if (!cli_u64(arg, 0, UINT32_MAX, &n))
            return "--top-k: 0 or more";
        o->sampling.top_k = (uint32_t)n;
        return NULL;
    default: // OPT_SEED
        if (!cli_u64(arg, 0, UINT64_MAX, &n))
            return "--seed: 0 or more";
        o->sampling.seed = n;
        return NULL;
    }
}

// Read the options into *o. -1: go on; else the exit status.
static int options_read(int argc, char **argv, struct run_options *o)
{
    double temperature = 0, top_p = 1;
    const char *wrong = NULL;
    int opt;

    while ((opt = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        switch (opt) {
        case OPT_PROMPT:
            o->prompt = optarg;
            break;
        case OPT_ISA:
            if (!whole_model_isa(optarg, &o->model.isa))
                return cli_usage(argv[0], "--isa %s: not one of %s", optarg,
                                 WHOLE_MODEL_ISAS);
            break;
        case OPT_THREADS:
            if (!whole_model_threads(optarg, &o->model.n_threads))
                return cli_usage(argv[0], "--threads %s: 1 to %d", optarg,
                                 ENGINE_WORKERS_MAX);
            break;
        case OPT_JSON:
            o->json = true;
            break;
        case OPT_STATS:
            o->stats = true;
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return CLI_OK;
        case '?':
            return cli_usage(argv[0], "bad option");
        default:
            wrong = number_option(opt, optarg, o, &temperature, &top_p);
            if (wrong)
                return cli_usage(argv[0], "%s, not %s", wrong, optarg);
        }
    }
    if (argc - optind != 1 || !o->prompt)
        return cli_usage(argv[0], "MODEL_DIR and --prompt are needed");
    if (sampling_from_floats(temperature, top_p, &o->sampling.inv_temp_q16,
                             &o->sampling.top_p_q16))
        return cli_usage(argv[0], "--temperature is 0 to 2, --top-p above 0 "
                                  "to 1");
    o->model.dir = argv[optind];
    return -1;
}

static bool is_end(const struct manifest *m, uint32_t token)
{
    for (uint32_t i = 0; i < m->arch.n_ends; i++)
        if (m->arch.ends[i] == token)
            return true;
    return false;
}

static void text_print(struct run *run)
{
    if (run->options->json)
        return;
    if (run->text.len > run->printed)
        fwrite(run->text.ptr + run->printed, 1, run->text.len - run->printed,
               stdout);
    fflush(stdout);
    run->printed = run->text.len;
}

static bool on_token(void *ctx, uint32_t token)
{
    struct run *run = ctx;

    if (is_end(run->manifest, token))
        return true; // it is the last one, and no part of the text
    run->err = token_ids_put(&run->ids, token);
    if (!run->err)
        run->err = tokenizer_stream_put(&run->stream, token, &run->text);
    if (run->err)
        return false;
    text_print(run);
    return true;
}

static enum err json_print(const struct run *run, uint32_t n_prompt,
                           const struct local_result *result)
{
    json_t *tokens = json_array();

    for (size_t i = 0; i < run->ids.len; i++)
        if (json_array_append_new(tokens, json_integer(run->ids.ptr[i]))) {
            json_decref(tokens);
            return ERR_NOMEM;
        }
    json_t *root = json_pack(
        "{s:s%, s:o, s:I, s:I, s:s}", "text",
        run->text.len ? run->text.ptr : "", run->text.len, "tokens", tokens,
        "prompt_tokens", (json_int_t)n_prompt, "completion_tokens",
        (json_int_t)result->n_tokens, "finish_reason",
        result->finish == SYN1_STOPPED ? "stop" : "length");
    if (!root)
        return ERR_NOMEM;
    int bad = json_dumpf(root, stdout, JSON_COMPACT);
    json_decref(root);
    return bad || putchar('\n') == EOF ? ERR_IO : ERR_OK;
}

static double rate(double n, uint64_t us)
{
    return us ? n * 1e6 / (double)us : 0;
}

static void stats_print(uint32_t n_prompt, const struct local_result *r)
{
    fprintf(stderr,
            "prompt: %" PRIu32 " tokens, %.1f ms, %.0f tokens/s\n"
            "decode: %" PRIu32 " tokens, %.1f ms, %.0f tokens/s\n",
            n_prompt, (double)r->prompt_us / 1e3, rate(n_prompt, r->prompt_us),
            r->n_tokens, (double)r->decode_us / 1e3,
            rate(r->n_tokens, r->decode_us));
}

// The prompt's ids. *why has a line for errors that need one.
static enum err prompt_encode(const struct run_options *o,
                              const struct whole_model *m,
                              struct token_ids *out, char *why, size_t why_len)
{
    enum err err = tokenizer_encode(m->tokenizer, o->prompt, strlen(o->prompt),
                                    TOKENIZER_ADD_SPECIAL, out);

    if (!err && (out->len == 0 || out->len >= m->manifest->arch.n_ctx)) {
        snprintf(why, why_len,
                 "the prompt has %zu tokens; 1 to %" PRIu32 " are allowed",
                 out->len, m->manifest->arch.n_ctx - 1);
        err = ERR_RANGE;
    }
    return err;
}

// Generate, and print.
static enum err prompt_continue(struct run *run, const struct whole_model *m,
                                const struct token_ids *prompt)
{
    const struct run_options *o = run->options;
    uint32_t n_prompt = (uint32_t)prompt->len;
    uint32_t room = m->manifest->arch.n_ctx - n_prompt;
    struct local_request request = {
        .prompt = prompt->ptr,
        .n_prompt = n_prompt,
        .max_tokens = o->max_tokens < room ? o->max_tokens : room,
        .sampling = o->sampling};
    struct local_result result;
    enum err err;

    tokenizer_stream_init(&run->stream, m->tokenizer, TOKENIZER_SKIP_SPECIAL);
    err = local_generate(m->engine, &request, on_token, run, &result);
    if (!err)
        err = run->err;
    if (!err)
        err = tokenizer_stream_end(&run->stream, &run->text);
    if (err)
        return err;
    text_print(run);
    if (o->json)
        err = json_print(run, n_prompt, &result);
    else if (putchar('\n') == EOF)
        err = ERR_IO;
    if (!err && o->stats)
        stats_print(n_prompt, &result);
    return err;
}

int cli_run(int argc, char **argv)
{
    struct run_options options = {.max_tokens = 64};
    struct whole_model m = {0};
    struct run run = {.options = &options};
    struct token_ids prompt = {0};
    char why[512] = "";
    int status = options_read(argc, argv, &options);
    enum err err;

    if (status >= 0)
        return status;
    err = whole_model_open(&options.model, &m, why, sizeof why);
    if (!err) {
        *why = '\0';
        run.manifest = m.manifest;
        err = prompt_encode(&options, &m, &prompt, why, sizeof why);
    }
    if (!err)
        err = prompt_continue(&run, &m, &prompt);
    token_ids_release(&prompt);
    token_ids_release(&run.ids);
    text_release(&run.text);
    whole_model_release(&m);
    return err ? cli_fail(argv[0], "%s", *why ? why : err_text(err)) : CLI_OK;
}
