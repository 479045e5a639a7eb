// Challenges for the proof of work: known again by whoever has the key, for
// their account and block only.
#include "api/toll.h"

#include <string.h>

#include "check.h"

static const uint8_t secret[SHA256_LEN] = {7};
static const uint8_t account[SHA256_LEN] = {1, 2, 3};
static const char block[] = "192.0.2.0/24";
static const struct api_toll_payer payer = {account, block};
static const struct api_toll asked = {19, INT64_C(1790000000123)};

static void made(uint8_t key[API_TOLL_KEY_LEN], char text[API_TOLL_TEXT + 1])
{
    api_toll_key(secret, key);
    CHECK_EQ(api_toll_make(key, &payer, &asked, text), ERR_OK);
    CHECK_EQ(strlen(text), API_TOLL_TEXT);
}

static void what_was_made_is_known_again(void)
{
    uint8_t key[API_TOLL_KEY_LEN], again[API_TOLL_KEY_LEN];
    char text[API_TOLL_TEXT + 1], other[API_TOLL_TEXT + 1];
    struct api_toll toll;

    made(key, text);
    api_toll_key(secret, again); // another process
    CHECK_EQ(api_toll_read(again, &payer, text, &toll), ERR_OK);
    CHECK_EQ(toll.bits, asked.bits);
    CHECK_EQ(toll.until_ms, asked.until_ms);
    made(key, other);
    CHECK(strcmp(text, other) != 0); // nothing to prepare for
}

static void others_cannot_use_it(void)
{
    static const uint8_t elsewhere[SHA256_LEN] = {8},
                         stranger[SHA256_LEN] = {9};
    static const char *const blocks[] = {"192.0.3.0/24", "192.0.2.0/2", "",
                                         "192.0.2.0/240"};
    uint8_t key[API_TOLL_KEY_LEN];
    char text[API_TOLL_TEXT + 1];
    struct api_toll_payer other = payer;
    struct api_toll toll = {0};

    made(key, text);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        other.block = blocks[i];
        CHECK_EQ(api_toll_read(key, &other, text, &toll), ERR_DENIED);
    }
    other = payer;
    other.account = stranger;
    CHECK_EQ(api_toll_read(key, &other, text, &toll), ERR_DENIED);
    api_toll_key(elsewhere, key); // another grid
    CHECK_EQ(api_toll_read(key, &payer, text, &toll), ERR_DENIED);
    CHECK_EQ(toll.bits, 0); // untouched
}

// Fewer bits, a later end, or a mark of its own: nothing can be changed.
static void what_is_changed_is_refused(void)
{
    uint8_t key[API_TOLL_KEY_LEN];
    char text[API_TOLL_TEXT + 2], good[API_TOLL_TEXT + 1];
    struct api_toll toll;

    made(key, good);
    for (size_t i = 0; i < API_TOLL_TEXT; i++) {
        memcpy(text, good, sizeof good);
        text[i] = good[i] == '0' ? '1' : '0';
        CHECK_EQ(api_toll_read(key, &payer, text, &toll), ERR_DENIED);
        text[i] = 'g';
        CHECK_EQ(api_toll_read(key, &payer, text, &toll), ERR_FORMAT);
        text[i] = '\0'; // every prefix
        CHECK_EQ(api_toll_read(key, &payer, text, &toll), ERR_FORMAT);
    }
    snprintf(text, sizeof text, "%s0", good);
    CHECK_EQ(api_toll_read(key, &payer, text, &toll), ERR_FORMAT);
}

static void a_nonce_pays_for_its_challenge_only(void)
{
    uint8_t key[API_TOLL_KEY_LEN], toll[TOLL_LEN];
    char text[API_TOLL_TEXT + 1], other[API_TOLL_TEXT + 1];
    enum { BITS = 12 };

    made(key, text);
    made(key, other);
    toll_begin(text, strlen(text), toll);
    CHECK(toll_search(toll, UINT32_MAX, BITS));
    CHECK(api_toll_is_paid(text, toll + SHA256_LEN, BITS));
    CHECK(!api_toll_is_paid(text, toll + SHA256_LEN, 60));
    CHECK(!api_toll_is_paid(other, toll + SHA256_LEN, 30));
}

int main(void)
{
    what_was_made_is_known_again();
    others_cannot_use_it();
    what_is_changed_is_refused();
    a_nonce_pays_for_its_challenge_only();
    return 0;
}
