#define _XOPEN_SOURCE 700 // nftw, mkdtemp
#include "scratch.h"

#include <ftw.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

void scratch_init(struct scratch *s)
{
    const char *base = getenv("TMPDIR");

    CHECK(snprintf(s->path, sizeof s->path, "%s/synapse-test-XXXXXX",
                   base ? base : "/tmp") < (int)sizeof s->path - 64);
    CHECK(mkdtemp(s->path));
}

static int on_entry(const char *path, const struct stat *st, int kind,
                    struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

void scratch_release(struct scratch *s)
{
    CHECK_EQ(nftw(s->path, on_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

const char *scratch_path(const struct scratch *s, const char *name,
                         char out[SCRATCH_PATH_MAX])
{
    CHECK(snprintf(out, SCRATCH_PATH_MAX, "%s/%s", s->path, name) <
          SCRATCH_PATH_MAX);
    return out;
}

static FILE *file_create(const struct scratch *s, const char *name)
{
    char path[SCRATCH_PATH_MAX];
    FILE *f = fopen(scratch_path(s, name, path), "wb");

    CHECK(f);
    return f;
}

void scratch_put(const struct scratch *s, const char *name, const void *data,
                 size_t len)
{
    FILE *f = file_create(s, name);

    CHECK_EQ((intmax_t)fwrite(data, 1, len, f), (intmax_t)len);
    CHECK_EQ(fclose(f), 0);
}

void scratch_put_text(const struct scratch *s, const char *name,
                      const char *text)
{
    scratch_put(s, name, text, strlen(text));
}

void scratch_put_safetensors(const struct scratch *s, const char *name,
                             const char *header, const void *data, size_t len)
{
    FILE *f = file_create(s, name);
    uint64_t n = strlen(header);

    for (int i = 0; i < 8; i++)
        CHECK(fputc((int)(n >> 8 * i & 0xff), f) != EOF);
    CHECK_EQ((intmax_t)fwrite(header, 1, n, f), (intmax_t)n);
    CHECK_EQ((intmax_t)fwrite(data, 1, len, f), (intmax_t)len);
    CHECK_EQ(fclose(f), 0);
}

uint8_t *scratch_get(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data;
    long n;

    CHECK(f);
    CHECK_EQ(fseek(f, 0, SEEK_END), 0);
    n = ftell(f);
    CHECK(n >= 0);
    rewind(f);
    data = malloc(n ? (size_t)n : 1);
    CHECK(data);
    CHECK_EQ((intmax_t)fread(data, 1, (size_t)n, f), n);
    CHECK_EQ(fclose(f), 0);
    *len = (size_t)n;
    return data;
}

void scratch_remove(const struct scratch *s, const char *name)
{
    char path[SCRATCH_PATH_MAX];

    CHECK_EQ(unlink(scratch_path(s, name, path)), 0);
}

bool scratch_has(const struct scratch *s, const char *name)
{
    char path[SCRATCH_PATH_MAX];

    return access(scratch_path(s, name, path), F_OK) == 0;
}
