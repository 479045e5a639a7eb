#include "golden.h"

#include <jansson.h>

#include "check.h"

static json_t *member(const json_t *object, const char *key)
{
    json_t *v = json_object_get(object, key);

    CHECK(v);
    return v;
}

static uint32_t id_at(const json_t *ids, size_t i)
{
    return (uint32_t)json_integer_value(json_array_get(ids, i));
}

static struct golden_window window_load(const json_t *ids, double nll)
{
    struct golden_window w = {.n = (uint32_t)json_array_size(ids), .nll = nll};

    CHECK(w.n > 1);
    w.ids = malloc(w.n * sizeof *w.ids);
    CHECK(w.ids);
    for (uint32_t i = 0; i < w.n; i++)
        w.ids[i] = id_at(ids, i);
    return w;
}

static struct golden_line line_load(const json_t *item)
{
    const json_t *prompt = member(item, "prompt_ids");
    const json_t *made = member(item, "new_ids");
    const json_t *margins = member(item, "margins");
    struct golden_line l = {.n_prompt = (uint32_t)json_array_size(prompt),
                            .n_new = (uint32_t)json_array_size(made)};

    CHECK(l.n_new > 0 && json_array_size(margins) == l.n_new);
    l.ids = malloc((l.n_prompt + l.n_new) * sizeof *l.ids);
    l.margins = malloc(l.n_new * sizeof *l.margins);
    CHECK(l.ids && l.margins);
    for (uint32_t i = 0; i < l.n_prompt; i++)
        l.ids[i] = id_at(prompt, i);
    for (uint32_t i = 0; i < l.n_new; i++) {
        l.ids[l.n_prompt + i] = id_at(made, i);
        l.margins[i] = json_number_value(json_array_get(margins, i));
    }
    return l;
}

struct golden golden_load(const char *path)
{
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, NULL);
    struct golden g = {0};

    CHECK(root);
    const json_t *windows = member(member(root, "perplexity"), "windows");
    const json_t *nll = member(member(root, "perplexity"), "nll_mean");
    const json_t *greedy = member(root, "greedy");

    g.perplexity = json_number_value(member(member(root, "perplexity"), "ppl"));
    g.n_windows = json_array_size(windows);
    g.n_lines = json_array_size(greedy);
    g.windows = calloc(g.n_windows, sizeof *g.windows);
    g.lines = calloc(g.n_lines, sizeof *g.lines);
    CHECK(g.windows && g.lines);
    for (size_t i = 0; i < g.n_windows; i++)
        g.windows[i] = window_load(json_array_get(windows, i),
                                   json_number_value(json_array_get(nll, i)));
    for (size_t i = 0; i < g.n_lines; i++)
        g.lines[i] = line_load(json_array_get(greedy, i));
    json_decref(root);
    return g;
}

void golden_release(struct golden *g)
{
    for (size_t i = 0; i < g->n_windows; i++)
        free(g->windows[i].ids);
    for (size_t i = 0; i < g->n_lines; i++) {
        free(g->lines[i].ids);
        free(g->lines[i].margins);
    }
    free(g->windows);
    free(g->lines);
}
