// Reading JSON fields: the first mistake is named.
#include "api/fields.h"

#include <string.h>

#include "check.h"

static void begin(struct api_fields *f, json_t **value, const char *text)
{
    *value = json_loads(text, JSON_DECODE_ANY, NULL);
    CHECK(*value);
    api_fields_init(f, *value);
}

static void good_fields_are_read(void)
{
    struct api_fields f;
    json_t *v;

    begin(&f, &v, "{\"s\":\"x\",\"i\":5,\"r\":0.5,\"b\":true,\"n\":null}");
    CHECK(strcmp(api_fields_text(&f, "s", true, 1, ""), "x") == 0);
    CHECK_EQ(api_fields_int(&f, "i", true, 5, 5, 0), 5);
    CHECK(api_fields_real(&f, "r", 0, 1, 9) > 0.49);
    CHECK(api_fields_bool(&f, "b", false));
    CHECK_EQ(api_fields_int(&f, "n", false, 0, 1, 7), 7);
    CHECK_EQ(api_fields_int(&f, "absent", false, 0, 1, 7), 7);
    CHECK(!f.wrong);
    json_decref(v);
}

static void mistakes_are_named(void)
{
    static const char *const names[] = {"s", "i", NULL};
    struct api_fields f;
    json_t *v;

    begin(&f, &v, "{\"s\":5,\"i\":\"x\"}");
    CHECK(!api_fields_text(&f, "s", false, 9, NULL));
    CHECK(f.wrong && strcmp(f.param, "s") == 0);
    api_fields_int(&f, "i", false, 0, 1, 0);
    CHECK(strcmp(f.param, "s") == 0); // the first one stays
    json_decref(v);

    begin(&f, &v, "{\"i\":6,\"j\":1.5,\"t\":\"abc\"}");
    api_fields_int(&f, "i", false, 0, 5, 0);
    CHECK(f.wrong && strcmp(f.message, "i must be between 0 and 5") == 0);
    api_fields_init(&f, v);
    api_fields_int(&f, "j", false, 0, 5, 0);
    CHECK(f.wrong && strcmp(f.param, "j") == 0);
    api_fields_init(&f, v);
    api_fields_text(&f, "t", false, 2, NULL);
    CHECK(f.wrong && strcmp(f.param, "t") == 0);
    api_fields_init(&f, v);
    api_fields_text(&f, "absent", true, 2, NULL);
    CHECK(f.wrong && strcmp(f.param, "absent") == 0);
    api_fields_init(&f, v);
    api_fields_only(&f, names);
    CHECK(f.wrong);
    json_decref(v);

    begin(&f, &v, "[1]");
    CHECK(f.wrong);
    CHECK_EQ(api_fields_int(&f, "i", true, 0, 5, 3), 3);
    json_decref(v);
}

int main(void)
{
    good_fields_are_read();
    mistakes_are_named();
    return 0;
}
