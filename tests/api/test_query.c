// The small texts of a request: numbers, ranges, tags, hex, names, proxies.
#include "api/query.h"

#include <string.h>

#include "check.h"

static void numbers_are_digits_that_fit(void)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"184467440737095516150", false, 0},
        {"007", true, 7},
        {"", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {"0x10", false, 0},
        {"1.0", false, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t v = 42;

        CHECK_EQ(api_query_number(cases[i].text, &v), cases[i].ok);
        CHECK(v == (cases[i].ok ? cases[i].value : 42));
    }
}

static void ranges_are_cut_to_the_file(void)
{
    static const struct {
        const char *text;
        uint64_t size;
        enum err err;
        uint64_t first, last;
    } cases[] = {
        {"bytes=0-0", 10, ERR_OK, 0, 0},
        {"bytes=2-5", 10, ERR_OK, 2, 5},
        {"Bytes=9-", 10, ERR_OK, 9, 9},
        {"bytes=5-100", 10, ERR_OK, 5, 9},
        {"bytes=-3", 10, ERR_OK, 7, 9},
        {"bytes=-30", 10, ERR_OK, 0, 9},
        {"bytes=10-", 10, ERR_RANGE, 0, 0},
        {"bytes=-0", 10, ERR_RANGE, 0, 0},
        {"bytes=-1", 0, ERR_RANGE, 0, 0},
        {"bytes=0-", 0, ERR_RANGE, 0, 0},
        {"bytes=5-2", 10, ERR_NOT_FOUND, 0, 0},
        {"bytes=0-1,3-4", 10, ERR_NOT_FOUND, 0, 0},
        {"bytes=-", 10, ERR_NOT_FOUND, 0, 0},
        {"bytes=", 10, ERR_NOT_FOUND, 0, 0},
        {"lines=0-1", 10, ERR_NOT_FOUND, 0, 0},
        {"bytes=99999999999999999999-", 10, ERR_NOT_FOUND, 0, 0},
        {"bytes=0-99999999999999999999", 10, ERR_NOT_FOUND, 0, 0},
        {"", 10, ERR_NOT_FOUND, 0, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t first = 77, last = 78;
        enum err err =
            api_query_range(cases[i].text, cases[i].size, &first, &last);

        if (err != cases[i].err)
            fprintf(stderr, "case: %s\n", cases[i].text);
        CHECK_EQ(err, cases[i].err);
        CHECK(first == (err ? 77 : cases[i].first));
        CHECK(last == (err ? 78 : cases[i].last));
    }
}

static void tags_match_as_lists(void)
{
    CHECK(api_query_etag_match("\"abc\"", "abc"));
    CHECK(api_query_etag_match("W/\"abc\"", "abc"));
    CHECK(api_query_etag_match("\"x\", \"abc\"", "abc"));
    CHECK(api_query_etag_match("*", "abc"));
    CHECK(!api_query_etag_match("\"abcd\"", "abc"));
    CHECK(!api_query_etag_match("\"ab\"", "abc"));
    CHECK(!api_query_etag_match("abc", "abc"));
    CHECK(!api_query_etag_match("\"", "abc"));
    CHECK(!api_query_etag_match("", "abc"));
}

static void hex_is_exact(void)
{
    uint8_t out[3] = {7, 7, 7};
    char text[7];

    CHECK(api_query_hex("00fFa9", out, 3));
    CHECK(out[0] == 0 && out[1] == 0xff && out[2] == 0xa9);
    api_query_hex_put(out, 3, text);
    CHECK(strcmp(text, "00ffa9") == 0);
    CHECK(!api_query_hex("00ffa", out, 3));
    CHECK(!api_query_hex("00ffa9b", out, 3));
    CHECK(!api_query_hex("11111g", out, 3));
    CHECK(out[0] == 0); // untouched
}

static void names_are_counted_in_characters(void)
{
    CHECK_EQ(api_query_name_len(""), 0);
    CHECK_EQ(api_query_name_len("abc"), 3);
    CHECK_EQ(api_query_name_len("\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\xb1"), 3);
    CHECK_EQ(api_query_name_len("a\nb"), -1);
    CHECK_EQ(api_query_name_len("\x7f"), -1);
    CHECK_EQ(api_query_name_len("\xc2\x85"), -1); // a control character
    CHECK_EQ(api_query_name_len("\x80"), -1);
    CHECK_EQ(api_query_name_len("\xc0\xaf"), -1);     // overlong
    CHECK_EQ(api_query_name_len("\xe0\x80\xaf"), -1); // overlong
    CHECK_EQ(api_query_name_len("\xed\xa0\x80"), -1); // half a pair
    CHECK_EQ(api_query_name_len("\xf4\x90\x80\x80"), -1);
    CHECK_EQ(api_query_name_len("\xe2\x82"), -1);
}

static void only_trusted_proxies_are_believed(void)
{
    static const struct {
        const char *peer, *text, *want;
    } cases[] = {
        {"127.0.0.1", NULL, "127.0.0.1"},
        {"127.0.0.1", "198.51.100.7", "198.51.100.7"},
        {"127.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"},
        {"127.0.0.1", "203.0.113.9, 10.1.2.3", "203.0.113.9"},
        {"127.0.0.1", "203.0.113.9 ,\t10.1.2.3", "203.0.113.9"},
        {"127.0.0.1", "10.1.2.3", "10.1.2.3"},
        {"192.0.2.1", "203.0.113.9", "192.0.2.1"},
        {"127.0.0.1", "nonsense", "127.0.0.1"},
        {"127.0.0.1", "nonsense, 198.51.100.7", "198.51.100.7"},
        {"127.0.0.1", ",,", "127.0.0.1"},
        {"127.0.0.1", "2001:db8::1", "2001:db8::1"},
    };
    struct api_cidr trusted[2];

    CHECK_EQ(api_cidr_parse("127.0.0.0/8", &trusted[0]), ERR_OK);
    CHECK_EQ(api_cidr_parse("10.0.0.0/8", &trusted[1]), ERR_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct api_address got, want;

        CHECK(api_address_parse(cases[i].peer, &got));
        CHECK(api_address_parse(cases[i].want, &want));
        api_query_forwarded(cases[i].text, trusted, 2, &got);
        CHECK(memcmp(&got, &want, sizeof got) == 0);
    }
}

int main(void)
{
    numbers_are_digits_that_fit();
    ranges_are_cut_to_the_file();
    tags_match_as_lists();
    hex_is_exact();
    names_are_counted_in_characters();
    only_trusted_proxies_are_believed();
    return 0;
}
