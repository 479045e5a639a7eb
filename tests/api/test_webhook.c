// Callbacks: addresses, secrets, signatures.
#include "api/webhook.h"

#include <string.h>

#include "check.h"

static void signatures_are_the_published_ones(void)
{
    // The example of the Standard Webhooks libraries.
    static const char secret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    static const char body[] = "{\"test\": 2432232314}";
    char out[API_WEBHOOK_SIGNATURE_MAX + 1];

    CHECK_EQ(api_webhook_sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek",
                              1614265330, body, strlen(body), out),
             ERR_OK);
    CHECK(strcmp(out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=") == 0);
}

static void secrets_are_checked(void)
{
    static const char *const wrong[] = {
        "",
        "whsec_",
        "whsec_AAAA",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa!w",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
    };
    char made[API_WEBHOOK_SECRET_MAX + 1];

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK(!api_webhook_secret_ok(wrong[i]));
    CHECK_EQ(api_webhook_secret_make(made), ERR_OK);
    CHECK(api_webhook_secret_ok(made));
}

static void addresses_are_checked(void)
{
    static const struct {
        const char *url;
        bool public_ok, private_ok;
    } cases[] = {
        {"https://example.com/hook?x=1", true, true},
        {"https://example.com:8443/", true, true},
        {"http://example.com/", false, true},
        {"http://127.0.0.1:9000/", false, true},
        {"https://127.0.0.1/", false, true},
        {"https://2130706433/", false, true}, // 127.0.0.1 as one number
        {"https://0x7f000001/", false, true},
        {"https://0x7f.1/", false, true},
        {"https://0177.0.0.1/", false, true},
        {"https://127.1/", false, true},
        {"https://10.0.0.1/", false, true},
        {"https://172.16.0.1/", false, true},
        {"https://192.168.1.1/", false, true},
        {"https://169.254.169.254/latest/", false, true},
        {"https://100.64.0.1/", false, true},
        {"https://0.0.0.0/", false, true},
        {"https://[::]/", false, true},
        {"https://[fe80::1]/", false, true},
        {"https://[fd00::1]/", false, true},
        {"https://[::ffff:10.0.0.1]/", false, true},
        {"https://[64:ff9b::7f00:1]/", false, true},
        {"https://[2002:7f00:1::]/", false, true},
        {"https://[::1]/", false, true},
        {"https://LOCALHOST/", false, true},
        {"https://localhost./", false, true},
        {"https://127.0.0.1./", false, true},
        {"https://localhost/", false, true},
        {"https://user@example.com/", false, false},
        {"https://user:pass@example.com/", false, false},
        {"ftp://example.com/", false, false},
        {"file:///etc/passwd", false, false},
        {"https://", false, false},
        {"nonsense", false, false},
        {"https://example.com/a b", false, false},
        {"https://example.com/\r\nX: y", false, false},
        {"", false, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *pub = api_webhook_url_check(cases[i].url, false);
        const char *pri = api_webhook_url_check(cases[i].url, true);

        if (!pub != cases[i].public_ok || !pri != cases[i].private_ok)
            fprintf(stderr, "case: %s\n", cases[i].url);
        CHECK_EQ(!pub, cases[i].public_ok);
        CHECK_EQ(!pri, cases[i].private_ok);
    }
}

int main(void)
{
    signatures_are_the_published_ones();
    secrets_are_checked();
    addresses_are_checked();
    return 0;
}
