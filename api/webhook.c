#include "api/webhook.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/address.h"
#include "api/secret.h"

#define PREFIX "whsec_"

// "localhost", or a literal address, with or without brackets; a dot may end
// it.
static bool host_is_private(const char *host)
{
    struct api_address address;
    char text[64];
    size_t len = strlen(host);

    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len > 0 && host[len - 1] == '.')
        len--;
    if (len >= sizeof text)
        return false;
    memcpy(text, host, len);
    text[len] = '\0';
    if (strcasecmp(text, "localhost") == 0)
        return true;
    return api_address_parse(text, &address) &&
           api_address_is_private(&address);
}

static const char *parts_check(CURLU *u, const char *url, bool allow_private)
{
    char *scheme = NULL, *host = NULL, *user = NULL;
    const char *why = NULL;

    if (curl_url_set(u, CURLUPART_URL, url, 0) ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(u, CURLUPART_HOST, &host, 0))
        why = "is no URL";
    else if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK)
        why = "must not hold a user name";
    else if (strcasecmp(scheme, "https") != 0 &&
             !(allow_private && strcasecmp(scheme, "http") == 0))
        why = allow_private ? "must begin with https:// or http://"
                            : "must begin with https://";
    else if (!allow_private && host_is_private(host))
        why = "must not be an address in a private network";
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    return why;
}

const char *api_webhook_url_check(const char *url, bool allow_private)
{
    const char *why;
    CURLU *u;

    for (const char *p = url; *p; p++) {
        if ((unsigned char)*p <= ' ' || *p == 127)
            return "must not hold blanks or control characters";
    }
    u = curl_url();
    if (!u)
        return "cannot be checked now: out of memory";
    why = parts_check(u, url, allow_private);
    curl_url_cleanup(u);
    return why;
}

void api_webhook_endpoint(const char *url,
                          char out[API_WEBHOOK_ENDPOINT_MAX + 1])
{
    CURLU *u = curl_url();
    char *host = NULL, *port = NULL;

    if (!u || curl_url_set(u, CURLUPART_URL, url, 0) ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) ||
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
        snprintf(out, API_WEBHOOK_ENDPOINT_MAX + 1, "other");
    else
        snprintf(out, API_WEBHOOK_ENDPOINT_MAX + 1, "%s:%s", host, port);
    for (char *p = out; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
}

// The key that a secret encodes. Its length, or 0.
static size_t key_decode(const char *secret, uint8_t key[API_WEBHOOK_KEY_MAX])
{
    uint8_t buf[API_WEBHOOK_SECRET_MAX];
    size_t len = strlen(secret), pad = 0;
    int n;

    if (len > API_WEBHOOK_SECRET_MAX || strncmp(secret, PREFIX, 6) != 0)
        return 0;
    secret += 6;
    len -= 6;
    if (len == 0 || len % 4 ||
        strspn(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                       "abcdefghijklmnopqrstuvwxyz"
                       "0123456789+/=") != len)
        return 0;
    while (pad < 2 && secret[len - 1 - pad] == '=')
        pad++;
    n = EVP_DecodeBlock(buf, (const unsigned char *)secret, (int)len);
    if (n < (int)pad || (size_t)n - pad < API_WEBHOOK_KEY_MIN ||
        (size_t)n - pad > API_WEBHOOK_KEY_MAX)
        return 0;
    memcpy(key, buf, (size_t)n - pad);
    return (size_t)n - pad;
}

bool api_webhook_secret_ok(const char *secret)
{
    uint8_t key[API_WEBHOOK_KEY_MAX];

    return key_decode(secret, key) > 0;
}

enum err api_webhook_secret_make(char out[API_WEBHOOK_SECRET_MAX + 1])
{
    uint8_t raw[32];
    enum err err = api_secret_bytes(raw, sizeof raw);

    if (err)
        return err;
    memcpy(out, PREFIX, 6);
    EVP_EncodeBlock((unsigned char *)out + 6, raw, sizeof raw);
    OPENSSL_cleanse(raw, sizeof raw);
    return ERR_OK;
}

enum err api_webhook_sign(const char *secret, const char *id, int64_t unix_s,
                          const char *body, size_t len,
                          char out[API_WEBHOOK_SIGNATURE_MAX + 1])
{
    uint8_t key[API_WEBHOOK_KEY_MAX], mac[EVP_MAX_MD_SIZE];
    size_t n_key = key_decode(secret, key);
    unsigned n_mac = 0;
    size_t cap = strlen(id) + 32 + len;
    size_t n_head;
    char *text;

    if (n_key == 0)
        return ERR_FORMAT;
    text = malloc(cap);
    if (!text)
        return ERR_NOMEM;
    n_head = (size_t)snprintf(text, cap, "%s.%" PRId64 ".", id, unix_s);
    memcpy(text + n_head, body, len);
    if (!HMAC(EVP_sha256(), key, (int)n_key, (const unsigned char *)text,
              n_head + len, mac, &n_mac)) {
        free(text);
        return ERR_NOMEM;
    }
    free(text);
    memcpy(out, "v1,", 3);
    EVP_EncodeBlock((unsigned char *)out + 3, mac, (int)n_mac);
    OPENSSL_cleanse(key, sizeof key);
    return ERR_OK;
}
