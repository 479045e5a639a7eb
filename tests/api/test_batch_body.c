// How the body of a batch is cut into lines, however it arrives.
#include "api/batch_body.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

struct sink {
    char text[8192];
    size_t len;
    bool broken;
};

static enum err on_write(void *ctx, const char *buf, size_t len)
{
    struct sink *sink = ctx;

    if (sink->broken)
        return ERR_IO;
    CHECK(sink->len + len < sizeof sink->text);
    memcpy(sink->text + sink->len, buf, len);
    sink->len += len;
    sink->text[sink->len] = '\0';
    return ERR_OK;
}

// Cut text, given in pieces of n bytes.
static enum err cut(const char *text, size_t n, struct sink *sink,
                    struct api_batch_body *body)
{
    enum err err = ERR_OK;

    memset(sink, 0, sizeof *sink);
    api_batch_body_init(body, on_write, sink);
    for (size_t len = strlen(text); !err && len > 0;) {
        size_t k = len < n ? len : n;

        err = api_batch_body_put(body, text, k);
        text += k;
        len -= k;
    }
    return err ? err : api_batch_body_finish(body);
}

static const struct {
    const char *body, *lines, *head;
    uint64_t n;
} good[] = {
    {"{\"requests\":[]}", "", "{\"requests\":[]}", 0},
    {" {\"requests\" : [ {\"a\":1} , 2 ]\n, \"model\":\"m\"} \n",
     "{\"a\":1} \n2 \n", "{\"requests\" : []\n, \"model\":\"m\"}", 2},
    {"{\"requests\":[{\"a\":[1,{\"b\":\"]},\\\"\"}]}]}",
     "{\"a\":[1,{\"b\":\"]},\\\"\"}]}\n", "{\"requests\":[]}", 1},
    {"{\"requests\":[{\"a\":\n1}]}", "{\"a\": 1}\n", "{\"requests\":[]}", 1},
    // A line break inside a string stays wrong.
    {"{\"requests\":[\"a\nb\"]}", "\"a\1b\"\n", "{\"requests\":[]}", 1},
    // Balanced, but no JSON: that line's own trouble.
    {"{\"requests\":[{\"a\":tru},{]]}", "{\"a\":tru}\n{]\n",
     "{\"requests\":[]}", 2},
    // Other keys and deeper ones of that name are no lists of requests.
    {"{\"x\":[1,{\"requests\":[7]}],\"requests\":[8]}", "8\n",
     "{\"x\":[1,{\"requests\":[7]}],\"requests\":[]}", 1},
    {"{\"x\":\"requests\",\"y\":[1]}", "", "{\"x\":\"requests\",\"y\":[1]}", 0},
    {"{\"requests\":5}", "", "{\"requests\":5}", 0},
    {"{}", "", "{}", 0},
};

static void bodies_are_cut_alike_in_any_pieces(void)
{
    struct api_batch_body *body = malloc(sizeof *body);
    struct sink sink;

    CHECK(body);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        for (size_t n = 1; n < 40; n++) {
            CHECK_EQ(cut(good[i].body, n, &sink, body), ERR_OK);
            CHECK(strcmp(sink.text, good[i].lines) == 0);
            CHECK(strcmp(body->head, good[i].head) == 0);
            CHECK(body->n_lines == good[i].n);
        }
    }
    free(body);
}

static void every_prefix_is_refused(void)
{
    static const char text[] = "{\"requests\":[{\"a\":[1]},2],\"b\":\"c\"}";
    struct api_batch_body *body = malloc(sizeof *body);
    struct sink sink;
    char part[sizeof text];

    CHECK(body);
    for (size_t len = 0; len + 1 < sizeof text; len++) {
        memcpy(part, text, len);
        part[len] = '\0';
        CHECK_EQ(cut(part, 7, &sink, body), ERR_TRUNCATED);
        CHECK(body->why);
    }
    free(body);
}

static void bad_bodies_say_why(void)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"[]", "the body must be a JSON object"},
        {"{\"requests\":[,1]}", "a comma too many in requests"},
        {"{\"requests\":[1,]}", "a comma too many in requests"},
        {"{\"requests\":[1,,2]}", "a comma too many in requests"},
        {"{\"requests\":[}]}", "a bracket too many in requests"},
        {"{\"requests\":[1],\"requests\":[2]}", "requests is there twice"},
        {"{} x", "something follows the object"},
    };
    struct api_batch_body *body = malloc(sizeof *body);
    struct sink sink;

    CHECK(body);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(cut(cases[i].text, 3, &sink, body), ERR_FORMAT);
        CHECK(strcmp(body->why, cases[i].why) == 0);
    }
    free(body);
}

static void limits_hold(void)
{
    struct api_batch_body *body = malloc(sizeof *body);
    struct sink sink = {.broken = true};
    enum err err = ERR_OK;
    char *big = malloc(API_BATCH_HEAD_MAX + 64);

    CHECK(body && big);
    memset(big, 'x', API_BATCH_HEAD_MAX + 63);
    memcpy(big, "{\"a\":\"", 6);
    big[API_BATCH_HEAD_MAX + 63] = '\0';
    api_batch_body_init(body, on_write, &sink);
    CHECK_EQ(api_batch_body_put(body, big, strlen(big)), ERR_FULL);

    // The error of the writer comes through.
    api_batch_body_init(body, on_write, &sink);
    CHECK_EQ(api_batch_body_put(body, "{\"requests\":[1]}", 16), ERR_OK);
    CHECK_EQ(api_batch_body_finish(body), ERR_IO);

    // One request too many.
    sink.broken = false;
    api_batch_body_init(body, on_write, &sink);
    CHECK_EQ(api_batch_body_put(body, "{\"requests\":[1", 14), ERR_OK);
    for (int i = 1; !err && i <= API_BATCH_LINES_MAX; i++) {
        sink.len = 0;
        err = api_batch_body_put(body, ",1", 2);
        CHECK_EQ(err, ERR_OK);
    }
    CHECK_EQ(api_batch_body_put(body, "]", 1), ERR_FULL);
    free(big);
    free(body);
}

int main(void)
{
    bodies_are_cut_alike_in_any_pieces();
    every_prefix_is_refused();
    bad_bodies_say_why();
    limits_hold();
    return 0;
}
