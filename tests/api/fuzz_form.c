// The form of an uploaded file: any parts in any pieces, with a byte for the
// kind of part and one for its length, are taken or refused by name, and the
// file's bytes come through unchanged.
#include <stdlib.h>
#include <string.h>

#include "api/batch_body.h"
#include "api/file_form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sink {
    char *text;
    size_t len;
};

static enum err on_write(void *ctx, const char *buf, size_t len)
{
    struct sink *sink = ctx;

    if (len > 0)
        memcpy(sink->text + sink->len, buf, len);
    sink->len += len;
    return ERR_OK;
}

static void look(const struct api_file_form *form, bool ok)
{
    if (ok == (form->status != 0))
        abort();
    if (!ok && (form->status < 400 || !form->code || strlen(form->why) < 5))
        abort();
    if (strlen(form->purpose) > API_FORM_FIELD_MAX ||
        form->n_lines > API_BATCH_LINES_MAX + 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {
        "purpose", "file", "expires_after[anchor]", "expires_after[seconds]"};
    struct sink sink = {malloc(size + 1), 0}, want = {malloc(size + 1), 0};
    struct api_file_form form;
    uint64_t at[4] = {0};
    int64_t keep_ms = -1;
    bool ok = true;

    if (!sink.text || !want.text)
        abort();
    api_file_form_init(&form, on_write, &sink);
    while (ok && size >= 2) {
        size_t kind = data[0] % 8, len = data[1];
        char name[17] = "", *piece;

        data += 2;
        size -= 2;
        if (len > size)
            len = size;
        piece = malloc(len ? len : 1); // so that an overread is seen
        if (!piece)
            abort();
        if (len > 0)
            memcpy(piece, data, len);
        if (kind == 4) { // a name of its own, and a part that begins anew
            memcpy(name, piece, len < 16 ? len : 16);
            ok = api_file_form_part(&form, name, name, piece, 0, len);
        } else {
            size_t k = kind % 4;

            ok = api_file_form_part(&form, names[k], kind > 4 ? "n" : NULL,
                                    piece, at[k], len);
            at[k] += len;
            if (ok && k == 1)
                (void)!on_write(&want, piece, len);
        }
        if (ok && kind == 4 && strcmp(name, "file") == 0)
            (void)!on_write(&want, piece, len);
        look(&form, ok);
        free(piece);
        data += len;
        size -= len;
    }
    if (ok) {
        ok = api_file_form_end(&form, &keep_ms);
        look(&form, ok);
        if (ok && (keep_ms < 0 || !form.has_file ||
                   keep_ms > (int64_t)API_FORM_KEEP_S_MAX * 1000))
            abort();
    }
    if (sink.len != want.len || form.n_bytes != want.len ||
        memcmp(sink.text, want.text, want.len) != 0)
        abort();
    free(sink.text);
    free(want.text);
    return 0;
}
