#include "tokenizer/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MATCH_LIMIT = 50 * 1000 * 1000, // backtracks of one match
    HEAP_LIMIT_KIB = 256 * 1024,    // memory of one match
};

// The sets as Oniguruma has them, for use within [ ]. SPACE ends with a range,
// so that a '-' after it stays a '-'.
static const char SPACE[] = "\\x{85}\\x{a0}\\x{1680}\\x{2028}\\x{2029}\\x{202f}"
                            "\\x{205f}\\x{3000}\\x{20}\\x{2000}-\\x{200a}"
                            "\\x{9}-\\x{d}";
static const char WORD[] = "\\p{L}\\p{M}\\p{Nd}\\p{Pc}";
static const char DIGIT[] = "\\p{Nd}";

struct pattern {
    pcre2_code *code;
    pcre2_match_context *context;
};

// What is read of the source and written of the translation.
struct translation {
    const char *in, *end;
    struct text out;
    bool in_class;
    char *why;
    size_t why_len;
};

static enum err refuse(struct translation *t, const char *what, size_t len)
{
    snprintf(t->why, t->why_len, "regular expression: %.*s is not supported",
             (int)(len > 20 ? 20 : len), what);
    return ERR_UNSUPPORTED;
}

static enum err put(struct translation *t, const char *s)
{
    return text_put(&t->out, s, strlen(s));
}

static enum err put_set(struct translation *t, const char *set, bool negated)
{
    enum err err = ERR_OK;

    if (!t->in_class)
        err = put(t, negated ? "[^" : "[");
    if (!err)
        err = put(t, set);
    if (!err && !t->in_class)
        err = put(t, "]");
    return err;
}

// \p{...}, \P{...}, \x.., \x{...}, \u....: copied, the last one respelled.
static enum err put_long_escape(struct translation *t)
{
    const char *start = t->in;
    size_t left = (size_t)(t->end - start);

    if (start[1] == 'u') {
        static const char hex[] = "0123456789abcdefABCDEF";
        enum err err;

        if (left < 6 || strspn(start + 2, hex) < 4)
            return refuse(t, start, 2);
        err = put(t, "\\x{");
        if (!err)
            err = text_put(&t->out, start + 2, 4);
        if (!err)
            err = put(t, "}");
        t->in += 6;
        return err;
    }
    const char *close = left > 2 && start[2] == '{'
                            ? memchr(start, '}', left)
                            : (left >= 4 ? start + 3 : NULL);
    if (!close || (start[1] != 'x' && start[2] != '{'))
        return refuse(t, start, 2);
    t->in = close + 1;
    return text_put(&t->out, start, (size_t)(t->in - start));
}

static enum err put_escape(struct translation *t)
{
    const char *p = t->in;
    char c = '\0';

    if (t->end - p > 1)
        c = p[1];
    if (c && strchr("pPxu", c))
        return put_long_escape(t);
    t->in += 2;
    switch (c) {
    case 's':
        return put_set(t, SPACE, false);
    case 'w':
        return put_set(t, WORD, false);
    case 'd':
        return put_set(t, DIGIT, false);
    case 'S':
    case 'W':
    case 'D':
        if (t->in_class)
            return refuse(t, p, 2);
        return put_set(t, c == 'S' ? SPACE : c == 'W' ? WORD : DIGIT, true);
    case 'v':
        return put(t, "\\x{b}");
    default:
        break;
    }
    if (c && (strchr("rntfae", c) ||
              (c > 0x20 && c < 0x7f &&
               !((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                 (c >= 'a' && c <= 'z')))))
        return text_put(&t->out, p, 2);
    if (!t->in_class && c && strchr("AzG", c))
        return text_put(&t->out, p, 2);
    return refuse(t, p, 2);
}

// What follows "(?": only groups that both engines read alike.
static enum err put_group(struct translation *t)
{
    static const char *const groups[] = {
        "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"};

    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        size_t n = strlen(groups[i]);

        if ((size_t)(t->end - t->in) >= n && !memcmp(t->in, groups[i], n)) {
            t->in += n;
            return put(t, groups[i]);
        }
    }
    return refuse(t, t->in, (size_t)(t->end - t->in) < 4 ? 2 : 4);
}

static bool next_is(const struct translation *t, const char *s)
{
    size_t n = strlen(s);

    return (size_t)(t->end - t->in) >= n && !memcmp(t->in, s, n);
}

static enum err put_in_class(struct translation *t)
{
    if (*t->in == '[' || next_is(t, "&&"))
        return refuse(t, "a set within a set", 18);
    if (*t->in == ']')
        t->in_class = false;
    return text_put(&t->out, t->in++, 1);
}

static enum err put_outside(struct translation *t)
{
    if (next_is(t, "(?"))
        return put_group(t);
    if (next_is(t, "(*"))
        return refuse(t, t->in, 2);
    if (next_is(t, "}+") || next_is(t, "{,"))
        return refuse(t, t->in, 2);
    if (*t->in == '[') {
        size_t n = next_is(t, "[^") ? 2 : 1;
        enum err err = text_put(&t->out, t->in, n);

        t->in += n;
        t->in_class = true;
        if (!err && next_is(t, "]"))
            err = refuse(t, "an empty set", 12);
        return err;
    }
    return text_put(&t->out, t->in++, 1);
}

static enum err translate(struct translation *t)
{
    enum err err = ERR_OK;

    while (t->in < t->end && !err) {
        if (*t->in == '\\')
            err = put_escape(t);
        else if (t->in_class)
            err = put_in_class(t);
        else
            err = put_outside(t);
    }
    return err;
}

static enum err compile(struct pattern *p, const struct text *source,
                        bool literal, char *why, size_t why_len)
{
    uint32_t options = PCRE2_UTF;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    int code;
    PCRE2_SIZE at;

    if (!context)
        return ERR_NOMEM;
    options |= literal ? PCRE2_LITERAL
                       : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE |
                             PCRE2_NEVER_BACKSLASH_C;
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    p->code = pcre2_compile((PCRE2_SPTR)source->ptr, source->len, options,
                            &code, &at, context);
    pcre2_compile_context_free(context);
    if (!p->code) {
        char message[128];

        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
        snprintf(why, why_len, "regular expression: %s", message);
        return ERR_FORMAT;
    }
    // Where there is no JIT the interpreter gives the same matches.
    (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);

    p->context = pcre2_match_context_create(NULL);
    if (!p->context)
        return ERR_NOMEM;
    pcre2_set_match_limit(p->context, MATCH_LIMIT);
    pcre2_set_heap_limit(p->context, HEAP_LIMIT_KIB);
    return ERR_OK;
}

enum err pattern_new(const char *source, size_t len, bool literal,
                     struct pattern **out, char *why, size_t why_len)
{
    enum err err;
    struct translation t = {
        .in = source, .end = source + len, .why = why, .why_len = why_len};
    struct pattern *p = NULL;

    if (len == 0 || len > PATTERN_LEN_MAX) {
        snprintf(why, why_len, "a pattern of %zu bytes (1 to %d are allowed)",
                 len, (int)PATTERN_LEN_MAX);
        return ERR_RANGE;
    }
    err = literal ? text_put(&t.out, source, len) : translate(&t);
    if (err)
        goto done;
    p = calloc(1, sizeof *p);
    if (!p) {
        err = ERR_NOMEM;
        goto done;
    }
    err = compile(p, &t.out, literal, why, why_len);
    if (err)
        goto done;
    *out = p;
    p = NULL;

done:
    pattern_free(p);
    text_release(&t.out);
    return err;
}

void pattern_free(struct pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    pcre2_match_context_free(pattern->context);
    free(pattern);
}

enum err pattern_walk_start(struct pattern_walk *walk,
                            const struct pattern *pattern, const char *text,
                            size_t len)
{
    *walk = (struct pattern_walk){
        .pattern = pattern, .text = text, .len = len, .last_end = SIZE_MAX};
    walk->match = pcre2_match_data_create_from_pattern(pattern->code, NULL);
    return walk->match ? ERR_OK : ERR_NOMEM;
}

static int match_at(const struct pattern_walk *w, size_t at)
{
    const struct pattern *p = w->pattern;
    PCRE2_SPTR text = (PCRE2_SPTR)w->text;
    int rc = pcre2_match(p->code, text, w->len, at, PCRE2_NO_UTF_CHECK,
                         w->match, p->context);

    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(p->code, text, w->len, at,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, w->match,
                         p->context);
    return rc;
}

enum err pattern_walk_next(struct pattern_walk *walk, bool *found,
                           size_t *start, size_t *end)
{
    while (walk->at <= walk->len) {
        int rc = match_at(walk, walk->at);
        uint32_t cp;

        if (rc == PCRE2_ERROR_NOMATCH)
            break;
        if (rc == PCRE2_ERROR_NOMEMORY)
            return ERR_NOMEM;
        if (rc < 0)
            return ERR_FULL;

        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(walk->match);
        bool repeated = at[0] == at[1] && at[0] == walk->last_end;
        walk->at = at[1];
        if (at[0] == at[1] && walk->at < walk->len)
            walk->at += (size_t)utf8_next(walk->text + walk->at,
                                          walk->len - walk->at, &cp);
        else if (at[0] == at[1])
            walk->at++;
        if (repeated)
            continue;
        walk->last_end = at[1];
        *start = at[0];
        *end = at[1];
        *found = true;
        return ERR_OK;
    }
    walk->at = walk->len + 1;
    *found = false;
    return ERR_OK;
}

void pattern_walk_stop(struct pattern_walk *walk)
{
    pcre2_match_data_free(walk->match);
    walk->match = NULL;
}
