// crc32c: the vectors of RFC 3720 B.4, and every length and alignment against
// the definition, one bit at a time.
#include "base/crc32c.h"

#include <string.h>

#include "check.h"

static uint32_t by_definition(const uint8_t *p, size_t len)
{
    uint32_t crc = ~UINT32_C(0);

    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ UINT32_C(0x82F63B78) : crc >> 1;
    }
    return ~crc;
}

static void equals_the_published_vectors(void)
{
    uint8_t buf[32];

    CHECK_EQ(crc32c("123456789", 9), 0xE3069283);
    CHECK_EQ(crc32c("", 0), 0);
    memset(buf, 0, sizeof buf);
    CHECK_EQ(crc32c(buf, sizeof buf), 0x8A9136AA);
    memset(buf, 0xFF, sizeof buf);
    CHECK_EQ(crc32c(buf, sizeof buf), 0x62A8AB43);
    for (int i = 0; i < 32; i++)
        buf[i] = (uint8_t)i;
    CHECK_EQ(crc32c(buf, sizeof buf), 0x46DD794E);
}

static void equals_the_definition_at_any_length_and_alignment(void)
{
    for (size_t len = 0; len < 70; len++) {
        for (size_t skip = 0; skip < 8; skip++) {
            uint8_t *buf = malloc(skip + len + 1);
            CHECK(buf);
            uint8_t *exact = realloc(buf, skip + len ? skip + len : 1);
            CHECK(exact);
            for (size_t i = 0; i < len; i++)
                exact[skip + i] = (uint8_t)(i * 37 + len * 11 + skip);
            CHECK_EQ(crc32c(exact + skip, len),
                     by_definition(exact + skip, len));
            free(exact);
        }
    }
}

int main(void)
{
    equals_the_published_vectors();
    equals_the_definition_at_any_length_and_alignment();
    return 0;
}
