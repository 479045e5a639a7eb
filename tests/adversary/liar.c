// liar.c - a native volunteer that cheats: `synapse volunteer` with two options
// more. Not part of what is installed.
//
//   liar URL --models DIR --cheat PLAN [--from ADDRESS] [options of volunteer]
//
// PLAN as cheat.h says; --from binds calls to an address of this machine.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cheat.h"
#include "cli.h"
#include "splitter/model.h"
#include "stand_in.h"

enum { PATH_LEN = 1024, WHY_LEN = 256, SPANS_MAX = 64 };

// The cheat of one span.
struct span {
    uint8_t model[SYN1_ID_LEN];
    uint32_t first, end;
    struct cheat *cheat;
    struct model *shards; // where it has an engine of its own
};

struct liar {
    struct cheat_plan plan;
    const char *models;
    struct span spans[SPANS_MAX];
    size_t n_spans;
};

// The model folder in dir, or dir itself, that has that id.
static struct model *model_find(const char *dir, const uint8_t *id)
{
    char path[PATH_LEN], why[WHY_LEN];
    struct model *model = NULL;
    struct dirent *leaf;
    DIR *d;

    if (!model_open(dir, &model, why, sizeof why)) {
        if (memcmp(model_id(model), id, SYN1_ID_LEN) == 0)
            return model;
        model_free(model);
    }
    d = opendir(dir);
    while (d && (leaf = readdir(d)) != NULL) {
        int n = snprintf(path, sizeof path, "%s/%s", dir, leaf->d_name);

        if (leaf->d_name[0] == '.' || n < 0 || n >= (int)sizeof path ||
            model_open(path, &model, why, sizeof why))
            continue;
        if (memcmp(model_id(model), id, SYN1_ID_LEN) == 0) {
            closedir(d);
            return model;
        }
        model_free(model);
    }
    if (d)
        closedir(d);
    return NULL;
}

static enum err span_open(const struct liar *liar, const struct engine *engine,
                          struct span *span)
{
    struct engine_options options = {0};
    uint32_t n = span->end - span->first;
    struct engine_shard *views = calloc(n, sizeof *views);
    char why[WHY_LEN] = "";
    enum err err = views ? ERR_OK : ERR_NOMEM;

    memcpy(options.model, engine_model(engine), SYN1_ID_LEN);
    span->shards = model_find(liar->models, span->model);
    if (!err && !span->shards)
        err = ERR_NOT_FOUND;
    for (uint32_t i = 0; !err && i < n; i++)
        err = model_shard_map(span->shards, span->first + i, &views[i].tensors,
                              &views[i].n_tensors, why, sizeof why);
    if (!err)
        err = cheat_new(&liar->plan, views, n, &options, &span->cheat);
    free(views);
    if (err) {
        fprintf(stderr, "liar: %s: %s %s\n", liar->models, err_text(err), why);
        model_free(span->shards);
        span->shards = NULL;
    }
    return err;
}

static enum err run(void *ctx, struct engine *engine, const uint8_t *frame,
                    size_t len, engine_step_fn *step, void *step_ctx,
                    const uint8_t **out, size_t *out_len)
{
    struct liar *liar = ctx;
    uint32_t first = engine_span_first(engine), end = engine_span_end(engine);
    struct span *span = NULL;
    enum err err = ERR_OK;

    for (size_t i = 0; i < liar->n_spans && !span; i++)
        if (liar->spans[i].first == first && liar->spans[i].end == end &&
            memcmp(liar->spans[i].model, engine_model(engine), SYN1_ID_LEN) ==
                0)
            span = &liar->spans[i];
    if (!span && liar->n_spans == SPANS_MAX)
        return ERR_FULL;
    if (!span) {
        span = &liar->spans[liar->n_spans];
        *span = (struct span){.first = first, .end = end};
        memcpy(span->model, engine_model(engine), SYN1_ID_LEN);
        err = span_open(liar, engine, span);
        if (!err)
            liar->n_spans++;
    }
    return err ? err
               : cheat_run(span->cheat, engine, frame, len, step, step_ctx, out,
                           out_len);
}

// Take "name VALUE" out of argv; NULL if it is not there.
static char *option_take(int *argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < *argc; i++) {
        char *value = argv[i + 1];

        if (strcmp(argv[i], name) != 0)
            continue;
        memmove(argv + i, argv + i + 2, (size_t)(*argc - i - 1) * sizeof *argv);
        *argc -= 2;
        return value;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct liar liar = {.models = "."};
    struct cli_stand_in other = {.run = run, .run_ctx = &liar};
    char *plan = option_take(&argc, argv, "--cheat");
    int status;

    other.source = option_take(&argc, argv, "--from");
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--models") == 0)
            liar.models = argv[i + 1];
    if (plan && cheat_parse(plan, &liar.plan))
        return cli_usage(argv[0], "--cheat %s: no such plan", plan);
    status = cli_volunteer_as(argc, argv, &other);
    for (size_t i = 0; i < liar.n_spans; i++) {
        cheat_free(liar.spans[i].cheat);
        model_free(liar.spans[i].shards);
    }
    return status;
}
