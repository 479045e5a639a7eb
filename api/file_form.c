#include "api/file_form.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/batch_body.h"
#include "api/query.h"

void api_file_form_init(struct api_file_form *form, api_form_write_fn *write,
                        void *ctx)
{
    *form = (struct api_file_form){.write = write, .ctx = ctx};
}

static bool wrong(struct api_file_form *form, unsigned status,
                  const char *param, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

static bool wrong(struct api_file_form *form, unsigned status,
                  const char *param, const char *code, const char *fmt, ...)
{
    va_list args;

    form->status = status;
    form->code = code;
    snprintf(form->param, sizeof form->param, "%s", param);
    va_start(args, fmt);
    vsnprintf(form->why, sizeof form->why, fmt, args);
    va_end(args);
    return false;
}

static bool field_put(struct api_file_form *form, const char *name, char *out,
                      const char *buf, uint64_t at, size_t len)
{
    if (at > API_FORM_FIELD_MAX || len > API_FORM_FIELD_MAX - at)
        return wrong(form, 400, name, "invalid_field",
                     "%s is over %d bytes long", name, API_FORM_FIELD_MAX);
    if (len > 0)
        memcpy(out + at, buf, len);
    out[at + len] = '\0';
    return true;
}

// Count the lines that are not blank.
static void lines_count(struct api_file_form *form, const char *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (buf[i] == '\n') {
            form->in_line = false;
        } else if (!form->in_line && buf[i] != ' ' && buf[i] != '\t' &&
                   buf[i] != '\r') {
            form->in_line = true;
            form->n_lines++;
        }
    }
}

static bool file_begin(struct api_file_form *form, const char *filename)
{
    // A part's beginning may be told twice while none of its bytes is there.
    if (form->has_file && form->n_bytes == 0)
        return true;
    if (form->has_file)
        return wrong(form, 400, "file", "invalid_field",
                     "send one file in a request");
    form->has_file = true;
    if (!filename || !*filename)
        filename = "upload.jsonl";
    if (strlen(filename) > SCHED_FILE_NAME_MAX ||
        api_query_name_len(filename) < 0)
        return wrong(form, 400, "file", "invalid_field",
                     "the file's name must be UTF-8 of up to %d bytes",
                     SCHED_FILE_NAME_MAX);
    snprintf(form->name, sizeof form->name, "%s", filename);
    return true;
}

static bool file_put(struct api_file_form *form, const char *buf, size_t len)
{
    if (form->n_bytes + len > API_FORM_FILE_MAX)
        return wrong(form, 413, "file", "file_too_large",
                     "a file may have %d MB", API_FORM_FILE_MAX >> 20);
    lines_count(form, buf, len);
    if (form->n_lines > API_BATCH_LINES_MAX)
        return wrong(form, 400, "file", "too_many_requests",
                     "a batch file may have %d lines: send several",
                     API_BATCH_LINES_MAX);
    if (form->write(form->ctx, buf, len))
        return wrong(form, 503, "", "storage_error",
                     "the file cannot be written, try again");
    form->n_bytes += len;
    return true;
}

bool api_file_form_part(struct api_file_form *form, const char *name,
                        const char *filename, const char *buf, uint64_t at,
                        size_t len)
{
    const struct {
        const char *name;
        char *out;
    } fields[] = {{"purpose", form->purpose},
                  {"expires_after[anchor]", form->anchor},
                  {"expires_after[seconds]", form->seconds}};

    if (strcmp(name, "file") == 0)
        return ((at > 0 && form->has_file) || file_begin(form, filename)) &&
               file_put(form, buf, len);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(name, fields[i].name) == 0)
            return field_put(form, name, fields[i].out, buf, at, len);
    return wrong(form, 400, name, "invalid_field", "%.64s is not known here",
                 name);
}

bool api_file_form_end(struct api_file_form *form, int64_t *keep_ms)
{
    uint64_t seconds = 0;

    if (strcmp(form->purpose, "batch") != 0)
        return wrong(form, 400, "purpose", "invalid_field",
                     "purpose must be batch");
    if (!form->has_file)
        return wrong(form, 400, "file", "invalid_field", "file is missing");
    if (*form->anchor && strcmp(form->anchor, "created_at") != 0)
        return wrong(form, 400, "expires_after[anchor]", "invalid_field",
                     "the anchor must be created_at");
    if (*form->seconds &&
        (!api_query_number(form->seconds, &seconds) ||
         seconds < API_FORM_KEEP_S_MIN || seconds > API_FORM_KEEP_S_MAX))
        return wrong(form, 400, "expires_after[seconds]", "invalid_field",
                     "a file may be kept for %d to %d seconds",
                     API_FORM_KEEP_S_MIN, API_FORM_KEEP_S_MAX);
    *keep_ms = (int64_t)seconds * 1000;
    return true;
}
