// Any JSON is a receipt or refused, with the member named; what is read keeps
// SYN1's limits, and no signature but the right one holds.
#include <jansson.h>
#include <stdlib.h>

#include "api/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value = json_loadb((const char *)data, size, 0, NULL);
    struct api_receipt r = {0};
    const char *why = NULL;
    enum err err;

    if (!value)
        return 0;
    err = api_receipt_read(value, &r, &why);
    if (err) {
        if (!why || r.ids || r.bias || r.stop_bytes)
            abort();
    } else {
        if (!r.ids || r.n_prompt < 1 || r.n_stop > SYN1_STOP_MAX ||
            r.n_bias > SYN1_BIAS_MAX ||
            r.n_tokens > SYN1_POS_MAX - r.n_prompt || !r.custom_id || !r.key)
            abort();
        api_receipt_release(&r);
    }
    err = api_receipt_check(value);
    if (err == ERR_OK && (!json_object_get(value, "key") ||
                          !json_object_get(value, "signature")))
        abort();
    json_decref(value);
    return 0;
}
