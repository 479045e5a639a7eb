#include "tokenizer/pretok.h"

#include <string.h>

const char PRETOK_GPT2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|"
                           " ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

// One text on its way through the steps.
struct run {
    const struct pretok *pretok;
    struct pretok_scratch *scratch;
    pretok_fn *fn;
    void *ctx;
};

// A text within one step, and the piece of it that was cut but may still grow.
struct cut {
    const struct run *run;
    size_t step; // index
    const char *ptr;
    bool first;      // ptr starts where the whole input does
    bool open;       // there is such a piece:
    size_t from, to; // its place
    bool match;      // whether its last part was a match
};

void pretok_release(struct pretok *pretok)
{
    for (size_t i = 0; i < pretok->n_steps; i++) {
        pattern_free(pretok->steps[i].pattern);
        text_release(&pretok->steps[i].content);
    }
    *pretok = (struct pretok){0};
}

void pretok_scratch_release(struct pretok_scratch *scratch)
{
    for (size_t i = 0; i < PRETOK_STEPS_MAX; i++) {
        text_release(&scratch->changed[i]);
        text_release(&scratch->word[i]);
    }
}

uint32_t pretok_byte_char(uint8_t byte)
{
    if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad))
        return byte;
    if (byte <= 0x20)
        return 0x100u + byte; // 00..20
    if (byte <= 0xa0)
        return 0x100u + 33u + (byte - 0x7fu); // 7f..a0
    return 0x100u + 67u;                      // ad
}

int pretok_char_byte(uint32_t cp)
{
    if (cp < 0x100)
        return pretok_byte_char((uint8_t)cp) == cp ? (int)cp : -1;
    if (cp <= 0x100 + 0x20)
        return (int)cp - 0x100;
    if (cp < 0x100 + 67)
        return (int)cp - (0x100 + 33) + 0x7f;
    return cp == 0x100 + 67 ? 0xad : -1;
}

static enum err run_from(const struct run *run, size_t step, const char *ptr,
                         size_t len, bool first);

static enum err put_byte_chars(struct text *out, const char *ptr, size_t len)
{
    enum err err = ERR_OK;

    out->len = 0;
    for (size_t i = 0; i < len && !err; i++) {
        char buf[4];

        err = text_put(out, buf,
                       utf8_write(pretok_byte_char((uint8_t)ptr[i]), buf));
    }
    return err;
}

// Hand the open piece to the next step.
static enum err cut_flush(struct cut *cut)
{
    const char *ptr = cut->ptr + cut->from;
    size_t len = cut->to - cut->from;
    bool first = cut->first && cut->from == 0;
    bool open = cut->open;

    cut->open = false;
    if (!open || len == 0)
        return ERR_OK;
    if (cut->run->pretok->steps[cut->step].kind == PRETOK_BYTE_LEVEL) {
        struct text *word = &cut->run->scratch->word[cut->step];
        enum err err = put_byte_chars(word, ptr, len);

        if (err)
            return err;
        ptr = word->ptr;
        len = word->len;
    }
    return run_from(cut->run, cut->step + 1, ptr, len, first);
}

// Whether a part joins the piece before it.
static bool part_joins(enum pretok_behaviour behaviour, bool was_match,
                       bool is_match)
{
    switch (behaviour) {
    case PRETOK_CONTIGUOUS:
        return is_match == was_match;
    case PRETOK_MERGED_WITH_PREVIOUS:
        return is_match && !was_match;
    case PRETOK_MERGED_WITH_NEXT:
        return was_match && !is_match;
    case PRETOK_REMOVED:
    case PRETOK_ISOLATED:
        break;
    }
    return false;
}

// Take the next part of the text, [from, to).
static enum err cut_part(struct cut *cut, size_t from, size_t to, bool match)
{
    const struct pretok_step *step = &cut->run->pretok->steps[cut->step];
    enum err err;

    match = match != step->invert;
    if (cut->open && part_joins(step->behaviour, cut->match, match)) {
        cut->to = to;
        cut->match = match;
        return ERR_OK;
    }
    err = cut_flush(cut);
    if (err)
        return err;
    cut->open = !(match && step->behaviour == PRETOK_REMOVED);
    cut->from = from;
    cut->to = to;
    cut->match = match;
    return ERR_OK;
}

static enum err cut_all(struct cut *cut, const struct pattern *pattern,
                        size_t len)
{
    struct pattern_walk walk;
    bool found;
    size_t start, end, done = 0;
    enum err err = pattern_walk_start(&walk, pattern, cut->ptr, len);

    if (err)
        return err;
    while (!(err = pattern_walk_next(&walk, &found, &start, &end)) && found) {
        if (done < start)
            err = cut_part(cut, done, start, false);
        if (!err)
            err = cut_part(cut, start, end, true);
        if (err)
            break;
        done = end;
    }
    pattern_walk_stop(&walk);
    if (!err && done < len)
        err = cut_part(cut, done, len, false);
    return err ? err : cut_flush(cut);
}

// Write the step's input with spaces replaced (Metaspace) and its prefix, if
// it wants one here, to out.
static enum err put_changed(const struct pretok_step *step, const char *ptr,
                            size_t len, bool first, struct text *out)
{
    bool meta = step->kind == PRETOK_METASPACE;
    const char *sign = meta ? step->content.ptr : " ";
    size_t sign_len = meta ? step->content.len : 1;
    bool has = (len >= sign_len && !memcmp(ptr, sign, sign_len)) ||
               (len >= 1 && ptr[0] == ' ');
    bool wants = step->prefix == PRETOK_ALWAYS ||
                 (step->prefix == PRETOK_FIRST && first);
    enum err err = ERR_OK;

    out->len = 0;
    if (wants && !has)
        err = text_put(out, sign, sign_len);
    if (!meta)
        return err ? err : text_put(out, ptr, len);
    for (size_t i = 0; i < len && !err; i++)
        err = ptr[i] == ' ' ? text_put(out, sign, sign_len)
                            : text_put(out, ptr + i, 1);
    return err;
}

static enum err run_from(const struct run *run, size_t step, const char *ptr,
                         size_t len, bool first)
{
    if (step == run->pretok->n_steps)
        return run->fn(ptr, len, run->ctx);

    const struct pretok_step *s = &run->pretok->steps[step];
    struct cut cut = {.run = run, .step = step, .first = first};

    if (s->kind == PRETOK_METASPACE || s->prefix != PRETOK_NEVER) {
        struct text *changed = &run->scratch->changed[step];
        enum err err = put_changed(s, ptr, len, first, changed);

        if (err)
            return err;
        ptr = changed->ptr;
        len = changed->len;
    }
    cut.ptr = ptr;
    if (s->pattern)
        return cut_all(&cut, s->pattern, len);
    cut.open = true;
    cut.to = len;
    return cut_flush(&cut);
}

enum err pretok_apply(const struct pretok *pretok, const char *ptr, size_t len,
                      bool first, struct pretok_scratch *scratch, pretok_fn *fn,
                      void *ctx)
{
    struct run run = {pretok, scratch, fn, ctx};

    return len ? run_from(&run, 0, ptr, len, first) : ERR_OK;
}
