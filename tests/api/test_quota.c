// Which quota is in the way.
#include <string.h>

#include "api/quota.h"
#include "api/server.h"
#include "check.h"

static const struct {
    struct sched_rights rights; // scopes, priority, requests, bytes, tokens
    uint64_t used_requests, used_bytes, used_tokens;
    uint64_t requests, bytes;
    const char *name; // NULL: none
    bool never;
} cases[] = {
    {{7, 10, 0, 0, 0}, 1000000, 1000, 1000000, 50000, 1000, NULL, false},
    {{7, 10, 10, 0, 0}, 5, 0, 0, 5, 0, NULL, false},
    {{7, 10, 10, 0, 0}, 5, 0, 0, 6, 0, "requests_queued", false},
    {{7, 10, 10, 0, 0}, 11, 0, 0, 1, 0, "requests_queued", false},
    {{7, 10, 10, 0, 0}, 0, 0, 0, 11, 0, "requests_queued", true},
    {{7, 10, 10, 0, 0}, 10, 0, 0, 0, 5, NULL, false},
    {{7, 10, 0, 100, 0}, 0, 60, 0, 1, 40, NULL, false},
    {{7, 10, 0, 100, 0}, 0, 60, 0, 1, 41, "bytes_stored", false},
    {{7, 10, 0, 100, 0}, 0, 200, 0, 1, 0, NULL, false},
    {{7, 10, 0, 100, 0}, 0, 0, 0, 0, 101, "bytes_stored", true},
    {{7, 10, 0, 0, 0}, 0, API_STORED_MAX, 0, 0, 1, "bytes_stored", false},
    {{7, 10, 0, 0, 50}, 0, 0, 49, 9, 0, NULL, false},
    {{7, 10, 0, 0, 50}, 0, 0, 50, 1, 0, "tokens_per_day", false},
    {{7, 10, 0, 0, 50}, 0, 0, 60, 0, 9, NULL, false},
};

static void the_first_quota_in_the_way_is_named(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sched_key key = {.rights = cases[i].rights,
                                .requests = cases[i].used_requests,
                                .bytes = cases[i].used_bytes,
                                .tokens = cases[i].used_tokens,
                                .bytes_ms = 1500,
                                .day_ms = 60001};
        struct api_quota q = {.name = "untouched"};
        bool found =
            api_quota_find(&key, cases[i].requests, cases[i].bytes, &q);

        CHECK_EQ(found, cases[i].name != NULL);
        if (strcmp(q.name, found ? cases[i].name : "untouched") != 0)
            fprintf(stderr, "case %zu: %s\n", i, q.name);
        CHECK(strcmp(q.name, found ? cases[i].name : "untouched") == 0);
        CHECK_EQ(q.never, cases[i].never);
        if (found)
            CHECK(q.retry_s >= 1);
        if (found && strcmp(q.name, "tokens_per_day") == 0)
            CHECK_EQ(q.retry_s, 61);
        if (found && strcmp(q.name, "bytes_stored") == 0)
            CHECK_EQ(q.retry_s, 2);
    }
}

int main(void)
{
    the_first_quota_in_the_way_is_named();
    return 0;
}
