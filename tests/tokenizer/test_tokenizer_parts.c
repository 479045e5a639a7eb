// What the comparison with the original does not reach: hand-counted ids, hard
// inputs, and memory that runs out.
#include <string.h>

#include "check.h"
#include "small.h"
#include "tokenizer/tokenizer.h"

// malloc and its kin, as the linker's --wrap has them: the allocation that
// brings allocations_left to 0 and all later ones fail; below 0 none does.
static long allocations_left = -1;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static int allocation_fails(void)
{
    if (allocations_left < 0)
        return 0;
    if (allocations_left == 0)
        return 1;
    allocations_left--;
    return 0;
}

void *__wrap_malloc(size_t n)
{
    return allocation_fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return allocation_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return allocation_fails() ? NULL : __real_realloc(p, n);
}

static struct tokenizer *parse(const char *json)
{
    struct tokenizer *t;
    char why[256] = "";

    if (tokenizer_parse(json, strlen(json), &t, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    return t;
}

static void gives(const struct tokenizer *t, const char *text, int flags,
                  const uint32_t *want, size_t n)
{
    struct token_ids ids = {0};

    CHECK_EQ(tokenizer_encode(t, text, strlen(text), flags, &ids), ERR_OK);
    CHECK_EQ(ids.len, n);
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(ids.ptr[i], want[i]);
    token_ids_release(&ids);
}

static void merges_by_rank_then_place(void)
{
    struct tokenizer *t = parse(SMALL);

    gives(t, "aaaaa", 0, (uint32_t[]){5, 1}, 2);
    gives(t, "aab", 0, (uint32_t[]){4, 2}, 2); // aa comes before ab
    gives(t, "abc", 0, (uint32_t[]){6, 3}, 2); // ab before bc
    gives(t, "c bc", 0, (uint32_t[]){3, 8, 7}, 3);
    gives(t, "c ab", 0, (uint32_t[]){3, 8, 6}, 3); // ab before space-a
    gives(t, "c aca", 0, (uint32_t[]){3, 9, 3, 1}, 4);
    gives(t, "", 0, NULL, 0);
    gives(t, "a", TOKENIZER_ADD_SPECIAL, (uint32_t[]){0, 1}, 2);
    gives(t, "", TOKENIZER_ADD_SPECIAL, (uint32_t[]){0}, 1);
    gives(t, "a<e><new>b", 0, (uint32_t[]){1, 0, 10, 2}, 4);
    gives(t, "a<e><new>b", TOKENIZER_PLAIN, (uint32_t[]){1, 10, 2}, 3);
    tokenizer_free(t);
}

// Runs that make the heap as large as it gets.
static void merges_a_megabyte_in_one_word(void)
{
    enum { LEN = 1 << 20 };
    struct tokenizer *t = parse(SMALL);
    struct token_ids ids = {0};
    char *text = malloc(LEN);

    CHECK(text);
    memset(text, 'a', LEN);
    CHECK_EQ(tokenizer_encode(t, text, LEN, 0, &ids), ERR_OK);
    CHECK_EQ(ids.len, LEN / 4);
    for (size_t i = 0; i < ids.len; i++)
        CHECK_EQ(ids.ptr[i], 5);

    for (size_t i = 0; i < LEN; i += 2)
        text[i] = 'b';
    ids.len = 0;
    CHECK_EQ(tokenizer_encode(t, text, LEN, 0, &ids), ERR_OK);
    CHECK_EQ(ids.len, LEN / 2 + 1); // b, ab..., a
    token_ids_release(&ids);
    free(text);
    tokenizer_free(t);
}

// Marks whose classes alternate: ordering them by exchanging neighbours would
// take time that grows with the square of the run.
static void normalises_a_megabyte_of_marks(void)
{
    enum { N = 1 << 18 };
    struct tokenizer *t = parse("{" SMALL_MODEL "," SMALL_DECODER
                                ",\"normalizer\":{\"type\":\"NFC\"}}");
    struct token_ids ids = {0};
    char *text = malloc(2 * N + 1);

    CHECK(text);
    text[0] = 'a';
    for (size_t i = 0; i < N; i++)
        memcpy(text + 1 + 2 * i, i & 1 ? "\xcc\xa3" : "\xcc\x81", 2);
    CHECK_EQ(tokenizer_encode(t, text, 2 * N + 1, 0, &ids), ERR_OK);
    CHECK_EQ(ids.len, 0); // none of them is a token, and there is no unknown
    token_ids_release(&ids);
    free(text);
    tokenizer_free(t);
}

static void stops_an_endless_search(void)
{
    struct tokenizer *t =
        parse("{" SMALL_MODEL "," SMALL_DECODER
              ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":"
              "\"(?:a?a?a?a?)*b(?=a*c)|(a+)*$\"},\"behavior\":\"Isolated\"}}");
    struct token_ids ids = {0};
    char text[4097];

    memset(text, 'a', 4096);
    text[4096] = 'b';
    CHECK_EQ(tokenizer_encode(t, text, sizeof text, 0, &ids), ERR_FULL);
    token_ids_release(&ids);
    tokenizer_free(t);
}

// Load, encode and decode with the n-th allocation failing.
static enum err use_all(long n)
{
    static const char text[] = "a<e> aab\xcc\x81<new>  c\xff";
    struct tokenizer *t = NULL;
    struct token_ids ids = {0};
    struct text out = {0};
    struct tokenizer_stream s;
    char why[128];

    allocations_left = n;
    enum err err =
        tokenizer_parse(SMALL, sizeof SMALL - 1, &t, why, sizeof why);
    if (!err)
        err = tokenizer_encode(t, text, sizeof text - 1, TOKENIZER_ADD_SPECIAL,
                               &ids);
    if (!err)
        err = tokenizer_decode_text(t, ids.ptr, ids.len, 0, &out);
    if (!err) {
        tokenizer_stream_init(&s, t, 0);
        for (size_t i = 0; i < ids.len && !err; i++)
            err = tokenizer_stream_put(&s, ids.ptr[i], &out);
        if (!err)
            err = tokenizer_stream_end(&s, &out);
    }
    allocations_left = -1;
    text_release(&out);
    token_ids_release(&ids);
    tokenizer_free(t);
    return err;
}

static void survives_any_failed_allocation(void)
{
    long n = 0;

    while (use_all(n) == ERR_NOMEM)
        n++;
    CHECK_EQ(use_all(n), ERR_OK);
    CHECK(n > 20); // or the allocations are not ours
}

int main(void)
{
    merges_by_rank_then_place();
    merges_a_megabyte_in_one_word();
    normalises_a_megabyte_of_marks();
    stops_an_endless_search();
    survives_any_failed_allocation();
    return 0;
}
