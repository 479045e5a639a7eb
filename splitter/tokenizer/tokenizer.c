#include "tokenizer/tokenizer.h"

#include <string.h>

#include "tokenizer/inside.h"

// Memory and output of one call of tokenizer_encode.
struct encoding {
    const struct tokenizer *t;
    int flags;
    struct token_ids *out;
    struct text valid;       // the text, where it had to be repaired
    struct text normal, tmp; // the part of it that is worked on
    struct pretok_scratch pretok;
    struct bpe_scratch bpe;
};

uint32_t tokenizer_n_ids(const struct tokenizer *t)
{
    return t->bpe.vocab.n_ids;
}

bool tokenizer_find(const struct tokenizer *t, const char *token, uint32_t *id)
{
    size_t len = strlen(token);

    return vocab_find(&t->names, token, len, id) ||
           vocab_find(&t->bpe.vocab, token, len, id);
}

bool tokenizer_is_special(const struct tokenizer *t, uint32_t id)
{
    return id < t->bpe.vocab.n_ids && t->special[id];
}

static enum err on_word(const char *word, size_t len, void *ctx)
{
    struct encoding *e = ctx;

    return bpe_encode(&e->t->bpe, word, len, &e->bpe, e->out);
}

static enum err encode_words(struct encoding *e, const char *ptr, size_t len,
                             bool first)
{
    return pretok_apply(&e->t->pretok, ptr, len, first, &e->pretok, on_word, e);
}

// Text between raw added tokens.
static enum err encode_part(struct encoding *e, const char *ptr, size_t len,
                            bool first);

// Cut the added tokens out of text and encode what is between them: raw ones
// out of the text as it came, then normal ones out of its normal form.
static enum err encode_around(struct encoding *e, bool raw, const char *ptr,
                              size_t len, bool first)
{
    const struct added *added = raw ? &e->t->raw : &e->t->normal;
    const struct added_token *token;
    size_t at = 0, from = 0, start, end;
    enum err err = ERR_OK;

    do {
        token = added_next(added, ptr, len, &at, &start, &end);
        if (token && token->special && (e->flags & TOKENIZER_PLAIN))
            continue; // stays in the text
        if (start > from) {
            bool begins = first && from == 0;

            err = raw ? encode_part(e, ptr + from, start - from, begins)
                      : encode_words(e, ptr + from, start - from, begins);
        }
        if (!err && token)
            err = token_ids_put(e->out, token->id);
        from = end;
    } while (token && !err);
    return err;
}

static enum err encode_part(struct encoding *e, const char *ptr, size_t len,
                            bool first)
{
    enum err err = norm_apply(&e->t->norm, ptr, len, &e->normal, &e->tmp);

    return err ? err
               : encode_around(e, false, e->normal.ptr, e->normal.len, first);
}

static bool is_utf8(const char *ptr, size_t len)
{
    uint32_t cp;
    int step;

    for (size_t i = 0; i < len; i += (size_t)step) {
        step = utf8_next(ptr + i, len - i, &cp);
        if (step <= 0)
            return false;
    }
    return true;
}

static enum err put_ids(struct token_ids *out, const struct token_ids *ids,
                        int flags)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < ids->len && !err; i++)
        if (flags & TOKENIZER_ADD_SPECIAL)
            err = token_ids_put(out, ids->ptr[i]);
    return err;
}

enum err tokenizer_encode(const struct tokenizer *t, const char *text,
                          size_t len, int flags, struct token_ids *out)
{
    struct encoding e = {.t = t, .flags = flags, .out = out};
    enum err err;

    if (len > TOKENIZER_TEXT_MAX)
        return ERR_RANGE;
    err = put_ids(out, &t->before, flags);
    if (!err && !is_utf8(text, len)) {
        err = text_put_utf8(&e.valid, text, len, NULL);
        text = e.valid.ptr;
        len = e.valid.len;
    }
    if (!err)
        err = encode_around(&e, true, text, len, true);
    if (!err)
        err = put_ids(out, &t->after, flags);

    bpe_scratch_release(&e.bpe);
    pretok_scratch_release(&e.pretok);
    text_release(&e.tmp);
    text_release(&e.normal);
    text_release(&e.valid);
    return err;
}

enum err tokenizer_decode(const struct tokenizer *t, const uint32_t *ids,
                          size_t n, int flags, struct text *out)
{
    enum err err = ERR_OK;
    size_t stripped = 0;
    bool first = true;

    for (size_t i = 0; i < n && !err; i++) {
        if ((flags & TOKENIZER_SKIP_SPECIAL) && tokenizer_is_special(t, ids[i]))
            continue;
        err = decoder_put(&t->decoder, &t->bpe.vocab, ids[i], first, &stripped,
                          out);
        first = false;
    }
    return err;
}

enum err tokenizer_decode_text(const struct tokenizer *t, const uint32_t *ids,
                               size_t n, int flags, struct text *out)
{
    struct text bytes = {0};
    enum err err = tokenizer_decode(t, ids, n, flags, &bytes);

    if (!err)
        err = text_put_utf8(out, bytes.ptr, bytes.len, NULL);
    text_release(&bytes);
    return err;
}

void tokenizer_stream_init(struct tokenizer_stream *stream,
                           const struct tokenizer *t, int flags)
{
    *stream = (struct tokenizer_stream){.tokenizer = t, .flags = flags};
}

enum err tokenizer_stream_put(struct tokenizer_stream *stream, uint32_t id,
                              struct text *out)
{
    const struct tokenizer *t = stream->tokenizer;
    struct text bytes = {0};
    size_t held = 0;
    enum err err;

    if ((stream->flags & TOKENIZER_SKIP_SPECIAL) && tokenizer_is_special(t, id))
        return ERR_OK;
    err = text_put(&bytes, stream->held, stream->n_held);
    if (!err)
        err = decoder_put(&t->decoder, &t->bpe.vocab, id, !stream->begun,
                          &stream->stripped, &bytes);
    if (!err)
        err = text_put_utf8(out, bytes.ptr, bytes.len, &held);
    if (!err) {
        stream->begun = true;
        stream->n_held = held;
        if (held)
            memcpy(stream->held, bytes.ptr + bytes.len - held, held);
    }
    text_release(&bytes);
    return err;
}

enum err tokenizer_stream_end(struct tokenizer_stream *stream, struct text *out)
{
    enum err err = text_put_utf8(out, stream->held, stream->n_held, NULL);

    stream->n_held = 0;
    return err;
}
