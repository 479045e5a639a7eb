// The container's reader: what it accepts, and each lie that it names.
#include <string.h>

#include "check.h"
#include "splitter/safetensors.h"

// An exact-size copy of a container lets AddressSanitizer see an overread.
static uint8_t *container(const char *header, size_t data_len, size_t *len)
{
    size_t n = strlen(header);
    uint8_t *buf;

    *len = 8 + n + data_len;
    buf = malloc(*len);
    CHECK(buf);
    for (int i = 0; i < 8; i++)
        buf[i] = (uint8_t)((uint64_t)n >> 8 * i);
    memcpy(buf + 8, header, n);
    for (size_t i = 0; i < data_len; i++)
        buf[8 + n + i] = (uint8_t)i;
    return buf;
}

static void reads_what_is_right(void)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
        "\"empty\":{\"dtype\":\"I8\",\"shape\":[0,5],\"data_offsets\":[4,4]},"
        "\"late\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[20,21]}}"
        "   ";
    struct safetensors st;
    const struct safetensors_tensor *t;
    char why[WHY_LEN_MAX] = "none";
    size_t len;
    uint8_t *buf = container(header, 24, &len);

    CHECK_EQ(
        safetensors_parse(buf, len, "f", (struct why){why, sizeof why}, &st),
        ERR_OK);
    CHECK(strcmp(why, "none") == 0);
    CHECK_EQ(st.n_tensors, 4);
    CHECK(strcmp(json_string_value(json_object_get(st.metadata, "format")),
                 "pt") == 0);
    t = safetensors_find(&st, "b");
    CHECK(t);
    CHECK_EQ(t->dtype, SAFETENSORS_F16);
    CHECK_EQ(t->n_dims, 2);
    CHECK_EQ(t->dims[1], 3);
    CHECK_EQ(t->n_bytes, 12);
    CHECK_EQ(t->data[0], 4);
    t = safetensors_find(&st, "a");
    CHECK(t);
    CHECK_EQ(t->n_dims, 0);
    CHECK_EQ(t->n_bytes, 4);
    CHECK(safetensors_find(&st, "empty"));
    CHECK_EQ(safetensors_find(&st, "late")->dtype, SAFETENSORS_OTHER);
    CHECK(!safetensors_find(&st, "c"));
    CHECK(!safetensors_find(&st, "__metadata__"));
    safetensors_release(&st);
    free(buf);
}

#define T(rest) "{\"t\":{" rest "}}"

static const struct {
    const char *header;
    size_t data_len;
    enum err err;
    const char *why;
} lies[] = {
    {"", 0, ERR_FORMAT, "f: not valid JSON: "},
    {"[]", 0, ERR_FORMAT, "f: not a JSON object"},
    {"{\"t\":", 0, ERR_FORMAT, "f: not valid JSON: "},
    {"{}x", 0, ERR_FORMAT, "f: not valid JSON: "},
    {"{\"t\":1}", 0, ERR_FORMAT, "f: t: not an object"},
    {"{\"\":{}}", 0, ERR_RANGE, "f: a tensor's name is empty or over 255"},
    {"{\"t\":{},\"t\":{}}", 0, ERR_FORMAT, "f: not valid JSON: line 1: "},
    {"{\"__metadata__\":3}", 0, ERR_FORMAT, "f: __metadata__: not an object"},
    {"{\"__metadata__\":{\"a\":3}}", 0, ERR_FORMAT,
     "f: __metadata__: a: not a string"},
    {"{\"t\\u0007\":1}", 0, ERR_FORMAT, "f: t?: not an object"},
    {T(""), 0, ERR_FORMAT, "f: t: dtype: missing"},
    {T("\"dtype\":4"), 0, ERR_FORMAT, "f: t: dtype: 4 is not a string"},
    {T("\"dtype\":\"F12\""), 0, ERR_UNSUPPORTED,
     "f: t: dtype: \"F12\" is not known"},
    {T("\"dtype\":\"I8\""), 0, ERR_FORMAT, "f: t: shape: missing"},
    {T("\"dtype\":\"I8\",\"shape\":8"), 0, ERR_FORMAT,
     "f: t: shape: 8 is not a list"},
    {T("\"dtype\":\"I8\",\"shape\":[-1]"), 0, ERR_FORMAT,
     "f: t: shape: [-1] is not a list of sizes"},
    {T("\"dtype\":\"I8\",\"shape\":[1.5]"), 0, ERR_FORMAT,
     "f: t: shape: [1.5] is not a list of sizes"},
    {T("\"dtype\":\"I8\",\"shape\":[1,1,1,1,1,1,1,1,1]"), 0, ERR_RANGE,
     "f: t: shape: [1,1,1,1,1,1,1,1,1] must have 0 to 8 entries"},
    {T("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296]"), 0, ERR_RANGE,
     "f: t: shape: [4294967296,4294967296] is too large"},
    {T("\"dtype\":\"F32\",\"shape\":[9223372036854775807]"), 0, ERR_RANGE,
     "f: t: shape: [9223372036854775807] is too large"},
    {T("\"dtype\":\"F32\",\"shape\":[9223372036854775808]"), 0, ERR_FORMAT,
     "f: not valid JSON: "},
    {T("\"dtype\":\"I8\",\"shape\":[2]"), 2, ERR_FORMAT,
     "f: t: data_offsets: missing"},
    {T("\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[0]"), 2, ERR_RANGE,
     "f: t: data_offsets: [0] must have 2 to 2 entries"},
    {T("\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[0,\"2\"]"), 2,
     ERR_FORMAT, "f: t: data_offsets: [0,\"2\"] is not a begin and an end"},
    {T("\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[2,0]"), 2, ERR_FORMAT,
     "f: t: data_offsets: [2,0] is not a begin and an end"},
    {T("\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[-2,0]"), 2, ERR_FORMAT,
     "f: t: data_offsets: [-2,0] is not a begin and an end"},
    {T("\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[0,2]"), 1,
     ERR_TRUNCATED,
     "f: t: data_offsets: [0,2] reaches past the end of the file"},
    {T("\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":"
       "[9223372036854775805,9223372036854775807]"),
     1, ERR_TRUNCATED,
     "f: t: data_offsets: [9223372036854775805,9223372036854775807] reaches "
     "past the end of the file"},
    {T("\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[0,3]"), 3, ERR_FORMAT,
     "f: t: data_offsets: [0,3] does not fit dtype and shape"},
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]"), 8, ERR_FORMAT,
     "f: t: data_offsets: [0,4] does not fit dtype and shape"},
    {"{\"a\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
     8, ERR_FORMAT, "f: b overlaps a"},
    {"{\"b\":{\"dtype\":\"I8\",\"shape\":[8],\"data_offsets\":[0,8]},"
     "\"z\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[3,3]},"
     "\"a\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[5,7]}}",
     8, ERR_FORMAT, "f: a overlaps b"},
};

static void names_each_lie(void)
{
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct safetensors st = {.n_tensors = 77};
        char why[WHY_LEN_MAX] = "";
        size_t len;
        uint8_t *buf = container(lies[i].header, lies[i].data_len, &len);
        enum err err = safetensors_parse(buf, len, "f",
                                         (struct why){why, sizeof why}, &st);

        if (err != lies[i].err ||
            strncmp(why, lies[i].why, strlen(lies[i].why)) != 0)
            fprintf(stderr, "%s: %d %s\n", lies[i].header, (int)err, why);
        CHECK_EQ(err, lies[i].err);
        CHECK(strncmp(why, lies[i].why, strlen(lies[i].why)) == 0);
        CHECK_EQ(st.n_tensors, 77);
        free(buf);
    }
}

static void refuses_a_header_length_that_lies(void)
{
    static const struct {
        uint64_t n;
        enum err err;
        const char *why;
    } cases[] = {
        {13, ERR_TRUNCATED, "f: header length 13 reaches past the end"},
        {100000000, ERR_TRUNCATED, "f: header length 100000000 reaches past"},
        {100000001, ERR_RANGE, "f: header length 100000001 is over 100000000"},
        {UINT64_MAX, ERR_RANGE, "f: header length 18446744073709551615 is"},
        {0, ERR_FORMAT, "f: not valid JSON"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct safetensors st;
        char why[WHY_LEN_MAX] = "";
        size_t len;
        uint8_t *buf = container("{}", 10, &len);

        for (int k = 0; k < 8; k++)
            buf[k] = (uint8_t)(cases[i].n >> 8 * k);
        CHECK_EQ(safetensors_parse(buf, len, "f", (struct why){why, sizeof why},
                                   &st),
                 cases[i].err);
        CHECK(strncmp(why, cases[i].why, strlen(cases[i].why)) == 0);
        free(buf);
    }
}

static void rejects_every_prefix(void)
{
    static const char header[] =
        T("\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]");
    size_t len;
    uint8_t *buf = container(header, 4, &len);

    for (size_t n = 0; n < len; n++) {
        uint8_t *cut = malloc(n ? n : 1);
        struct safetensors st;

        CHECK(cut);
        memcpy(cut, buf, n);
        CHECK_EQ(safetensors_parse(cut, n, "f", (struct why){0}, &st),
                 ERR_TRUNCATED);
        free(cut);
    }
    free(buf);
}

static void refuses_long_names(void)
{
    char header[600];
    char name[257];
    struct safetensors st;

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (size_t n = 255; n <= 256; n++) {
        size_t len;
        uint8_t *buf;

        snprintf(header, sizeof header,
                 "{\"%.*s\":{\"dtype\":\"I8\",\"shape\":[1],"
                 "\"data_offsets\":[0,1]}}",
                 (int)n, name);
        buf = container(header, 1, &len);
        if (n == 255) {
            CHECK_EQ(safetensors_parse(buf, len, "f", (struct why){0}, &st),
                     ERR_OK);
            safetensors_release(&st);
        } else {
            CHECK_EQ(safetensors_parse(buf, len, "f", (struct why){0}, &st),
                     ERR_RANGE);
        }
        free(buf);
    }
}

int main(void)
{
    reads_what_is_right();
    names_each_lie();
    refuses_a_header_length_that_lies();
    rejects_every_prefix();
    refuses_long_names();
    return 0;
}
