#include "tokenizer/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/pretok.h"

void decoder_release(struct decoder *decoder)
{
    for (size_t i = 0; i < decoder->n_steps; i++) {
        text_release(&decoder->steps[i].from);
        text_release(&decoder->steps[i].to);
    }
    text_release(&decoder->bytes);
    free(decoder->offs);
    *decoder = (struct decoder){0};
}

static enum err put_byte_level(const char *ptr, size_t len, struct text *out)
{
    enum err err = ERR_OK;
    size_t before = out->len;

    for (size_t i = 0; i < len && !err;) {
        uint32_t cp = 0;
        int step = utf8_next(ptr + i, len - i, &cp);
        int byte = step > 0 ? pretok_char_byte(cp) : -1;
        char c = (char)byte;

        if (byte < 0) { // not of the byte level: an added token
            out->len = before;
            return text_put(out, ptr, len);
        }
        err = text_put(out, &c, 1);
        i += (size_t)step;
    }
    return err;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static enum err put_byte_fallback(const char *ptr, size_t len, struct text *out)
{
    if (len == 6 && !memcmp(ptr, "<0x", 3) && ptr[5] == '>') {
        int high = hex_digit(ptr[3]), low = hex_digit(ptr[4]);

        if (high >= 0 && low >= 0) {
            char c = (char)(high << 4 | low);
            return text_put(out, &c, 1);
        }
    }
    return text_put(out, ptr, len);
}

static bool starts_with(const char *ptr, size_t len, const struct text *what)
{
    return what->len && len >= what->len && !memcmp(ptr, what->ptr, what->len);
}

static enum err put_replaced(const char *ptr, size_t len,
                             const struct text *from, const char *to,
                             size_t to_len, struct text *out)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < len && !err;) {
        if (starts_with(ptr + i, len - i, from)) {
            err = text_put(out, to, to_len);
            i += from->len;
        } else {
            err = text_put(out, ptr + i++, 1);
        }
    }
    return err;
}

static enum err put_stripped(const struct decoder_step *step, const char *ptr,
                             size_t len, struct text *out)
{
    const struct text *from = &step->from;
    size_t n;

    for (n = 0; n < step->start && starts_with(ptr, len, from); n++) {
        ptr += from->len;
        len -= from->len;
    }
    for (n = 0; n < step->stop && len >= from->len &&
                starts_with(ptr + len - from->len, from->len, from);
         n++)
        len -= from->len;
    return text_put(out, ptr, len);
}

static enum err step_apply(const struct decoder_step *step, bool first,
                           const char *ptr, size_t len, struct text *out)
{
    switch (step->kind) {
    case DECODER_BYTE_LEVEL:
        return put_byte_level(ptr, len, out);
    case DECODER_BYTE_FALLBACK:
        return put_byte_fallback(ptr, len, out);
    case DECODER_REPLACE:
        return put_replaced(ptr, len, &step->from, step->to.ptr, step->to.len,
                            out);
    case DECODER_STRIP:
        return put_stripped(step, ptr, len, out);
    case DECODER_METASPACE:
        return put_replaced(ptr, len, &step->from, " ",
                            first && step->start ? 0 : 1, out);
    }
    return ERR_UNSUPPORTED;
}

// Append what a token's string gives after all steps.
static enum err render(const struct decoder *decoder, bool first,
                       const char *ptr, size_t len, struct text tmp[2],
                       struct text *out)
{
    for (size_t i = 0; i < decoder->n_steps; i++) {
        struct text *to = &tmp[i & 1];
        enum err err;

        to->len = 0;
        err = step_apply(&decoder->steps[i], first, ptr, len, to);
        if (err)
            return err;
        ptr = to->ptr;
        len = to->len;
    }
    return text_put(out, ptr, len);
}

enum err decoder_index(struct decoder *decoder, const struct vocab *vocab)
{
    enum err err = ERR_OK;
    struct text tmp[2] = {{0}, {0}};

    decoder->offs = calloc((size_t)vocab->n_ids + 1, sizeof *decoder->offs);
    if (!decoder->offs)
        return ERR_NOMEM;
    for (uint32_t id = 0; id < vocab->n_ids && !err; id++) {
        const char *ptr;
        size_t len;

        if (vocab_string(vocab, id, &ptr, &len))
            err = render(decoder, false, ptr, len, tmp, &decoder->bytes);
        decoder->offs[id + 1] = decoder->bytes.len;
    }
    text_release(&tmp[0]);
    text_release(&tmp[1]);
    return err;
}

static enum err put_front_stripped(const struct decoder *decoder,
                                   const char *ptr, size_t len,
                                   size_t *stripped, struct text *out)
{
    while (len && *stripped < decoder->strip_max &&
           *ptr == decoder->strip_char) {
        ptr++;
        len--;
        ++*stripped;
    }
    if (len)
        *stripped = SIZE_MAX;
    return text_put(out, ptr, len);
}

enum err decoder_put(const struct decoder *decoder, const struct vocab *vocab,
                     uint32_t id, bool first, size_t *stripped,
                     struct text *out)
{
    const char *ptr;
    size_t len;

    if (!vocab_string(vocab, id, &ptr, &len))
        return ERR_OK;
    if (first && decoder->first_differs) {
        struct text tmp[2] = {{0}, {0}}, whole = {0};
        enum err err = render(decoder, true, ptr, len, tmp, &whole);

        if (!err)
            err = put_front_stripped(decoder, whole.ptr, whole.len, stripped,
                                     out);
        text_release(&tmp[0]);
        text_release(&tmp[1]);
        text_release(&whole);
        return err;
    }
    size_t off = decoder->offs[id];
    const char *bytes = decoder->bytes.ptr;
    if (!bytes)
        return ERR_OK; // no token gives anything
    return put_front_stripped(decoder, bytes + off, decoder->offs[id + 1] - off,
                              stripped, out);
}
