// split.c - `synapse split`: a Hugging Face folder becomes a model folder.
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "cli.h"
#include "splitter/format.h"
#include "splitter/model.h"
#include "splitter/split.h"
#include "tokenizer/tokenizer.h"

static const char help[] =
    "usage: synapse split HF_DIR OUT_DIR [options]\n"
    "\n"
    "Reads config.json, tokenizer.json and model.safetensors (or the files of\n"
    "model.safetensors.index.json) of a GPT-2, Llama or Qwen2 model in F32,\n"
    "F16 or BF16, and writes OUT_DIR: manifest.json, the packed shards and "
    "the\n"
    "tokenizer. An OUT_DIR that holds a model is replaced.\n"
    "\n"
    "  --shards N            as many shards (default: 1)\n"
    "  --max-shard-bytes B   as few shards as keep to B bytes each (64M, 2G)\n"
    "  --name NAME           the model's name (default: HF_DIR's)\n"
    "  --equalise on|off     even out channels of very different size, by\n"
    "                        scalings that leave the function as it is\n"
    "                        (default: on)\n";

enum { OPT_SHARDS = 1, OPT_MAX_BYTES, OPT_NAME, OPT_EQUALISE, OPT_HELP };

static const struct option longopts[] = {
    {"shards", required_argument, NULL, OPT_SHARDS},
    {"max-shard-bytes", required_argument, NULL, OPT_MAX_BYTES},
    {"name", required_argument, NULL, OPT_NAME},
    {"equalise", required_argument, NULL, OPT_EQUALISE},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

// Read the options into *o. -1: go on; else the exit status.
static int options_read(int argc, char **argv, struct split_options *o)
{
    uint64_t n;
    int opt;

    while ((opt = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        switch (opt) {
        case OPT_SHARDS:
            if (!cli_u64(optarg, 1, FORMAT_SHARDS_MAX, &n))
                return cli_usage(argv[0], "--shards %s: not 1 to %d", optarg,
                                 FORMAT_SHARDS_MAX);
            o->n_shards = (uint32_t)n;
            break;
        case OPT_MAX_BYTES:
            if (!cli_bytes(optarg, &o->max_shard_bytes))
                return cli_usage(argv[0],
                                 "--max-shard-bytes %s: not a number of bytes",
                                 optarg);
            break;
        case OPT_NAME:
            o->name = optarg;
            break;
        case OPT_EQUALISE:
            if (!cli_switch(optarg, &o->equalise))
                return cli_usage(argv[0], "--equalise %s: not on or off",
                                 optarg);
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return CLI_OK;
        default:
            return cli_usage(argv[0], "bad option");
        }
    }
    if (argc - optind != 2)
        return cli_usage(argv[0], "HF_DIR and OUT_DIR are needed");
    if (o->n_shards && o->max_shard_bytes)
        return cli_usage(argv[0],
                         "--shards and --max-shard-bytes exclude each other");
    o->hf_dir = argv[optind];
    o->out_dir = argv[optind + 1];
    return -1;
}

// Load the tokenizer as the server will, so that a broken one is named before
// the long work. *n_ids stays 0 where there is none: split_run says so.
static enum err tokenizer_check(const char *hf_dir, uint32_t *n_ids, char *why,
                                size_t why_len)
{
    struct tokenizer *tokenizer = NULL;
    char path[PATH_MAX];
    enum err err;

    if (snprintf(path, sizeof path, "%s/tokenizer.json", hf_dir) >=
        (int)sizeof path)
        return ERR_OK; // nor can such a folder be opened
    err = tokenizer_load(path, &tokenizer, why, why_len);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (!err)
        *n_ids = tokenizer_n_ids(tokenizer);
    tokenizer_free(tokenizer);
    return err;
}

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    cli_progress_show(ctx, done, total);
}

static void model_print(const struct model *model)
{
    const struct manifest *m = model_manifest(model);
    uint64_t n_bytes = 0;

    for (uint32_t i = 0; i < m->n_shards; i++)
        n_bytes += m->shards[i].file.n_bytes;
    printf("%s: %" PRIu32 " layers in %" PRIu32 " shard%s, %.1f MB\n", m->name,
           m->arch.n_layers, m->n_shards, m->n_shards == 1 ? "" : "s",
           (double)n_bytes / 1e6);
    printf("id %s\n", model_id_text(model));
}

int cli_split(int argc, char **argv)
{
    struct cli_progress progress = {
        .title = "split", .unit = "MB", .scale = 1e6};
    struct split_options options = {.equalise = true};
    char why[WHY_LEN_MAX] = "";
    struct model *model = NULL;
    int status = options_read(argc, argv, &options);
    uint32_t n_ids = 0;
    enum err err;

    if (status >= 0)
        return status;
    err = tokenizer_check(options.hf_dir, &n_ids, why, sizeof why);
    if (!err)
        err = split_run(&options, on_progress, &progress, why, sizeof why);
    cli_progress_end(&progress);
    if (!err)
        err = model_open(options.out_dir, &model, why, sizeof why);
    if (err)
        return cli_fail(argv[0], "%s", *why ? why : err_text(err));
    if (n_ids > model_manifest(model)->arch.n_vocab)
        fprintf(stderr,
                "%s: note: tokenizer.json has %" PRIu32
                " tokens, the model %" PRIu32 "\n",
                argv[0], n_ids, model_manifest(model)->arch.n_vocab);
    model_print(model);
    model_free(model);
    return CLI_OK;
}
