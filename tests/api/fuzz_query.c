// The small texts of a request: any text gives a value or a refusal.
#include <stdlib.h>
#include <string.h>

#include "api/query.h"
#include "api/webhook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct api_address address = {{0}};
    struct api_cidr cidr;
    uint64_t first, last, number;
    uint8_t bytes[16];

    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    if (api_query_range(text, 1000, &first, &last) == ERR_OK &&
        (first > last || last >= 1000))
        abort();
    (void)!api_query_number(text, &number);
    (void)!api_query_hex(text, bytes, sizeof bytes);
    (void)api_query_etag_match(text, "abc");
    (void)api_query_name_len(text);
    if (api_cidr_parse(text, &cidr) == ERR_OK) {
        if (!api_cidr_has(&cidr, &cidr.base))
            abort();
        api_query_forwarded(text, &cidr, 1, &address);
    }
    if (api_cidr_parse("::/0", &cidr) == ERR_OK)
        api_query_forwarded(text, &cidr, 1, &address);
    (void)api_webhook_secret_ok(text);
    free(text);
    return 0;
}
