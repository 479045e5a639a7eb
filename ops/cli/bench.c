// bench.c - `synapse bench`: how fast this machine computes a model.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "splitter/why.h"
#include "whole_model.h"

static const char help[] =
    "usage: synapse bench MODEL_DIR [options]\n"
    "\n"
    "Times a prompt, decoding one sequence and decoding several at a time, "
    "and\n"
    "prints tokens a second: one JSON object on one line.\n"
    "\n"
    "  --prompt N      tokens of the prompt (default: 480)\n"
    "  --new N         tokens to decode (default: 64)\n"
    "  --sequences N   sequences decoded together (default: 16)\n"
    "  --isa NAME      " WHOLE_MODEL_ISAS "\n"
    "  --threads N     compute on so many threads (default: 1)\n";

enum {
    OPT_PROMPT = 1,
    OPT_NEW,
    OPT_SEQUENCES,
    OPT_ISA,
    OPT_THREADS,
    OPT_HELP,
};

static const struct option longopts[] = {
    {"prompt", required_argument, NULL, OPT_PROMPT},
    {"new", required_argument, NULL, OPT_NEW},
    {"sequences", required_argument, NULL, OPT_SEQUENCES},
    {"isa", required_argument, NULL, OPT_ISA},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

enum {
    SHORT_PROMPT = 16, // rows before decoding begins
    SEQ_LEN_MAX = 128, // bytes of a sequence's entry without its tokens
};

struct bench {
    struct whole_model m;
    uint8_t *frame, *tokens;
    size_t frame_cap;
    uint64_t next_id; // of sequences, so that none is met twice
};

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

// Whether the result has n_seqs sequences of n_tokens each.
static bool result_is_whole(const uint8_t *result, size_t len, uint32_t n_seqs,
                            uint32_t n_tokens)
{
    struct syn1_frame frame;
    struct syn1_result_seq seq;
    uint32_t n = 0;

    if (syn1_parse(result, len, &frame))
        return false;
    while (syn1_result_next(&frame.header, &frame.body, &seq))
        n += seq.status == SYN1_OK && seq.n_tokens == n_tokens;
    return n == n_seqs;
}

// Run rows first .. first+n_rows-1 of the n_seqs sequences from id on, then
// max_new tokens each; tell the seconds.
static enum err bench_run(struct bench *b, uint64_t id, uint32_t n_seqs,
                          uint32_t first, uint32_t n_rows, uint32_t max_new,
                          double *seconds)
{
    const struct format_config *config = engine_config(b->m.engine);
    struct bytes_out out = {.ptr = b->frame, .cap = b->frame_cap};
    struct bytes_out ids = {.ptr = b->tokens, .cap = (size_t)4 * n_rows};
    struct syn1_header header = {
        .kind = SYN1_UNIT,
        .flags = SYN1_TOKENS,
        .span_end = (uint16_t)b->m.manifest->n_shards,
    };
    const uint8_t *result;
    size_t result_len;
    enum err err;

    for (uint32_t i = 0; i < n_rows; i++)
        bytes_put_u32(&ids, (first + i) * 7919 % config->n_vocab);
    memcpy(header.model, model_id(b->m.model), SYN1_ID_LEN);
    syn1_begin(&out, &header);
    for (uint32_t s = 0; s < n_seqs; s++) {
        struct syn1_unit_seq seq = {
            .id = id + s,
            .first = first,
            .kv_valid = first,
            .n_rows = n_rows,
            .max_new = max_new,
            .n_prompt = first + n_rows,
            .sampling = {.top_p_q16 = 65536, .flags = SYN1_IGNORE_END},
            .tokens = b->tokens,
        };

        syn1_put_unit_seq(&out, &header, &seq);
    }
    err = syn1_end(&out);
    if (err)
        return err;

    double start = now_s();

    err = engine_run(b->m.engine, b->frame, out.len, &result, &result_len);
    *seconds = now_s() - start;
    if (!err && !result_is_whole(result, result_len, n_seqs, max_new))
        err = ERR_FULL; // some had no room
    return err;
}

// Tokens a second of a prompt of n rows.
static enum err bench_prompt(struct bench *b, uint32_t n, double *rate)
{
    uint64_t id = b->next_id++;
    double seconds = 0;
    enum err err = bench_run(b, id, 1, 0, n, 1, &seconds);

    engine_drop(b->m.engine, id);
    *rate = n / seconds;
    return err;
}

// New tokens a second of n_seqs sequences together, after a short prompt.
static enum err bench_decode(struct bench *b, uint32_t n_seqs, uint32_t n_new,
                             double *rate)
{
    uint64_t id = b->next_id;
    double seconds = 0;
    enum err err = bench_run(b, id, n_seqs, 0, SHORT_PROMPT, 1, &seconds);

    if (!err)
        err = bench_run(b, id, n_seqs, SHORT_PROMPT, 1, n_new, &seconds);
    for (uint32_t s = 0; s < n_seqs; s++)
        engine_drop(b->m.engine, id + s);
    b->next_id += n_seqs;
    *rate = (double)n_seqs * n_new / seconds;
    return err;
}

static int bench_print(struct bench *b, uint32_t n_prompt, uint32_t n_new,
                       uint32_t n_seqs, const char *argv0)
{
    double prompt = 0, one = 0, many = 0, warm = 0;
    enum err err = bench_decode(b, 1, 4, &warm);

    if (!err)
        err = bench_prompt(b, n_prompt, &prompt);
    if (!err)
        err = bench_decode(b, 1, n_new, &one);
    if (!err)
        err = bench_decode(b, n_seqs, n_new, &many);
    if (err)
        return cli_fail(argv0, "%s", err_text(err));
    printf("{\"prompt\": %.1f, \"decode\": %.1f, \"decode_many\": %.1f}\n",
           prompt, one, many);
    return CLI_OK;
}

struct bench_options {
    struct whole_model_options model;
    uint64_t n_prompt, n_new, n_seqs;
};

// Read the options. -1: go on; else the exit status.
static int options_read(int argc, char **argv, struct bench_options *o)
{
    int opt;

    while ((opt = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        bool good = true;

        switch (opt) {
        case OPT_PROMPT:
            good = cli_u64(optarg, 1, SYN1_POS_MAX, &o->n_prompt);
            break;
        case OPT_NEW:
            good = cli_u64(optarg, 1, SYN1_POS_MAX, &o->n_new);
            break;
        case OPT_SEQUENCES:
            good = cli_u64(optarg, 1, SYN1_SEQS_MAX, &o->n_seqs);
            break;
        case OPT_ISA:
            good = whole_model_isa(optarg, &o->model.isa);
            break;
        case OPT_THREADS:
            good = whole_model_threads(optarg, &o->model.n_threads);
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return CLI_OK;
        default:
            return cli_usage(argv[0], "bad option");
        }
        if (!good)
            return cli_usage(argv[0], "%s: out of range or unknown", optarg);
    }
    if (argc - optind != 1)
        return cli_usage(argv[0], "MODEL_DIR is needed");
    o->model.dir = argv[optind];
    o->model.n_slots = (uint32_t)o->n_seqs;
    return -1;
}

int cli_bench(int argc, char **argv)
{
    struct bench_options o = {.n_prompt = 480, .n_new = 64, .n_seqs = 16};
    char why[WHY_LEN_MAX] = "";
    struct bench b = {0};
    int status = options_read(argc, argv, &o);

    if (status >= 0)
        return status;
    if (whole_model_open(&o.model, &b.m, why, sizeof why))
        return cli_fail(argv[0], "%s", why);

    uint32_t n_ctx = b.m.manifest->arch.n_ctx;

    if (o.n_prompt >= n_ctx || SHORT_PROMPT + 1 + o.n_new > n_ctx) {
        status = cli_fail(argv[0], "the model's context is %" PRIu32, n_ctx);
        goto done;
    }
    b.frame_cap = (size_t)o.n_seqs * (SEQ_LEN_MAX + 4 * SHORT_PROMPT) +
                  (size_t)4 * o.n_prompt + SYN1_HEADER_LEN + SYN1_CRC_LEN;
    b.frame = malloc(b.frame_cap);
    b.tokens = malloc((size_t)4 * (o.n_prompt + SHORT_PROMPT));
    if (!b.frame || !b.tokens) {
        status = cli_fail(argv[0], "%s", err_text(ERR_NOMEM));
        goto done;
    }
    status = bench_print(&b, (uint32_t)o.n_prompt, (uint32_t)o.n_new,
                         (uint32_t)o.n_seqs, argv[0]);

done:
    free(b.tokens);
    free(b.frame);
    whole_model_release(&b.m);
    return status;
}
