// The plans of adversaries are read as cheat.h says, and nothing else is.
#include <string.h>

#include "cheat.h"
#include "check.h"

static void every_mode_has_a_name(void)
{
    for (int m = 0; m < CHEAT_END; m++) {
        struct cheat_plan plan;

        CHECK_EQ(cheat_parse(cheat_name((enum cheat_mode)m), &plan), ERR_OK);
        CHECK_EQ(plan.mode, m);
        CHECK_EQ(plan.chance, 1000);
        CHECK_EQ(plan.after, 0);
    }
}

static void options_are_read(void)
{
    struct cheat_plan plan;

    CHECK_EQ(cheat_parse("token,after=20,chance=10,flip=3,seed=9", &plan),
             ERR_OK);
    CHECK_EQ(plan.mode, CHEAT_TOKEN);
    CHECK_EQ(plan.after, 20);
    CHECK_EQ(plan.chance, 10);
    CHECK_EQ(plan.flip, 3);
    CHECK_EQ(plan.seed, 9);
}

static void anything_else_is_refused(void)
{
    static const char *const bad[] = {
        "token,",        "token,after",     "token,after=",
        "token,after=x", "token,after=1 ",  "token,after=1,",
        "token,more=1",  "token,chance=-1", "token,seed=9999999"};
    struct cheat_plan plan = {.mode = CHEAT_END};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_EQ(cheat_parse(bad[i], &plan), ERR_FORMAT);
    CHECK_EQ(cheat_parse("lies", &plan), ERR_NOT_FOUND);
    CHECK_EQ(cheat_parse("", &plan), ERR_NOT_FOUND);
    CHECK_EQ(plan.mode, CHEAT_END);
}

int main(void)
{
    every_mode_has_a_name();
    options_are_read();
    anything_else_is_refused();
    return 0;
}
