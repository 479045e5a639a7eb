#include "tokenizer/norm.h"

#include <stdlib.h>
#include <utf8proc.h>

// A code point with its place, to sort marks by class and keep their order.
struct mark {
    utf8proc_int32_t cp;
    utf8proc_propval_t class;
    size_t at;
};

struct points {
    utf8proc_int32_t *ptr;
    size_t len, cap;
};

void norm_release(struct norm *norm)
{
    for (size_t i = 0; i < norm->n_steps; i++) {
        pattern_free(norm->steps[i].pattern);
        text_release(&norm->steps[i].content);
    }
    *norm = (struct norm){0};
}

static int mark_compare(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;

    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static utf8proc_propval_t class_of(utf8proc_int32_t cp)
{
    return utf8proc_get_property(cp)->combining_class;
}

// Order each run of marks by combining class. (utf8proc_decompose would do it
// too, in time that grows with the square of the run.)
static enum err points_order(struct points *p)
{
    enum err err = ERR_OK;
    struct mark *marks = NULL;
    size_t cap = 0;

    for (size_t i = 0, n; i < p->len; i += n + 1) {
        for (n = 0; i + n < p->len && class_of(p->ptr[i + n]); n++)
            ;
        if (n < 2)
            continue;
        if (n > cap) {
            struct mark *bigger = realloc(marks, n * sizeof *marks);
            if (!bigger) {
                err = ERR_NOMEM;
                break;
            }
            marks = bigger;
            cap = n;
        }
        for (size_t k = 0; k < n; k++)
            marks[k] = (struct mark){p->ptr[i + k], class_of(p->ptr[i + k]), k};
        qsort(marks, n, sizeof *marks, mark_compare);
        for (size_t k = 0; k < n; k++)
            p->ptr[i + k] = marks[k].cp;
    }
    free(marks);
    return err;
}

static enum err points_decompose(struct points *p, const char *ptr, size_t len,
                                 utf8proc_option_t options)
{
    for (size_t i = 0; i < len;) {
        uint32_t cp = 0;
        int step = utf8_next(ptr + i, len - i, &cp);

        i += step > 0 ? (size_t)step : 1;
        for (;;) {
            size_t room = p->cap - p->len;
            utf8proc_ssize_t n =
                utf8proc_decompose_char((utf8proc_int32_t)cp, p->ptr + p->len,
                                        (utf8proc_ssize_t)room, options, NULL);

            if (n < 0)
                return ERR_FORMAT;
            if ((size_t)n <= room) {
                p->len += (size_t)n;
                break;
            }
            size_t cap = p->cap * 2 + (size_t)n;
            utf8proc_int32_t *bigger = realloc(p->ptr, cap * sizeof *p->ptr);
            if (!bigger)
                return ERR_NOMEM;
            p->ptr = bigger;
            p->cap = cap;
        }
    }
    return ERR_OK;
}

static enum err unicode_form(enum norm_kind kind, const char *ptr, size_t len,
                             struct text *out)
{
    enum err err;
    int options = UTF8PROC_STABLE;
    bool compose = kind == NORM_NFC || kind == NORM_NFKC;
    struct points p = {.cap = len + 16};

    if (kind == NORM_NFKC || kind == NORM_NFKD)
        options |= UTF8PROC_COMPAT;
    p.ptr = malloc(p.cap * sizeof *p.ptr);
    if (!p.ptr)
        return ERR_NOMEM;
    err = points_decompose(&p, ptr, len,
                           (utf8proc_option_t)(options | UTF8PROC_DECOMPOSE));
    if (!err)
        err = points_order(&p);
    if (!err && compose) {
        utf8proc_ssize_t n = utf8proc_normalize_utf32(
            p.ptr, (utf8proc_ssize_t)p.len,
            (utf8proc_option_t)(options | UTF8PROC_COMPOSE));
        if (n < 0)
            err = ERR_FORMAT;
        else
            p.len = (size_t)n;
    }
    for (size_t i = 0; i < p.len && !err; i++) {
        char buf[4];

        err = text_put(out, buf, utf8_write((uint32_t)p.ptr[i], buf));
    }
    free(p.ptr);
    return err;
}

static enum err replace(const struct norm_step *step, const char *ptr,
                        size_t len, struct text *out)
{
    struct pattern_walk walk;
    bool found;
    size_t start, end, done = 0;
    enum err err = pattern_walk_start(&walk, step->pattern, ptr, len);

    if (err)
        return err;
    while (!(err = pattern_walk_next(&walk, &found, &start, &end)) && found) {
        err = text_put(out, ptr + done, start - done);
        if (!err)
            err = text_put(out, step->content.ptr, step->content.len);
        if (err)
            break;
        done = end;
    }
    pattern_walk_stop(&walk);
    return err ? err : text_put(out, ptr + done, len - done);
}

static bool is_ascii(const char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)ptr[i] >= 0x80)
            return false;
    return true;
}

static enum err step_apply(const struct norm_step *step, const char *ptr,
                           size_t len, struct text *out)
{
    enum err err = ERR_OK;

    switch (step->kind) {
    case NORM_NFC:
    case NORM_NFD:
    case NORM_NFKC:
    case NORM_NFKD:
        if (is_ascii(ptr, len)) // its own normal form in all four
            return text_put(out, ptr, len);
        return unicode_form(step->kind, ptr, len, out);
    case NORM_PREPEND:
        if (len)
            err = text_put(out, step->content.ptr, step->content.len);
        return err ? err : text_put(out, ptr, len);
    case NORM_REPLACE:
        return replace(step, ptr, len, out);
    }
    return ERR_UNSUPPORTED;
}

enum err norm_apply(const struct norm *norm, const char *ptr, size_t len,
                    struct text *out, struct text *tmp)
{
    enum err err = ERR_OK;

    out->len = 0;
    if (norm->n_steps == 0)
        return text_put(out, ptr, len);
    for (size_t i = 0; i < norm->n_steps && !err; i++) {
        if (i) {
            struct text swap = *tmp;
            *tmp = *out;
            *out = swap;
            ptr = tmp->ptr;
            len = tmp->len;
            out->len = 0;
        }
        err = step_apply(&norm->steps[i], ptr, len, out);
    }
    return err;
}
