// eval.c - `synapse eval`: how close a model folder is to the float model whose
// recorded answers (a golden.json) are given.
//
// A golden.json holds, besides what is of no matter here,
//   perplexity  {"windows": [[token ids]], "ppl": over all of them}
//   greedy      [{"prompt_ids": [...], "new_ids": [...], "margins": [...]}]
// where margins are the differences of the two best logits at each new id.
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "engine/local.h"
#include "whole_model.h"

static const char help[] =
    "usage: synapse eval MODEL_DIR GOLDEN.json [options]\n"
    "\n"
    "Prints the perplexity over the golden's windows beside the recorded one,\n"
    "and how often our best token is the recorded greedy one, also among the\n"
    "steps whose recorded margin is over 0.1.\n"
    "\n"
    "  --isa NAME    " WHOLE_MODEL_ISAS " (default: best)\n"
    "  --threads N   compute on so many threads (default: 1)\n";

#define MARGIN_CLEAR 0.1

enum { OPT_ISA = 1, OPT_THREADS, OPT_HELP };

static const struct option longopts[] = {
    {"isa", required_argument, NULL, OPT_ISA},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

// Token ids with what the engine says about each one's successor.
struct scored {
    struct token_ids ids;
    int32_t *nll_q16;
    uint32_t *best;
    size_t cap; // elements of the two
};

// What is asked of one golden, and where a complaint goes.
struct eval {
    const struct whole_model *m;
    struct scored scored;
    char *why;
    size_t why_len;
};

static enum err complain(const struct eval *e, enum err err, const char *what)
{
    snprintf(e->why, e->why_len, "the golden's %s", what);
    return err;
}

// Append the ids of a JSON list.
static enum err ids_put(const struct eval *e, const json_t *list,
                        struct token_ids *out)
{
    size_t i;
    const json_t *item;

    if (!json_is_array(list))
        return complain(e, ERR_FORMAT, "token ids must be a list");
    for (i = 0; i < json_array_size(list); i++) {
        item = json_array_get(list, i);
        json_int_t id = json_integer_value(item);

        if (!json_is_integer(item) || id < 0 ||
            id >= e->m->manifest->arch.n_vocab)
            return complain(e, ERR_RANGE,
                            "token ids must be of the vocabulary");
        enum err err = token_ids_put(out, (uint32_t)id);
        if (err)
            return err;
    }
    return ERR_OK;
}

// Score the ids that are in e->scored.
static enum err score(struct eval *e)
{
    struct scored *s = &e->scored;

    if (s->ids.len < 2 || s->ids.len > e->m->manifest->arch.n_ctx)
        return complain(e, ERR_RANGE,
                        "texts must be 2 tokens to the context long");
    if (s->ids.len > s->cap) {
        free(s->nll_q16);
        free(s->best);
        s->cap = 0;
        s->nll_q16 = malloc(s->ids.len * sizeof *s->nll_q16);
        s->best = malloc(s->ids.len * sizeof *s->best);
        if (!s->nll_q16 || !s->best)
            return ERR_NOMEM;
        s->cap = s->ids.len;
    }
    return local_score(e->m->engine, s->ids.ptr, (uint32_t)s->ids.len,
                       s->nll_q16, s->best);
}

// exp of the mean over the windows of the mean negative log-likelihood.
static enum err perplexity(struct eval *e, const json_t *windows, double *out)
{
    double sum = 0;
    size_t n = json_array_size(windows);

    if (n == 0)
        return complain(e, ERR_FORMAT, "perplexity.windows must be a list");
    for (size_t i = 0; i < n; i++) {
        struct scored *s = &e->scored;
        double nll = 0;
        enum err err;

        s->ids.len = 0;
        err = ids_put(e, json_array_get(windows, i), &s->ids);
        if (!err)
            err = score(e);
        if (err)
            return err;
        for (size_t k = 0; k + 1 < s->ids.len; k++)
            nll += s->nll_q16[k] / 65536.0;
        sum += nll / (double)(s->ids.len - 1);
    }
    *out = exp(sum / (double)n);
    return ERR_OK;
}

struct agreement {
    unsigned n, n_same;             // steps, and those where our best agrees
    unsigned n_clear, n_clear_same; // of these, with a margin over 0.1
};

static enum err agree(struct eval *e, const json_t *line, struct agreement *a)
{
    const json_t *margins = json_object_get(line, "margins");
    struct scored *s = &e->scored;
    size_t n_prompt;
    enum err err;

    s->ids.len = 0;
    err = ids_put(e, json_object_get(line, "prompt_ids"), &s->ids);
    n_prompt = s->ids.len;
    if (!err && n_prompt == 0)
        err = complain(e, ERR_FORMAT, "greedy.prompt_ids is empty");
    if (!err)
        err = ids_put(e, json_object_get(line, "new_ids"), &s->ids);
    if (!err && json_array_size(margins) != s->ids.len - n_prompt)
        err = complain(e, ERR_FORMAT, "greedy needs one margin a new id");
    if (!err)
        err = score(e);
    for (size_t i = n_prompt; i < s->ids.len && !err; i++) {
        bool same = s->best[i - 1] == s->ids.ptr[i];
        bool clear = json_number_value(json_array_get(margins, i - n_prompt)) >
                     MARGIN_CLEAR;

        a->n++;
        a->n_same += same;
        a->n_clear += clear;
        a->n_clear_same += clear && same;
    }
    return err;
}

static enum err eval_golden(struct eval *e, const json_t *golden)
{
    const json_t *p = json_object_get(golden, "perplexity");
    const json_t *lines = json_object_get(golden, "greedy");
    double want = json_number_value(json_object_get(p, "ppl")), got;
    struct agreement a = {0};
    enum err err;

    if (!(want > 0))
        return complain(e, ERR_FORMAT, "perplexity.ppl must be a number");
    err = perplexity(e, json_object_get(p, "windows"), &got);
    for (size_t i = 0; i < json_array_size(lines) && !err; i++)
        err = agree(e, json_array_get(lines, i), &a);
    if (err)
        return err;
    printf("perplexity %.4f golden %.4f delta %+.3f%%\n", got, want,
           100 * (got / want - 1));
    printf("top1 %u of %u, margin>0.1 %u of %u\n", a.n_same, a.n,
           a.n_clear_same, a.n_clear);
    return ERR_OK;
}

// Read the options. -1: go on; else the exit status.
static int options_read(int argc, char **argv, struct whole_model_options *o,
                        const char **golden)
{
    int opt;

    while ((opt = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        switch (opt) {
        case OPT_ISA:
            if (!whole_model_isa(optarg, &o->isa))
                return cli_usage(argv[0], "--isa %s: not one of %s", optarg,
                                 WHOLE_MODEL_ISAS);
            break;
        case OPT_THREADS:
            if (!whole_model_threads(optarg, &o->n_threads))
                return cli_usage(argv[0], "--threads %s: 1 to %d", optarg,
                                 ENGINE_WORKERS_MAX);
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return CLI_OK;
        default:
            return cli_usage(argv[0], "bad option");
        }
    }
    if (argc - optind != 2)
        return cli_usage(argv[0], "MODEL_DIR and GOLDEN.json are needed");
    o->dir = argv[optind];
    *golden = argv[optind + 1];
    return -1;
}

int cli_eval(int argc, char **argv)
{
    struct whole_model_options options = {0};
    struct whole_model m = {0};
    char why[512] = "";
    struct eval e = {.m = &m, .why = why, .why_len = sizeof why};
    const char *path = NULL;
    json_t *golden = NULL;
    json_error_t at;
    int status = options_read(argc, argv, &options, &path);
    enum err err;

    if (status >= 0)
        return status;
    err = whole_model_open(&options, &m, why, sizeof why);
    if (err)
        goto done;
    *why = '\0';
    golden = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);
    if (!golden) {
        snprintf(why, sizeof why, "%s: line %d: %s", path, at.line, at.text);
        err = ERR_FORMAT;
        goto done;
    }
    err = eval_golden(&e, golden);

done:
    json_decref(golden);
    token_ids_release(&e.scored.ids);
    free(e.scored.nll_q16);
    free(e.scored.best);
    whole_model_release(&m);
    return err ? cli_fail(argv[0], "%s", *why ? why : err_text(err)) : CLI_OK;
}
