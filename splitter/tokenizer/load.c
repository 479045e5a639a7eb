#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/inside.h"
#include "tokenizer/member.h"
#include "tokenizer/parts.h"
#include "tokenizer/tokenizer.h"

enum { SHOWN = 40 }; // bytes of a string of the file in a complaint

static enum err load_vocab(const struct complaint *to, json_t *model,
                           struct vocab *vocab)
{
    json_t *map = json_object_get(model, "vocab"), *value;
    const char *key;
    enum err err;

    if (!json_is_object(map) || json_object_size(map) == 0)
        return complain(to, ERR_FORMAT, "model.vocab must be an object");
    err = vocab_init(vocab, json_object_size(map));
    if (err)
        return complain(to, err, "model.vocab: %zu tokens (%d are allowed)",
                        json_object_size(map), (int)VOCAB_IDS_MAX);
    json_object_foreach(map, key, value)
    {
        json_int_t id = json_integer_value(value);

        if (!json_is_integer(value) || id < 0 || id >= VOCAB_IDS_MAX)
            return complain(to, ERR_RANGE,
                            "model.vocab: the id of \"%.*s\" must be an "
                            "integer below %d",
                            SHOWN, key, (int)VOCAB_IDS_MAX);
        err = vocab_add(vocab, (uint32_t)id, key, strlen(key), true);
        if (err)
            return complain(to, err, "model.vocab: \"%.*s\", id %d: %s", SHOWN,
                            key, (int)id, err_text(err));
    }
    return ERR_OK;
}

// The two strings of a merge: ["a", "b"] or "a b".
static bool merge_split(const json_t *merge, const char *part[2], size_t len[2])
{
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        for (size_t i = 0; i < 2; i++) {
            const json_t *s = json_array_get(merge, i);

            if (!json_is_string(s))
                return false;
            part[i] = json_string_value(s);
            len[i] = json_string_length(s);
        }
        return true;
    }
    if (!json_is_string(merge))
        return false;

    const char *s = json_string_value(merge);
    size_t n = json_string_length(merge);
    const char *space = memchr(s, ' ', n);
    if (!space || memchr(space + 1, ' ', n - (size_t)(space + 1 - s)))
        return false;
    part[0] = s;
    len[0] = (size_t)(space - s);
    part[1] = space + 1;
    len[1] = n - len[0] - 1;
    return true;
}

static enum err load_merge(const struct complaint *to, const json_t *merge,
                           size_t rank, struct bpe *bpe, struct text *joined)
{
    const char *part[2];
    size_t len[2];
    uint32_t id[2], both;
    enum err err;

    if (!merge_split(merge, part, len))
        return complain(to, ERR_FORMAT,
                        "model.merges[%zu] must be two strings, or one with a "
                        "space between them",
                        rank);
    joined->len = 0;
    for (size_t i = 0; i < 2; i++) {
        if (!vocab_find(&bpe->vocab, part[i], len[i], &id[i]))
            return complain(to, ERR_NOT_FOUND,
                            "model.merges[%zu]: \"%.*s\" is no token", rank,
                            (int)(len[i] < SHOWN ? len[i] : SHOWN), part[i]);
        err = text_put(joined, part[i], len[i]);
        if (err)
            return err;
    }
    if (!vocab_find(&bpe->vocab, joined->ptr, joined->len, &both))
        return complain(to, ERR_NOT_FOUND,
                        "model.merges[%zu] makes \"%.*s\", which is no token",
                        rank, (int)(joined->len < SHOWN ? joined->len : SHOWN),
                        joined->ptr);
    bpe_merge(bpe, id[0], id[1], (uint32_t)rank, both);
    return ERR_OK;
}

static enum err load_merges(const struct complaint *to, json_t *model,
                            struct bpe *bpe)
{
    json_t *list, *merge;
    size_t i;
    struct text joined = {0};
    enum err err = member_list(to, model, "model", "merges", &list);

    if (err)
        return err;
    err = bpe_init_merges(bpe, json_array_size(list));
    if (err)
        return complain(to, err, "model.merges: %zu (%d are allowed)",
                        json_array_size(list), (int)BPE_MERGES_MAX);
    json_array_foreach(list, i, merge)
    {
        err = load_merge(to, merge, i, bpe, &joined);
        if (err)
            break;
    }
    text_release(&joined);
    return err;
}

// What this BPE cannot do must be off.
static enum err refuse_options(const struct complaint *to, json_t *model)
{
    static const char *const affixes[] = {"continuing_subword_prefix",
                                          "end_of_word_suffix"};
    const json_t *dropout = json_object_get(model, "dropout");
    const char *ptr;
    size_t len;

    if (dropout && !json_is_null(dropout) && json_number_value(dropout) != 0)
        return complain(to, ERR_UNSUPPORTED, "model.dropout is not supported");
    for (size_t i = 0; i < 2; i++) {
        enum err err = member_text(to, model, "model", affixes[i], &ptr, &len);

        if (!err && len)
            err = complain(to, ERR_UNSUPPORTED,
                           "model.%s \"%.*s\" is not supported", affixes[i],
                           SHOWN, ptr);
        if (err)
            return err;
    }
    return ERR_OK;
}

static enum err load_model(const struct complaint *to, json_t *root,
                           struct bpe *bpe)
{
    json_t *model = json_object_get(root, "model");
    const char *type, *unk;
    size_t len;
    enum err err;

    if (!json_is_object(model))
        return complain(to, ERR_FORMAT, "model must be an object");
    err = member_text(to, model, "model", "type", &type, &len);
    if (err)
        return err;
    // Files from before the member existed have merges if they are BPE.
    if (type ? strcmp(type, "BPE") != 0 : !json_object_get(model, "merges"))
        return complain(to, ERR_UNSUPPORTED, "model %.*s is not supported",
                        SHOWN, type ? type : "without a type");
    if ((err = refuse_options(to, model)) ||
        (err = member_bool(to, model, "model", "fuse_unk", false,
                           &bpe->fuse_unk)) ||
        (err = member_bool(to, model, "model", "byte_fallback", false,
                           &bpe->byte_fallback)) ||
        (err = member_bool(to, model, "model", "ignore_merges", false,
                           &bpe->ignore_merges)) ||
        (err = member_text(to, model, "model", "unk_token", &unk, &len)) ||
        (err = load_vocab(to, model, &bpe->vocab)) ||
        (err = load_merges(to, model, bpe)))
        return err;

    bpe->unk = BPE_NO_ID;
    if (unk && !vocab_find(&bpe->vocab, unk, len, &bpe->unk))
        return complain(to, ERR_NOT_FOUND,
                        "model.unk_token \"%.*s\" is no token", SHOWN, unk);
    bpe_index(bpe);
    return ERR_OK;
}

// Put a token where it will be found: in the text as it comes, or in normal
// text by its own normal form.
static enum err put_added(struct tokenizer *t, const char *ptr, size_t len,
                          bool normalized, const struct added_token *token)
{
    struct text form = {0}, tmp = {0};
    enum err err = ERR_OK;

    if (!normalized)
        return added_put(&t->raw, ptr, len, token);
    err = norm_apply(&t->norm, ptr, len, &form, &tmp);
    if (!err && form.len)
        err = added_put(&t->normal, form.ptr, form.len, token);
    text_release(&form);
    text_release(&tmp);
    return err;
}

static enum err load_added_token(const struct complaint *to, const json_t *json,
                                 const char *place, struct tokenizer *t)
{
    struct added_token token = {0};
    const char *ptr;
    size_t len;
    uint32_t model_id;
    bool normalized, in_model;
    enum err err;

    if (!json_is_object(json))
        return complain(to, ERR_FORMAT, "%s must be an object", place);
    if ((err = member_number(to, json, place, "id", VOCAB_IDS_MAX - 1,
                             &token.id)) ||
        (err = member_need_text(to, json, place, "content", &ptr, &len)) ||
        (err = member_bool(to, json, place, "single_word", false,
                           &token.single_word)) ||
        (err = member_bool(to, json, place, "lstrip", false, &token.lstrip)) ||
        (err = member_bool(to, json, place, "rstrip", false, &token.rstrip)) ||
        (err =
             member_bool(to, json, place, "special", false, &token.special)) ||
        (err = member_bool(to, json, place, "normalized", !token.special,
                           &normalized)))
        return err;
    if (len == 0)
        return complain(to, ERR_FORMAT, "%s.content is empty", place);

    in_model = vocab_find(&t->bpe.vocab, ptr, len, &model_id);
    if (in_model && model_id != token.id)
        return complain(to, ERR_EXISTS, "%s.id is %u, in model.vocab it is %u",
                        place, (unsigned)token.id, (unsigned)model_id);
    if (!in_model)
        err = vocab_add(&t->bpe.vocab, token.id, ptr, len, false);
    if (!err && vocab_find(&t->names, ptr, len, &model_id))
        err = ERR_EXISTS;
    if (!err)
        err = vocab_add(&t->names, token.id, ptr, len, true);
    if (!err)
        err = put_added(t, ptr, len, normalized, &token);
    if (err)
        return complain(to, err, "%s, \"%.*s\", id %u: %s", place, SHOWN, ptr,
                        (unsigned)token.id, err_text(err));
    return ERR_OK;
}

static enum err load_added(const struct complaint *to, json_t *root,
                           struct tokenizer *t)
{
    json_t *list = json_object_get(root, "added_tokens"), *token;
    size_t i;
    enum err err;

    if (list && !json_is_null(list) && !json_is_array(list))
        return complain(to, ERR_FORMAT, "added_tokens must be a list");
    err = vocab_init(&t->names, json_array_size(list));
    if (err)
        return complain(to, err, "added_tokens: %zu (%d are allowed)",
                        json_array_size(list), (int)VOCAB_IDS_MAX);
    json_array_foreach(list, i, token)
    {
        char place[40];

        snprintf(place, sizeof place, "added_tokens[%zu]", i);
        err = load_added_token(to, token, place, t);
        if (err)
            return err;
    }
    t->special = calloc(t->bpe.vocab.n_ids, 1);
    if (!t->special)
        return ERR_NOMEM;
    for (i = 0; i < t->raw.n_tokens; i++)
        t->special[t->raw.tokens[i].id] = t->raw.tokens[i].special;
    for (i = 0; i < t->normal.n_tokens; i++)
        t->special[t->normal.tokens[i].id] = t->normal.tokens[i].special;
    return ERR_OK;
}

// The ids of a special token that a template names.
static enum err template_token(const struct complaint *to, const json_t *tokens,
                               const json_t *piece, const struct tokenizer *t,
                               struct token_ids *out)
{
    const char *name;
    size_t len, i;
    json_t *ids, *id;
    enum err err =
        member_need_text(to, piece, "post_processor.single", "id", &name, &len);

    if (err)
        return err;
    const json_t *token = json_object_get(tokens, name);
    if (!token)
        return complain(to, ERR_NOT_FOUND,
                        "post_processor.special_tokens has no \"%.*s\"", SHOWN,
                        name);
    err = member_list(to, token, "post_processor.special_tokens", "ids", &ids);
    if (err)
        return err;
    json_array_foreach(ids, i, id)
    {
        json_int_t v = json_integer_value(id);

        if (!json_is_integer(id) || v < 0 || v >= t->bpe.vocab.n_ids)
            return complain(to, ERR_RANGE,
                            "post_processor.special_tokens \"%.*s\": ids must "
                            "be token ids",
                            SHOWN, name);
        err = token_ids_put(out, (uint32_t)v);
        if (err)
            return err;
    }
    return ERR_OK;
}

static enum err load_template(const struct complaint *to, const json_t *json,
                              struct tokenizer *t)
{
    const json_t *tokens = json_object_get(json, "special_tokens");
    json_t *list, *piece;
    size_t i, n_texts = 0;
    enum err err = member_list(to, json, "post_processor", "single", &list);

    if (err)
        return err;
    json_array_foreach(list, i, piece)
    {
        const json_t *special = json_object_get(piece, "SpecialToken");

        if (special)
            err = template_token(to, tokens, special, t,
                                 n_texts ? &t->after : &t->before);
        else if (json_object_get(piece, "Sequence"))
            n_texts++;
        else
            err = complain(to, ERR_FORMAT,
                           "post_processor.single[%zu] must be a SpecialToken "
                           "or a Sequence",
                           i);
        if (err)
            return err;
    }
    if (n_texts != 1)
        return complain(to, ERR_UNSUPPORTED,
                        "post_processor.single has %zu Sequences, not one",
                        n_texts);
    return ERR_OK;
}

static enum err load_post(const struct complaint *to, const json_t *json,
                          int depth, bool *templated, struct tokenizer *t)
{
    const char *type;
    json_t *list, *part;
    size_t i;
    enum err err;

    if (!json || json_is_null(json))
        return ERR_OK;
    err = member_type(to, json, "post_processor", &type);
    if (err)
        return err;
    if (!strcmp(type, "ByteLevel")) // is about offsets only
        return ERR_OK;
    if (!strcmp(type, "TemplateProcessing") && !*templated) {
        *templated = true;
        return load_template(to, json, t);
    }
    if (strcmp(type, "Sequence") != 0 || depth > 0)
        return complain(to, ERR_UNSUPPORTED,
                        "post_processor %.*s is not supported%s", SHOWN, type,
                        *templated ? " here" : "");
    err = member_list(to, json, "post_processor", "processors", &list);
    if (err)
        return err;
    json_array_foreach(list, i,
                       part) if ((err = load_post(to, part, depth + 1,
                                                  templated, t))) return err;
    return ERR_OK;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    token_ids_release(&t->after);
    token_ids_release(&t->before);
    decoder_release(&t->decoder);
    pretok_release(&t->pretok);
    norm_release(&t->norm);
    added_release(&t->normal);
    added_release(&t->raw);
    free(t->special);
    vocab_release(&t->names);
    bpe_release(&t->bpe);
    free(t);
}

static enum err load_all(const struct complaint *to, json_t *root,
                         struct tokenizer *t)
{
    bool templated = false;
    enum err err;

    if (!json_is_object(root))
        return complain(to, ERR_FORMAT, "the file must hold an object");
    if ((err = load_model(to, root, &t->bpe)) ||
        (err = parts_norm(to, json_object_get(root, "normalizer"), &t->norm)) ||
        (err = parts_pretok(to, json_object_get(root, "pre_tokenizer"),
                            &t->pretok)) ||
        (err = load_added(to, root, t)) ||
        (err = load_post(to, json_object_get(root, "post_processor"), 0,
                         &templated, t)) ||
        (err =
             parts_decoder(to, json_object_get(root, "decoder"), &t->decoder)))
        return err;
    return decoder_index(&t->decoder, &t->bpe.vocab);
}

enum err tokenizer_parse(const char *json, size_t len, struct tokenizer **out,
                         char *why, size_t why_len)
{
    enum err err = ERR_OK;
    struct complaint to = {why, why_len};
    json_t *root = NULL;
    struct tokenizer *t = NULL;
    json_error_t at;

    complain(&to, ERR_NOMEM, "%s",
             err_text(ERR_NOMEM)); // unless said otherwise
    if (len > TOKENIZER_FILE_MAX) {
        err = complain(&to, ERR_RANGE, "%zu bytes (%d are allowed)", len,
                       (int)TOKENIZER_FILE_MAX);
        goto done;
    }
    root = json_loadb(json, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);
    if (!root) {
        err = complain(&to, ERR_FORMAT, "line %d: %s", at.line, at.text);
        goto done;
    }
    t = calloc(1, sizeof *t);
    if (!t) {
        err = ERR_NOMEM;
        goto done;
    }
    err = load_all(&to, root, t);
    if (err)
        goto done;
    *out = t;
    t = NULL;

done:
    tokenizer_free(t);
    json_decref(root);
    return err;
}

static enum err read_file(const char *path, struct text *out,
                          const struct complaint *to)
{
    enum err err = ERR_OK;
    char buf[1 << 14];
    FILE *f = fopen(path, "rb");

    if (!f)
        return complain(to, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s",
                        path, strerror(errno));
    for (size_t n; !err && (n = fread(buf, 1, sizeof buf, f));) {
        err = text_put(out, buf, n);
        if (!err && out->len > TOKENIZER_FILE_MAX)
            err = complain(to, ERR_RANGE, "%s: over %d bytes", path,
                           (int)TOKENIZER_FILE_MAX);
    }
    if (!err && ferror(f))
        err = complain(to, ERR_IO, "%s: %s", path, strerror(errno));
    fclose(f);
    return err;
}

enum err tokenizer_load(const char *path, struct tokenizer **out, char *why,
                        size_t why_len)
{
    struct complaint to = {why, why_len};
    struct text json = {0};
    enum err err;

    complain(&to, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    err = read_file(path, &json, &to);
    if (!err) {
        char detail[256];

        err = tokenizer_parse(json.ptr ? json.ptr : "", json.len, out, detail,
                              sizeof detail);
        if (err)
            complain(&to, err, "%s: %s", path, detail);
    }
    text_release(&json);
    return err;
}
