#include "api/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};

static bool is_v4(const struct api_address *a)
{
    return memcmp(a->bytes, v4_prefix, sizeof v4_prefix) == 0;
}

bool api_address_from(const struct sockaddr *sa, struct api_address *out)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, sa, sizeof in);
        memcpy(out->bytes, v4_prefix, sizeof v4_prefix);
        memcpy(out->bytes + 12, &in.sin_addr, 4);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, sa, sizeof in6);
        memcpy(out->bytes, &in6.sin6_addr, 16);
        return true;
    }
    return false;
}

bool api_address_parse(const char *text, struct api_address *out)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, text, &v4) == 1) {
        memcpy(out->bytes, v4_prefix, sizeof v4_prefix);
        memcpy(out->bytes + 12, &v4, 4);
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6) == 1) {
        memcpy(out->bytes, &v6, 16);
        return true;
    }
    return false;
}

// The address as it is below n_bits bits; the rest 0.
static void mask(struct api_address *a, unsigned n_bits)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned have = n_bits > i * 8 ? n_bits - i * 8 : 0;

        if (have < 8)
            a->bytes[i] &= (uint8_t)(0xff00u >> have);
    }
}

enum err api_cidr_parse(const char *text, struct api_cidr *out)
{
    char host[INET6_ADDRSTRLEN];
    struct api_cidr cidr;
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    unsigned bits = 0, max;

    if (len >= sizeof host)
        return ERR_FORMAT;
    memcpy(host, text, len);
    host[len] = '\0';
    if (!api_address_parse(host, &cidr.base))
        return ERR_FORMAT;
    max = is_v4(&cidr.base) && !strchr(host, ':') ? 32 : 128;
    if (!slash) {
        bits = max;
    } else {
        size_t digits = strspn(slash + 1, "0123456789");

        if (digits == 0 || digits > 3 || slash[1 + digits])
            return ERR_FORMAT;
        for (size_t i = 1; i <= digits; i++)
            bits = bits * 10 + (unsigned)(slash[i] - '0');
        if (bits > max)
            return ERR_FORMAT;
    }
    cidr.n_bits = max == 32 ? bits + 96 : bits;
    mask(&cidr.base, cidr.n_bits);
    *out = cidr;
    return ERR_OK;
}

bool api_cidr_has(const struct api_cidr *cidr, const struct api_address *a)
{
    struct api_address cut = *a;

    mask(&cut, cidr->n_bits);
    return memcmp(cut.bytes, cidr->base.bytes, sizeof cut.bytes) == 0;
}

static bool v4_is_private(const uint8_t b[4])
{
    static const struct {
        uint8_t b[4];
        unsigned n_bits;
    } ranges[] = {
        {{0, 0, 0, 0}, 8},      {{10, 0, 0, 0}, 8},     {{100, 64, 0, 0}, 10},
        {{127, 0, 0, 0}, 8},    {{169, 254, 0, 0}, 16}, {{172, 16, 0, 0}, 12},
        {{192, 0, 0, 0}, 24},   {{192, 0, 2, 0}, 24},   {{192, 88, 99, 0}, 24},
        {{192, 168, 0, 0}, 16}, {{198, 18, 0, 0}, 15},  {{198, 51, 100, 0}, 24},
        {{203, 0, 113, 0}, 24}, {{224, 0, 0, 0}, 3},
    };
    uint32_t v = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
                 (uint32_t)b[2] << 8 | b[3];

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const uint8_t *r = ranges[i].b;
        uint32_t base = (uint32_t)r[0] << 24 | (uint32_t)r[1] << 16 |
                        (uint32_t)r[2] << 8 | r[3];

        if ((v ^ base) >> (32 - ranges[i].n_bits) == 0)
            return true;
    }
    return false;
}

bool api_address_is_private(const struct api_address *a)
{
    static const char *const ranges[] = {
        "100::/64",
        "2001:2::/48",
        "2001:db8::/32",
        "3fff::/20",
    };
    const uint8_t *b = a->bytes;
    struct api_cidr cidr;

    if (is_v4(a))
        return v4_is_private(b + 12);
    if (b[0] == 0x20 && b[1] == 0x02) // 6to4
        return v4_is_private(b + 2);
    if (b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0) // Teredo
        return true;
    if (b[0] == 0 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b) // NAT64
        return b[4] || b[5] || v4_is_private(b + 12);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (api_cidr_parse(ranges[i], &cidr) == ERR_OK &&
            api_cidr_has(&cidr, a))
            return true;
    }
    // Only 2000::/3 is given out; this leaves ::1, fc00::/7, fe80::/10,
    // ff00::/8 and all that is not assigned on the private side.
    return (b[0] & 0xe0) != 0x20;
}

void api_address_block(const struct api_address *a,
                       char out[API_BLOCK_TEXT_MAX])
{
    const uint8_t *b = a->bytes;

    if (is_v4(a))
        snprintf(out, API_BLOCK_TEXT_MAX, "%u.%u.%u.0/24", b[12], b[13], b[14]);
    else
        snprintf(out, API_BLOCK_TEXT_MAX, "%02x%02x:%02x%02x:%02x%02x::/48",
                 b[0], b[1], b[2], b[3], b[4], b[5]);
}
