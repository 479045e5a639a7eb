#include "tokenizer/text.h"

#include <stdlib.h>
#include <string.h>

static const char REPLACEMENT[] = "\xEF\xBF\xBD"; // U+FFFD

// Room for n more elements of size bytes; *cap counts elements.
static void *grown(void *ptr, size_t len, size_t n, size_t size, size_t *cap)
{
    size_t want = *cap < 64 ? 64 : *cap;

    if (n > SIZE_MAX / size / 4 - len)
        return NULL;
    while (want < len + n)
        want *= 2;

    void *p = realloc(ptr, want * size);
    if (p)
        *cap = want;
    return p;
}

enum err text_put(struct text *text, const void *src, size_t n)
{
    if (text->cap - text->len < n) {
        char *p = grown(text->ptr, text->len, n, 1, &text->cap);
        if (!p)
            return ERR_NOMEM;
        text->ptr = p;
    }
    if (n)
        memcpy(text->ptr + text->len, src, n);
    text->len += n;
    return ERR_OK;
}

enum err token_ids_put(struct token_ids *ids, uint32_t id)
{
    if (ids->cap == ids->len) {
        uint32_t *p = grown(ids->ptr, ids->len, 1, sizeof *p, &ids->cap);
        if (!p)
            return ERR_NOMEM;
        ids->ptr = p;
    }
    ids->ptr[ids->len++] = id;
    return ERR_OK;
}

void text_release(struct text *text)
{
    free(text->ptr);
    *text = (struct text){0};
}

void token_ids_release(struct token_ids *ids)
{
    free(ids->ptr);
    *ids = (struct token_ids){0};
}

int utf8_next(const char *p, size_t len, uint32_t *cp)
{
    const uint8_t *b = (const uint8_t *)p;
    uint8_t low = 0x80, high = 0xBF; // of the second byte
    uint32_t v;
    int n;

    if (b[0] < 0x80) {
        *cp = b[0];
        return 1;
    }
    if (b[0] < 0xC2 || b[0] > 0xF4)
        return -1;
    if (b[0] < 0xE0) {
        n = 2;
        v = b[0] & 0x1Fu;
    } else if (b[0] < 0xF0) {
        n = 3;
        v = b[0] & 0x0Fu;
        if (b[0] == 0xE0)
            low = 0xA0; // shorter forms exist
        else if (b[0] == 0xED)
            high = 0x9F; // surrogates
    } else {
        n = 4;
        v = b[0] & 0x07u;
        if (b[0] == 0xF0)
            low = 0x90;
        else if (b[0] == 0xF4)
            high = 0x8F; // past U+10FFFF
    }
    for (int i = 1; i < n; i++) {
        if ((size_t)i >= len)
            return 0;
        if (b[i] < low || b[i] > high)
            return -i;
        v = v << 6 | (b[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *cp = v;
    return n;
}

size_t utf8_write(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

enum err text_put_utf8(struct text *text, const char *src, size_t n,
                       size_t *held)
{
    enum err err = ERR_OK;
    size_t good = 0; // start of what is valid and not yet written
    size_t i = 0;
    uint32_t cp;

    if (held)
        *held = 0;
    if (n == 0)
        return ERR_OK;
    while (i < n && !err) {
        int step = utf8_next(src + i, n - i, &cp);

        if (step > 0) {
            i += (size_t)step;
            continue;
        }
        err = text_put(text, src + good, i - good);
        if (step == 0 && held) {
            *held = n - i;
            return err;
        }
        if (!err)
            err = text_put(text, REPLACEMENT, 3);
        i = step ? i + (size_t)-step : n;
        good = i;
    }
    if (!err)
        err = text_put(text, src + good, i - good);
    return err;
}
