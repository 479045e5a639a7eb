#include "api/secret.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "api/query.h"

enum err api_secret_bytes(void *out, size_t len)
{
    if (len > 1 << 20 || RAND_bytes(out, (int)len) != 1)
        return ERR_IO;
    return ERR_OK;
}

enum err api_secret_id(const char *prefix, char out[API_ID_MAX + 1])
{
    uint8_t raw[16];
    size_t len = strlen(prefix);
    enum err err = api_secret_bytes(raw, sizeof raw);

    if (err)
        return err;
    if (len > API_ID_MAX - 2 * sizeof raw)
        return ERR_RANGE;
    memcpy(out, prefix, len);
    api_query_hex_put(raw, sizeof raw, out + len);
    return ERR_OK;
}

enum err api_secret_token(char out[API_TOKEN_LEN + 1])
{
    uint8_t raw[API_TOKEN_LEN / 2];
    enum err err = api_secret_bytes(raw, sizeof raw);

    if (err)
        return err;
    api_query_hex_put(raw, sizeof raw, out);
    return ERR_OK;
}

void api_secret_hash(const char *text, uint8_t out[SHA256_LEN])
{
    sha256(text, strlen(text), out);
}

bool api_secret_equal(const char *a, const char *b)
{
    size_t len = strlen(a);

    return len == strlen(b) && CRYPTO_memcmp(a, b, len) == 0;
}
