#include "api/query.h"

#include <string.h>
#include <strings.h>

bool api_query_number(const char *text, uint64_t *out)
{
    uint64_t v = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        uint64_t digit = (uint64_t)(unsigned char)*text - '0';

        if (*text < '0' || *text > '9' || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool api_query_hex(const char *text, uint8_t *out, size_t n_bytes)
{
    if (strlen(text) != n_bytes * 2)
        return false;
    for (size_t i = 0; i < n_bytes * 2; i++) {
        if (hex_digit(text[i]) < 0)
            return false;
    }
    for (size_t i = 0; i < n_bytes; i++)
        out[i] =
            (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return true;
}

void api_query_hex_put(const uint8_t *bytes, size_t n_bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n_bytes; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

// Digits at *text, which moves past them. False if there are none or too many.
static bool digits_take(const char **text, uint64_t *out)
{
    uint64_t v = 0;
    const char *p = *text;

    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');

        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (p == *text)
        return false;
    *text = p;
    *out = v;
    return true;
}

enum err api_query_range(const char *text, uint64_t size, uint64_t *first,
                         uint64_t *last)
{
    uint64_t a = 0, b = UINT64_MAX;
    bool has_a, has_b;

    if (strncasecmp(text, "bytes=", 6) != 0)
        return ERR_NOT_FOUND;
    text += 6;
    has_a = digits_take(&text, &a);
    if (*text++ != '-')
        return ERR_NOT_FOUND;
    has_b = digits_take(&text, &b);
    if (*text || (!has_a && !has_b) || (has_a && has_b && b < a))
        return ERR_NOT_FOUND; // several ranges, or none that we understand
    if (!has_a) {
        if (b == 0 || size == 0)
            return ERR_RANGE;
        a = b < size ? size - b : 0;
        b = size - 1;
    }
    if (a >= size)
        return ERR_RANGE;
    *first = a;
    *last = has_b && b < size ? b : size - 1;
    return ERR_OK;
}

bool api_query_etag_match(const char *list, const char *tag)
{
    size_t len = strlen(tag);

    while (*list) {
        list += strspn(list, " \t,");
        if (*list == '*')
            return true;
        if (strncmp(list, "W/", 2) == 0)
            list += 2;
        if (*list != '"')
            return false;
        list++;
        if (strncmp(list, tag, len) == 0 && list[len] == '"')
            return true;
        list = strchr(list, '"');
        if (!list)
            return false;
        list++;
    }
    return false;
}

static bool trusted_has(const struct api_cidr *trusted, size_t n,
                        const struct api_address *addr)
{
    for (size_t i = 0; i < n; i++) {
        if (api_cidr_has(&trusted[i], addr))
            return true;
    }
    return false;
}

void api_query_forwarded(const char *text, const struct api_cidr *trusted,
                         size_t n_trusted, struct api_address *addr)
{
    size_t end = text ? strlen(text) : 0;
    char item[64];

    while (end > 0 && trusted_has(trusted, n_trusted, addr)) {
        size_t start = end, a, b;

        while (start > 0 && text[start - 1] != ',')
            start--;
        a = start;
        b = end;
        while (a < b && (text[a] == ' ' || text[a] == '\t'))
            a++;
        while (b > a && (text[b - 1] == ' ' || text[b - 1] == '\t'))
            b--;
        if (b - a >= sizeof item)
            return;
        memcpy(item, text + a, b - a);
        item[b - a] = '\0';
        if (!api_address_parse(item, addr))
            return;
        end = start > 0 ? start - 1 : 0;
    }
}

long api_query_name_len(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    long n = 0;

    for (; *p; n++) {
        uint32_t c = *p++;
        unsigned more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        static const uint32_t min[] = {0, 0x80, 0x800, 0x10000};

        if (c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xc2) || c > 0xf4)
            return -1;
        c &= more ? 0x3fu >> more : 0x7fu;
        for (unsigned i = 0; i < more; i++) {
            if ((*p & 0xc0) != 0x80)
                return -1;
            c = c << 6 | (*p++ & 0x3fu);
        }
        if (c < min[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ||
            (c >= 0x80 && c < 0xa0))
            return -1;
    }
    return n;
}
