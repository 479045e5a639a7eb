// Whose an address is.
#include "api/address.h"

#include <string.h>

#include "check.h"

static void private_ranges_are_known(void)
{
    static const struct {
        const char *text;
        bool is_private;
    } cases[] = {
        {"127.0.0.1", true},
        {"10.255.0.1", true},
        {"172.16.0.1", true},
        {"172.31.255.255", true},
        {"172.32.0.1", false},
        {"172.15.0.1", false},
        {"192.168.1.1", true},
        {"192.169.1.1", false},
        {"169.254.169.254", true},
        {"100.64.0.1", true},
        {"100.128.0.1", false},
        {"0.0.0.0", true},
        {"224.0.0.1", true},
        {"255.255.255.255", true},
        {"198.18.0.1", true},
        {"8.8.8.8", false},
        {"1.1.1.1", false},
        {"::1", true},
        {"::", true},
        {"fe80::1", true},
        {"fd00::1", true},
        {"ff02::1", true},
        {"2606:4700::1111", false},
        {"2001:db8::1", true},
        {"::ffff:127.0.0.1", true},
        {"::ffff:8.8.8.8", false},
        {"::127.0.0.1", true},
        {"64:ff9b::7f00:1", true},
        {"64:ff9b::808:808", false},
        {"2002:7f00:1::", true},
        {"2002:808:808::", false},
        {"2001::1", true},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct api_address a;

        CHECK(api_address_parse(cases[i].text, &a));
        if (api_address_is_private(&a) != cases[i].is_private)
            fprintf(stderr, "case: %s\n", cases[i].text);
        CHECK_EQ(api_address_is_private(&a), cases[i].is_private);
    }
}

static void blocks_are_parsed_totally(void)
{
    static const char *const wrong[] = {
        "",
        "/8",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/8x",
        "10.0.0/8",
        "::1/129",
        "10.0.0.0/-1",
        "x",
        "10.0.0.0/0008",
        "10.0.0.0 /8",
        "1111111111111111111111111111111111111111111111111111111111111111/8",
    };
    struct api_cidr cidr;
    struct api_address a;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK_EQ(api_cidr_parse(wrong[i], &cidr), ERR_FORMAT);
    CHECK_EQ(api_cidr_parse("10.9.8.7/9", &cidr), ERR_OK);
    CHECK(api_address_parse("10.127.255.255", &a) && api_cidr_has(&cidr, &a));
    CHECK(api_address_parse("10.128.0.0", &a) && !api_cidr_has(&cidr, &a));
    CHECK_EQ(api_cidr_parse("0.0.0.0/0", &cidr), ERR_OK);
    CHECK(api_address_parse("255.1.2.3", &a) && api_cidr_has(&cidr, &a));
    CHECK(api_address_parse("2001:db8::", &a) && !api_cidr_has(&cidr, &a));
    CHECK_EQ(api_cidr_parse("2001:db8::/33", &cidr), ERR_OK);
    CHECK(api_address_parse("2001:db8:7fff::", &a) && api_cidr_has(&cidr, &a));
    CHECK(api_address_parse("2001:db8:8000::", &a) && !api_cidr_has(&cidr, &a));
    CHECK_EQ(api_cidr_parse("192.0.2.7", &cidr), ERR_OK);
    CHECK(api_address_parse("192.0.2.7", &a) && api_cidr_has(&cidr, &a));
    CHECK(api_address_parse("192.0.2.6", &a) && !api_cidr_has(&cidr, &a));
}

static void blocks_are_named(void)
{
    struct api_address a;
    char text[API_BLOCK_TEXT_MAX];

    CHECK(api_address_parse("192.0.2.77", &a));
    api_address_block(&a, text);
    CHECK(strcmp(text, "192.0.2.0/24") == 0);
    CHECK(api_address_parse("2001:db8:1:2::3", &a));
    api_address_block(&a, text);
    CHECK(strcmp(text, "2001:0db8:0001::/48") == 0);
}

int main(void)
{
    private_ranges_are_known();
    blocks_are_parsed_totally();
    blocks_are_named();
    return 0;
}
