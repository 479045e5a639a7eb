// What makes an uploaded file no good, and what does not.
#include "api/input_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define GOOD(id)                                                \
    "{\"custom_id\":\"" id "\",\"method\":\"POST\",\"url\":\"/" \
    "x\",\"body\":{}}"

// Look through lines (NULL at the end); the code, or "" if all is well.
static const char *code_of(const char *const *lines, uint64_t *at)
{
    static char code[64];
    struct api_input_check check;
    bool ok = true;

    CHECK_EQ(api_input_check_init(&check, "/x"), ERR_OK);
    for (size_t i = 0; ok && lines[i]; i++) {
        // An exact-size copy lets AddressSanitizer see a one-byte overread.
        size_t len = strlen(lines[i]);
        char *copy = malloc(len ? len : 1);

        CHECK(copy);
        memcpy(copy, lines[i], len);
        ok = api_input_check_line(&check, copy, len);
        free(copy);
    }
    ok = ok && api_input_check_end(&check);
    snprintf(code, sizeof code, "%s", ok ? "" : check.code);
    *at = check.n_lines;
    if (!ok)
        CHECK(*check.why);
    api_input_check_release(&check);
    return code;
}

static void the_first_wrong_line_is_named(void)
{
    static const struct {
        const char *lines[4];
        const char *code;
        uint64_t at;
    } cases[] = {
        {{GOOD("a")}, "", 1},
        {{GOOD("a"), "", " \t\r", GOOD("b")}, "", 4},
        {{""}, "empty_file", 1},
        {{NULL}, "empty_file", 1},
        {{GOOD("a"), GOOD("b"), GOOD("a")}, "duplicate_custom_id", 3},
        {{GOOD("a"), "{"}, "invalid_json_line", 2},
        {{GOOD("a"), GOOD("b") "x"}, "invalid_json_line", 2},
        {{"\xff\xfe"}, "invalid_json_line", 1},
        {{"3"}, "invalid_json_line", 1},
        {{GOOD("")}, "invalid_custom_id", 1},
        {{"{\"custom_id\":3}"}, "invalid_custom_id", 1},
        {{"{\"custom_id\":\"a\",\"method\":\"GET\"}"}, "invalid_method", 1},
        {{"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/y\"}"},
         "invalid_url",
         1},
        {{"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/x\"}"},
         "invalid_body",
         1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *lines[5] = {0};
        uint64_t at;

        memcpy(lines, cases[i].lines, sizeof cases[i].lines);
        CHECK(strcmp(code_of(lines, &at), cases[i].code) == 0);
        CHECK_EQ(at, cases[i].at);
    }
}

static void fifty_thousand_are_taken_and_no_more(void)
{
    struct api_input_check check;
    char line[160];

    CHECK_EQ(api_input_check_init(&check, "/x"), ERR_OK);
    for (int i = 0; i <= 50000; i++) {
        int len = snprintf(line, sizeof line,
                           "{\"custom_id\":\"request-%d\",\"method\":\"POST\","
                           "\"url\":\"/x\",\"body\":{}}",
                           i);

        CHECK_EQ(api_input_check_line(&check, line, (size_t)len), i < 50000);
    }
    CHECK(strcmp(check.code, "too_many_requests") == 0);
    api_input_check_release(&check);
}

int main(void)
{
    the_first_wrong_line_is_named();
    fifty_thousand_are_taken_and_no_more();
    return 0;
}
