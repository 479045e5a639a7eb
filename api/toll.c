#include "api/toll.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "api/query.h"
#include "api/secret.h"
#include "base/bytes.h"

enum { HEAD_LEN = API_TOLL_BYTES - SHA256_LEN };

void api_toll_key(const uint8_t secret[SHA256_LEN],
                  uint8_t out[API_TOLL_KEY_LEN])
{
    static const char label[] = "synapse toll key 1";
    struct sha256 hash;

    _Static_assert((int)API_TOLL_KEY_LEN == (int)SHA256_LEN, "one hash");
    sha256_init(&hash);
    sha256_update(&hash, label, sizeof label);
    sha256_update(&hash, secret, SHA256_LEN);
    sha256_final(&hash, out);
}

// The mark of a challenge: head, account and block under the key.
static bool mark(const uint8_t key[API_TOLL_KEY_LEN],
                 const struct api_toll_payer *payer,
                 const uint8_t head[HEAD_LEN], uint8_t out[SHA256_LEN])
{
    uint8_t text[HEAD_LEN + SHA256_LEN + API_BLOCK_TEXT_MAX];
    size_t len = strlen(payer->block);
    unsigned out_len = 0;

    if (len > API_BLOCK_TEXT_MAX)
        return false;
    memcpy(text, head, HEAD_LEN);
    memcpy(text + HEAD_LEN, payer->account, SHA256_LEN);
    memcpy(text + HEAD_LEN + SHA256_LEN, payer->block, len);
    return HMAC(EVP_sha256(), key, API_TOLL_KEY_LEN, text,
                HEAD_LEN + SHA256_LEN + len, out, &out_len) &&
           out_len == SHA256_LEN;
}

enum err api_toll_make(const uint8_t key[API_TOLL_KEY_LEN],
                       const struct api_toll_payer *payer,
                       const struct api_toll *toll, char out[API_TOLL_TEXT + 1])
{
    uint8_t bytes[API_TOLL_BYTES], random[API_TOLL_RANDOM_LEN];
    struct bytes_out head = {.ptr = bytes, .cap = HEAD_LEN};
    enum err err = api_secret_bytes(random, sizeof random);

    if (err)
        return err;
    bytes_put_u8(&head, toll->bits);
    bytes_put_u64(&head, (uint64_t)toll->until_ms);
    bytes_put(&head, random, sizeof random);
    if (!mark(key, payer, bytes, bytes + HEAD_LEN))
        return ERR_IO;
    api_query_hex_put(bytes, sizeof bytes, out);
    return ERR_OK;
}

enum err api_toll_read(const uint8_t key[API_TOLL_KEY_LEN],
                       const struct api_toll_payer *payer, const char *text,
                       struct api_toll *out)
{
    uint8_t bytes[API_TOLL_BYTES], want[SHA256_LEN];
    struct bytes head = {bytes, HEAD_LEN};
    struct api_toll toll;
    uint64_t until;

    if (!api_query_hex(text, bytes, sizeof bytes) ||
        !bytes_u8(&head, &toll.bits) || !bytes_u64(&head, &until))
        return ERR_FORMAT;
    if (!mark(key, payer, bytes, want) ||
        CRYPTO_memcmp(want, bytes + HEAD_LEN, sizeof want) != 0)
        return ERR_DENIED;
    toll.until_ms = (int64_t)until;
    *out = toll;
    return ERR_OK;
}

bool api_toll_is_paid(const char *text, const uint8_t nonce[TOLL_NONCE_LEN],
                      unsigned bits)
{
    uint8_t toll[TOLL_LEN];

    toll_begin(text, strlen(text), toll);
    memcpy(toll + SHA256_LEN, nonce, TOLL_NONCE_LEN);
    return toll_is_paid(toll, bits);
}
