// The form of an upload: its limits, and which of its fields is wrong.
#include "api/file_form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/batch_body.h"
#include "check.h"

static enum err on_write(void *ctx, const char *buf, size_t len)
{
    (void)buf;
    *(uint64_t *)ctx += len;
    return ERR_OK;
}

static enum err on_full(void *ctx, const char *buf, size_t len)
{
    (void)ctx, (void)buf, (void)len;
    return ERR_IO;
}

static bool put(struct api_file_form *form, const char *name, const char *text,
                uint64_t at)
{
    return api_file_form_part(form, name, "a", text, at, strlen(text));
}

static void two_hundred_megabytes_are_taken_and_no_more(void)
{
    enum { PIECE = 1 << 20 };
    char *piece = calloc(1, PIECE);
    uint64_t written = 0, at = 0;
    struct api_file_form form;
    int64_t keep_ms = -1;

    CHECK(piece);
    memset(piece, 'x', PIECE);
    api_file_form_init(&form, on_write, &written);
    CHECK(put(&form, "purpose", "batch", 0));
    for (; at < UINT64_C(200) << 20; at += PIECE)
        CHECK(api_file_form_part(&form, "file", "a", piece, at, PIECE));
    CHECK(api_file_form_end(&form, &keep_ms));
    CHECK_EQ(keep_ms, 0);
    CHECK(!api_file_form_part(&form, "file", "a", piece, at, 1));
    CHECK_EQ(form.status, 413);
    CHECK(strcmp(form.code, "file_too_large") == 0);
    CHECK(strcmp(form.param, "file") == 0);
    CHECK(strstr(form.why, "200 MB"));
    CHECK_EQ(written, UINT64_C(200) << 20);
    free(piece);
}

// Blank lines do not count, nor does a last one without an end.
static void fifty_thousand_lines_are_taken_and_no_more(void)
{
    uint64_t written = 0, at = 0;
    struct api_file_form form;

    api_file_form_init(&form, on_write, &written);
    for (int i = 0; i < API_BATCH_LINES_MAX; i++, at += 5)
        CHECK(put(&form, "file", "x\n \r\n", at));
    CHECK_EQ(form.n_lines, 50000);
    CHECK(put(&form, "file", "\n\t", at));
    CHECK(!put(&form, "file", "y", at + 2));
    CHECK_EQ(form.status, 400);
    CHECK(strcmp(form.code, "too_many_requests") == 0);
    CHECK(strcmp(form.param, "file") == 0);
}

static void what_is_wrong_is_named(void)
{
    static const struct {
        const char *parts[3][2];
        const char *param;
    } cases[] = {
        {{{"file", "{}"}}, "purpose"},
        {{{"purpose", "batch"}}, "file"},
        {{{"purpose", ""}, {"file", "{}"}}, "purpose"},
        {{{"purpose", "batch "}, {"file", "{}"}}, "purpose"},
        {{{"purpose", "batch"}, {"file", "{}"}, {"file", "{}"}}, "file"},
        {{{"purpose", "batch"}, {"colour", "red"}}, "colour"},
        {{{"purpose", "batch"},
          {"file", "{}"},
          {"expires_after[anchor]", "updated_at"}},
         "expires_after[anchor]"},
        {{{"purpose", "batch"},
          {"file", "{}"},
          {"expires_after[seconds]", "3599"}},
         "expires_after[seconds]"},
        {{{"purpose", "batch"},
          {"file", "{}"},
          {"expires_after[seconds]", "2592001"}},
         "expires_after[seconds]"},
        {{{"purpose", "batch"},
          {"file", "{}"},
          {"expires_after[seconds]", " 3600"}},
         "expires_after[seconds]"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t written = 0;
        struct api_file_form form;
        int64_t keep_ms = -1;
        bool ok = true;

        api_file_form_init(&form, on_write, &written);
        for (size_t k = 0; ok && k < 3 && cases[i].parts[k][0]; k++)
            ok = put(&form, cases[i].parts[k][0], cases[i].parts[k][1], 0);
        ok = ok && api_file_form_end(&form, &keep_ms);
        if (ok || strcmp(form.param, cases[i].param) != 0)
            fprintf(stderr, "case %zu: %s\n", i, form.param);
        CHECK(!ok);
        CHECK_EQ(form.status, 400);
        CHECK_EQ(keep_ms, -1);
        CHECK(strcmp(form.param, cases[i].param) == 0);
    }
}

static void a_full_disk_is_not_the_clients_fault(void)
{
    struct api_file_form form;

    api_file_form_init(&form, on_full, NULL);
    CHECK(!put(&form, "file", "{}", 0));
    CHECK_EQ(form.status, 503);
}

int main(void)
{
    two_hundred_megabytes_are_taken_and_no_more();
    fifty_thousand_lines_are_taken_and_no_more();
    what_is_wrong_is_named();
    a_full_disk_is_not_the_clients_fault();
    return 0;
}
