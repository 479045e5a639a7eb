// How many accounts an address block may open, and what they cost.
#include "redundancy/entry.h"

#include "check.h"

static const struct redun_entry entry = {16, 18};

static void the_first_pay_nothing(void)
{
    const struct redun_entry none = {0, 18};

    for (uint32_t score = 0; score < 16; score++)
        CHECK_EQ(redun_entry_bits(&entry, score), 0);
    CHECK_EQ(redun_entry_bits(&none, 0), 18);
}

static void the_others_pay_more_and_more(void)
{
    static const struct {
        uint32_t score, bits;
    } cases[] = {{16, 18},  {31, 18},      {32, 19},        {47, 19},
                 {48, 20},  {111, 23},     {112, 24},       {128, 24},
                 {200, 24}, {1 << 20, 24}, {UINT32_MAX, 24}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_EQ(redun_entry_bits(&entry, cases[i].score), cases[i].bits);
}

static void a_banned_account_costs_the_block_two_bits(void)
{
    CHECK_EQ(redun_entry_bits(&entry, 20 + REDUN_ENTRY_BANNED) -
                 redun_entry_bits(&entry, 20),
             2);
    CHECK(redun_entry_bits(&entry, REDUN_ENTRY_BANNED) > 0); // nothing is free
}

// What is asked for is enough, also if a few came in before it was paid; what
// was asked for long ago is not.
static void a_toll_reaches_as_far_as_it_should(void)
{
    for (uint32_t score = 0; score < 300; score++) {
        uint32_t bits = redun_entry_bits(&entry, score);
        uint32_t reach = redun_entry_reach(&entry, bits);

        CHECK(reach > score);
        if (bits && bits < REDUN_ENTRY_BITS_MAX) {
            CHECK(reach > score + REDUN_ENTRY_STEP);
            CHECK(reach <= score + 2 * REDUN_ENTRY_STEP);
        }
    }
    CHECK_EQ(redun_entry_reach(&entry, 0), 16);
    CHECK_EQ(redun_entry_reach(&entry, 17), 16); // less than is ever asked for
    CHECK_EQ(redun_entry_reach(&entry, 24), UINT32_MAX);
}

int main(void)
{
    the_first_pay_nothing();
    the_others_pay_more_and_more();
    a_banned_account_costs_the_block_two_bits();
    a_toll_reaches_as_far_as_it_should();
    return 0;
}
