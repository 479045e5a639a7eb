#include "cases_out.h"

#include <stdarg.h>
#include <string.h>

#include "check.h"
#include "splitter/format.h"

static FILE *create(const char *dir, const char *name)
{
    char path[512];
    FILE *f;

    CHECK((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) <
          sizeof path);
    f = fopen(path, "wb");
    CHECK(f);
    return f;
}

void cases_open(struct cases_out *out, const char *dir)
{
    *out = (struct cases_out){.index = create(dir, "cases.json"),
                              .blob = create(dir, "cases.bin")};
    fputs("[", out->index);
}

void cases_close(struct cases_out *out)
{
    fputs("]\n", out->index);
    CHECK_EQ(fclose(out->index), 0);
    CHECK_EQ(fclose(out->blob), 0);
}

void cases_begin(struct cases_out *out, const char *kernel, const char *format,
                 ...)
{
    va_list args;

    fprintf(out->index, "%s{\"kernel\":\"%s\",\"buffers\":[",
            out->n_cases++ ? ",\n" : "", kernel);
    out->n_buffers = 0;
    va_start(args, format);
    vsnprintf(out->constants, sizeof out->constants, format, args);
    va_end(args);
}

void cases_more(struct cases_out *out, const char *format, ...)
{
    size_t len = strlen(out->constants);
    va_list args;

    va_start(args, format);
    vsnprintf(out->constants + len, sizeof out->constants - len, format, args);
    va_end(args);
    CHECK(strlen(out->constants) < sizeof out->constants - 1);
}

void cases_end(struct cases_out *out, uint32_t x, uint32_t y)
{
    fprintf(out->index, "],\"constants\":{%s},\"dispatch\":[%u,%u]}",
            out->constants, (unsigned)x, (unsigned)y);
}

// Where the bytes begin in the blob; NULL: zeros.
static size_t put(struct cases_out *out, const void *bytes, size_t len)
{
    static const uint8_t zeros[16];
    size_t at = out->at;

    CHECK_EQ(len % 4, 0);
    if (bytes)
        CHECK_EQ(fwrite(bytes, 1, len, out->blob), len);
    for (size_t i = 0; !bytes && i < len; i += 4)
        CHECK_EQ(fwrite(zeros, 1, 4, out->blob), 4);
    out->at += len;
    return at;
}

static void buffer(struct cases_out *out, uint32_t binding, size_t at,
                   size_t len)
{
    fprintf(out->index, "%s{\"binding\":%u,\"at\":%zu,\"bytes\":%zu",
            out->n_buffers++ ? "," : "", (unsigned)binding, at, len);
}

void cases_in(struct cases_out *out, uint32_t binding, const void *bytes,
              size_t len)
{
    buffer(out, binding, put(out, bytes, len), len);
    fputs(",\"expect\":-1,\"expect_bytes\":0}", out->index);
}

void cases_expect(struct cases_out *out, uint32_t binding, const void *before,
                  size_t len, const void *expect, size_t expect_len)
{
    buffer(out, binding, put(out, before, len), len);
    fprintf(out->index, ",\"expect\":%zu,\"expect_bytes\":%zu}",
            put(out, expect, expect_len), expect_len);
}

// splitmix64
static uint32_t random32(struct cases_out *out)
{
    uint64_t z = out->random += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(z >> 32);
}

int32_t cases_between(struct cases_out *out, int32_t from, int32_t to)
{
    uint32_t n = (uint32_t)to - (uint32_t)from + 1;

    return (int32_t)((uint32_t)from + random32(out) % n);
}

int32_t cases_any(struct cases_out *out)
{
    if (random32(out) % 64 == 0)
        return random32(out) % 2 ? FORMAT_VALUE_MAX : -FORMAT_VALUE_MAX;
    int32_t v = cases_between(out, -FORMAT_VALUE_MAX, FORMAT_VALUE_MAX);
    return v >> random32(out) % 30;
}
