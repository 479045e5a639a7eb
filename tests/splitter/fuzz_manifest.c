// Any bytes: a manifest either parses, and its text is a fixed point, or it
// fails with one printable line.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "splitter/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[WHY_LEN_MAX] = "";
    struct manifest m;
    char *one, *two;

    if (manifest_parse(data, size, (struct why){why, sizeof why}, &m)) {
        CHECK(*why && strlen(why) < WHY_LEN_MAX);
        for (const char *p = why; *p; p++)
            CHECK(*p >= 0x20 && *p <= 0x7e);
        return 0;
    }
    one = manifest_text(&m);
    CHECK(one);
    manifest_release(&m);
    CHECK_EQ(manifest_parse(one, strlen(one), (struct why){0}, &m), ERR_OK);
    two = manifest_text(&m);
    CHECK(two && strcmp(one, two) == 0);
    manifest_release(&m);
    free(one);
    free(two);
    return 0;
}
