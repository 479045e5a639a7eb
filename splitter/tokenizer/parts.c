#include "tokenizer/parts.h"

#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 8 }; // sequences within sequences

static enum err no_such(const struct complaint *to, const char *place,
                        const char *what)
{
    return complain(to, ERR_UNSUPPORTED, "%s %s is not supported", place, what);
}

static enum err too_many(const struct complaint *to, const char *place,
                         size_t max)
{
    return complain(to, ERR_RANGE, "%s: over %zu steps", place, max);
}

static enum err new_pattern(const struct complaint *to, const char *place,
                            const char *source, size_t len, bool literal,
                            struct pattern **out)
{
    char why[160] = "out of memory";
    enum err err = pattern_new(source, len, literal, out, why, sizeof why);

    return err ? complain(to, err, "%s: %s", place, why) : ERR_OK;
}

// member pattern: {"String": s} or {"Regex": s}
static enum err read_pattern(const struct complaint *to, const json_t *json,
                             const char *place, const char **ptr, size_t *len,
                             bool *literal)
{
    const json_t *pattern = json_object_get(json, "pattern");
    enum err err;

    if (!json_is_object(pattern))
        return complain(to, ERR_FORMAT, "%s.pattern must be an object", place);
    *literal = json_object_get(pattern, "String") != NULL;
    err = member_need_text(to, pattern, place, *literal ? "String" : "Regex",
                           ptr, len);
    if (!err && *len == 0)
        err = complain(to, ERR_FORMAT, "%s.pattern is empty", place);
    return err;
}

static enum err read_content(const struct complaint *to, const json_t *json,
                             const char *place, const char *key,
                             struct text *out)
{
    const char *ptr;
    size_t len;
    enum err err = member_need_text(to, json, place, key, &ptr, &len);

    return err ? err : text_put(out, ptr, len);
}

static enum err norm_replace(const struct complaint *to, const json_t *json,
                             struct norm_step *step)
{
    const char *ptr;
    size_t len;
    bool literal = true;
    enum err err = read_pattern(to, json, "normalizer", &ptr, &len, &literal);

    step->kind = NORM_REPLACE;
    if (!err)
        err = new_pattern(to, "normalizer.pattern", ptr, len, literal,
                          &step->pattern);
    if (!err)
        err = read_content(to, json, "normalizer", "content", &step->content);
    return err;
}

static enum err norm_part(const struct complaint *to, const json_t *json,
                          int depth, struct norm *out)
{
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
    const char *type;
    enum err err = member_type(to, json, "normalizer", &type);

    if (err)
        return err;
    if (!strcmp(type, "Sequence")) {
        json_t *list, *part;
        size_t i;

        err = member_list(to, json, "normalizer", "normalizers", &list);
        if (!err && depth == DEPTH_MAX)
            err = too_many(to, "normalizer", DEPTH_MAX);
        if (err)
            return err;
        json_array_foreach(
            list, i,
            part) if ((err = norm_part(to, part, depth + 1, out))) return err;
        return ERR_OK;
    }
    if (out->n_steps == NORM_STEPS_MAX)
        return too_many(to, "normalizer", NORM_STEPS_MAX);

    struct norm_step *step = &out->steps[out->n_steps++];
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(type, forms[i])) {
            step->kind = (enum norm_kind)(NORM_NFC + i);
            return ERR_OK;
        }
    if (!strcmp(type, "Prepend")) {
        step->kind = NORM_PREPEND;
        return read_content(to, json, "normalizer", "prepend", &step->content);
    }
    if (!strcmp(type, "Replace"))
        return norm_replace(to, json, step);
    return no_such(to, "normalizer", type);
}

enum err parts_norm(const struct complaint *to, const json_t *json,
                    struct norm *out)
{
    return !json || json_is_null(json) ? ERR_OK : norm_part(to, json, 0, out);
}

static enum err pretok_byte_level(const struct complaint *to,
                                  const json_t *json, struct pretok_step *step)
{
    bool prefix = true, use_regex = true;
    enum err err = member_bool(to, json, "pre_tokenizer", "add_prefix_space",
                               true, &prefix);

    if (!err)
        err = member_bool(to, json, "pre_tokenizer", "use_regex", true,
                          &use_regex);
    if (err)
        return err;
    step->kind = PRETOK_BYTE_LEVEL;
    step->prefix = prefix ? PRETOK_ALWAYS : PRETOK_NEVER;
    step->behaviour = PRETOK_ISOLATED;
    if (use_regex)
        err = new_pattern(to, "pre_tokenizer", PRETOK_GPT2, strlen(PRETOK_GPT2),
                          false, &step->pattern);
    return err;
}

static enum err pretok_split(const struct complaint *to, const json_t *json,
                             struct pretok_step *step)
{
    static const char *const names[] = {"Removed", "Isolated",
                                        "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"};
    enum { N_NAMES = sizeof names / sizeof *names };
    const char *ptr, *behaviour;
    size_t len, behaviour_len, i;
    bool literal = true;
    enum err err =
        read_pattern(to, json, "pre_tokenizer", &ptr, &len, &literal);

    step->kind = PRETOK_SPLIT;
    if (!err)
        err = new_pattern(to, "pre_tokenizer.pattern", ptr, len, literal,
                          &step->pattern);
    if (!err)
        err = member_bool(to, json, "pre_tokenizer", "invert", false,
                          &step->invert);
    if (!err)
        err = member_need_text(to, json, "pre_tokenizer", "behavior",
                               &behaviour, &behaviour_len);
    if (err)
        return err;
    for (i = 0; i < N_NAMES && strcmp(names[i], behaviour) != 0; i++)
        ;
    if (i == N_NAMES)
        return no_such(to, "pre_tokenizer.behavior", behaviour);
    step->behaviour = (enum pretok_behaviour)(PRETOK_REMOVED + i);
    return ERR_OK;
}

// Metaspace, of the pre-tokeniser or the decoder: the character, and how often
// it is put in front. Older files have add_prefix_space instead.
static enum err read_metaspace(const struct complaint *to, const json_t *json,
                               const char *place, struct text *content,
                               enum pretok_prefix *prefix)
{
    static const char *const names[] = {"never", "first", "always"};
    const char *scheme = NULL;
    size_t len, i;
    bool add = true;
    uint32_t cp;
    enum err err = read_content(to, json, place, "replacement", content);

    if (!err && (content->len == 0 || utf8_next(content->ptr, content->len,
                                                &cp) != (int)content->len))
        err = complain(to, ERR_FORMAT, "%s.replacement must be one character",
                       place);
    if (!err)
        err = member_bool(to, json, place, "add_prefix_space", true, &add);
    if (!err)
        err = member_text(to, json, place, "prepend_scheme", &scheme, &len);
    if (err)
        return err;
    *prefix = add ? PRETOK_ALWAYS : PRETOK_NEVER;
    if (!scheme)
        return ERR_OK;
    for (i = 0; i < 3 && strcmp(names[i], scheme) != 0; i++)
        ;
    if (i == 3)
        return no_such(to, place, scheme);
    *prefix = (enum pretok_prefix)(PRETOK_NEVER + i);
    return ERR_OK;
}

static enum err pretok_metaspace(const struct complaint *to, const json_t *json,
                                 struct pretok_step *step)
{
    bool split = true;
    enum err err = read_metaspace(to, json, "pre_tokenizer", &step->content,
                                  &step->prefix);

    if (!err)
        err = member_bool(to, json, "pre_tokenizer", "split", true, &split);
    if (err)
        return err;
    step->kind = PRETOK_METASPACE;
    step->behaviour = PRETOK_MERGED_WITH_NEXT;
    if (split)
        err = new_pattern(to, "pre_tokenizer", step->content.ptr,
                          step->content.len, true, &step->pattern);
    return err;
}

static enum err pretok_digits(const struct complaint *to, const json_t *json,
                              struct pretok_step *step)
{
    bool individual;
    enum err err = member_bool(to, json, "pre_tokenizer", "individual_digits",
                               false, &individual);

    if (err)
        return err;
    step->kind = PRETOK_SPLIT;
    step->behaviour = individual ? PRETOK_ISOLATED : PRETOK_CONTIGUOUS;
    return new_pattern(to, "pre_tokenizer", "\\p{N}", 5, false, &step->pattern);
}

static enum err pretok_part(const struct complaint *to, const json_t *json,
                            int depth, struct pretok *out)
{
    const char *type;
    enum err err = member_type(to, json, "pre_tokenizer", &type);

    if (err)
        return err;
    if (!strcmp(type, "Sequence")) {
        json_t *list, *part;
        size_t i;

        err = member_list(to, json, "pre_tokenizer", "pretokenizers", &list);
        if (!err && depth == DEPTH_MAX)
            err = too_many(to, "pre_tokenizer", DEPTH_MAX);
        if (err)
            return err;
        json_array_foreach(
            list, i,
            part) if ((err = pretok_part(to, part, depth + 1, out))) return err;
        return ERR_OK;
    }
    if (out->n_steps == PRETOK_STEPS_MAX)
        return too_many(to, "pre_tokenizer", PRETOK_STEPS_MAX);

    struct pretok_step *step = &out->steps[out->n_steps++];
    if (!strcmp(type, "ByteLevel"))
        return pretok_byte_level(to, json, step);
    if (!strcmp(type, "Split"))
        return pretok_split(to, json, step);
    if (!strcmp(type, "Metaspace"))
        return pretok_metaspace(to, json, step);
    if (!strcmp(type, "Digits"))
        return pretok_digits(to, json, step);
    return no_such(to, "pre_tokenizer", type);
}

enum err parts_pretok(const struct complaint *to, const json_t *json,
                      struct pretok *out)
{
    return !json || json_is_null(json) ? ERR_OK : pretok_part(to, json, 0, out);
}

static enum err decoder_replace(const struct complaint *to, const json_t *json,
                                struct decoder_step *step)
{
    const char *ptr;
    size_t len;
    bool literal = true;
    enum err err = read_pattern(to, json, "decoder", &ptr, &len, &literal);

    step->kind = DECODER_REPLACE;
    if (!err && !literal)
        err = no_such(to, "decoder", "Replace by a regular expression");
    if (!err)
        err = text_put(&step->from, ptr, len);
    if (!err)
        err = read_content(to, json, "decoder", "content", &step->to);
    return err;
}

static enum err decoder_metaspace(const struct complaint *to,
                                  const json_t *json, struct decoder *out,
                                  struct decoder_step *step)
{
    enum pretok_prefix prefix;
    enum err err = read_metaspace(to, json, "decoder", &step->from, &prefix);

    if (err)
        return err;
    step->kind = DECODER_METASPACE;
    step->start = prefix != PRETOK_NEVER;
    out->first_differs = out->first_differs || step->start;
    return ERR_OK;
}

// Strip works on each token or, once they are fused, on the whole text.
static enum err decoder_strip(const struct complaint *to, const json_t *json,
                              bool fused, struct decoder *out,
                              struct decoder_step *step)
{
    uint32_t start = 0, stop = 0, cp;
    enum err err = read_content(to, json, "decoder", "content", &step->from);

    if (!err)
        err = member_number(to, json, "decoder", "start", 1 << 16, &start);
    if (!err)
        err = member_number(to, json, "decoder", "stop", 1 << 16, &stop);
    if (err)
        return err;
    if (step->from.len == 0 ||
        utf8_next(step->from.ptr, step->from.len, &cp) != (int)step->from.len)
        return complain(to, ERR_FORMAT, "decoder.content must be a character");
    step->kind = DECODER_STRIP;
    if (!fused) {
        step->start = start;
        step->stop = stop;
        return ERR_OK;
    }
    if (stop || out->strip_max)
        return no_such(to, "decoder", "Strip off the end of the text");
    if (step->from.len != 1)
        return no_such(to, "decoder", "Strip of a character that is not ASCII");
    out->strip_char = step->from.ptr[0];
    out->strip_max = start;
    return ERR_OK;
}

// fused: some step made the tokens one text.
static enum err decoder_part(const struct complaint *to, const json_t *json,
                             int depth, bool *fused, struct decoder *out)
{
    const char *type;
    enum err err = member_type(to, json, "decoder", &type);

    if (err)
        return err;
    if (!strcmp(type, "Sequence")) {
        json_t *list, *part;
        size_t i;

        err = member_list(to, json, "decoder", "decoders", &list);
        if (!err && depth == DEPTH_MAX)
            err = too_many(to, "decoder", DEPTH_MAX);
        if (err)
            return err;
        json_array_foreach(
            list, i, part) if ((err = decoder_part(to, part, depth + 1, fused,
                                                   out))) return err;
        return ERR_OK;
    }
    if (!strcmp(type, "Fuse")) {
        *fused = true;
        return ERR_OK;
    }
    if (out->n_steps == DECODER_STEPS_MAX)
        return too_many(to, "decoder", DECODER_STEPS_MAX);

    struct decoder_step *step = &out->steps[out->n_steps++];
    if (!strcmp(type, "Strip"))
        return decoder_strip(to, json, *fused, out, step);
    if (*fused)
        return complain(to, ERR_UNSUPPORTED,
                        "decoder %s after Fuse is not supported", type);
    if (!strcmp(type, "ByteLevel")) {
        step->kind = DECODER_BYTE_LEVEL;
        *fused = true;
        return ERR_OK;
    }
    if (!strcmp(type, "ByteFallback")) {
        step->kind = DECODER_BYTE_FALLBACK;
        return ERR_OK;
    }
    if (!strcmp(type, "Replace"))
        return decoder_replace(to, json, step);
    if (!strcmp(type, "Metaspace"))
        return decoder_metaspace(to, json, out, step);
    return no_such(to, "decoder", type);
}

enum err parts_decoder(const struct complaint *to, const json_t *json,
                       struct decoder *out)
{
    bool fused = false;

    if (!json || json_is_null(json))
        return complain(to, ERR_UNSUPPORTED, "decoder null is not supported");
    return decoder_part(to, json, 0, &fused, out);
}
