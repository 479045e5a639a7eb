// The draw, trust and its loss, pending stints; and the whole policy, small.
#include <string.h>

#include "bench/trust_sim.h"
#include "check.h"
#include "redundancy/stints.h"
#include "redundancy/trust.h"

static void newcomers_are_always_checked(void)
{
    for (uint32_t run = 0; run < REDUN_TRUST_RUN; run++) {
        CHECK(redun_draw(run, 0, REDUN_DRAW_LEAST, 0));
        CHECK(redun_draw(run, 0, REDUN_DRAW_LEAST, UINT32_MAX));
    }
    CHECK(!redun_draw(REDUN_TRUST_RUN, 0, REDUN_DRAW_LEAST, UINT32_MAX));
}

static void chances_fall_to_the_least(void)
{
    CHECK_EQ(redun_draw_chance(10, 0, REDUN_DRAW_LEAST), 100000);
    CHECK_EQ(redun_draw_chance(16, 0, REDUN_DRAW_LEAST), 62500);
    CHECK_EQ(redun_draw_chance(20, 0, REDUN_DRAW_LEAST), 50000);
    CHECK_EQ(redun_draw_chance(UINT32_MAX, 0, REDUN_DRAW_LEAST), 50000);
    CHECK_EQ(redun_draw_chance(1000, 0, 200000), 200000);
    CHECK_EQ(redun_draw_chance(9999, 1, REDUN_DRAW_LEAST), REDUN_DRAW_STRUCK);
    CHECK_EQ(redun_draw_chance(89, 2, REDUN_DRAW_LEAST), REDUN_DRAW_ALWAYS);
    CHECK(!redun_trusted(29, 1));
    CHECK(redun_trusted(30, 1));
}

static void a_draw_is_as_likely_as_its_chance(void)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < 100000; i++)
        n += redun_draw(1000, 0, REDUN_DRAW_LEAST, i * 42949u);
    CHECK(n > 4990 && n < 5010);
}

static void checks_rise_where_lies_are_common(void)
{
    struct redun_season season = {0};
    uint32_t calm;

    CHECK_EQ(redun_draw_least(&season), REDUN_DRAW_LEAST);
    for (int i = 0; i < 20000; i++)
        redun_season_add(&season, false);
    CHECK_EQ(redun_draw_least(&season), REDUN_DRAW_LEAST);
    CHECK(season.checks < REDUN_SEASON_CHECKS);
    for (int i = 0; i < 4000; i++)
        redun_season_add(&season, i % 500 == 0); // a few
    CHECK(redun_draw_least(&season) > 2 * REDUN_DRAW_LEAST);
    CHECK(redun_draw_least(&season) < 8 * REDUN_DRAW_LEAST);
    for (int i = 0; i < 4000; i++)
        redun_season_add(&season, i % 20 == 0);
    CHECK_EQ(redun_draw_least(&season), REDUN_DRAW_ALWAYS);
    for (int i = 0; i < 40000; i++)
        redun_season_add(&season, false);
    calm = redun_draw_least(&season);
    CHECK_EQ(calm, REDUN_DRAW_LEAST);
}

// One lie among the first checks of a small grid has all that waits checked.
static void one_lie_alarms_a_small_grid(void)
{
    struct redun_season season = {0};
    uint32_t least, calm;

    for (int i = 0; i < 30; i++)
        redun_season_add(&season, i == 29);
    least = redun_draw_least(&season);
    CHECK(least > 20 * (REDUN_DRAW_LEAST / 4));
    CHECK_EQ(redun_settle(0, least), 0);
    CHECK_EQ(redun_settle(1, least), 1);
    CHECK_EQ(redun_settle(20, REDUN_DRAW_LEAST), 1);
    CHECK(redun_settle(20, least) > 5);
    CHECK_EQ(redun_settle(20, REDUN_DRAW_ALWAYS), 20);
    CHECK(redun_settle(1000, REDUN_DRAW_ALWAYS) <= REDUN_SETTLE_MOST);
    for (int i = 0; i < 600; i++)
        redun_season_add(&season, false);
    least = redun_draw_least(&season);
    redun_season_ban(&season); // it lies no more
    calm = redun_draw_least(&season);
    CHECK(calm < least && calm > REDUN_DRAW_LEAST);
    redun_season_ban(&season);
    redun_season_ban(&season);
    CHECK_EQ(season.lost, 0);
}

static void who_was_wrong_rests(void)
{
    struct redun_trust t = {0};

    CHECK(!redun_trust_rests(&t, 5));
    redun_trust_lost(&t, 1000);
    CHECK(redun_trust_rests(&t, 1000 + REDUN_REST_MS - 1));
    CHECK(!redun_trust_rests(&t, 1000 + REDUN_REST_MS));
}

static void strikes_ban_and_are_forgotten(void)
{
    struct redun_trust t = {0};

    for (int i = 0; i < 12; i++)
        redun_trust_agreed(&t);
    CHECK(redun_trusted(t.run, redun_trust_strikes(&t, 5)));
    redun_trust_lost(&t, 1000);
    CHECK_EQ(t.run, 0);
    CHECK_EQ(redun_trust_strikes(&t, 1000 + REDUN_STRIKE_MS - 1), 1);
    CHECK_EQ(redun_trust_strikes(&t, 1000 + REDUN_STRIKE_MS), 0);
    redun_trust_lost(&t, 2000);
    CHECK_EQ(redun_trust_strikes(&t, 2000), 2);
    CHECK_EQ(redun_trust_strikes(&t, 2000 + REDUN_STRIKE_MS), 1);
    CHECK(!t.banned);
    redun_trust_lost(&t, 3000);
    CHECK(t.banned);
    t = (struct redun_trust){0};
    for (int i = 0; i < 5; i++) // slowly enough, it is never banned
        redun_trust_lost(&t, (i + 1) * REDUN_STRIKE_MS);
    CHECK(!t.banned);
}

static void undrawn_stints_wait_for_a_window(void)
{
    static struct redun_stints st;
    uint64_t id;

    memset(&st, 0, sizeof st);
    CHECK_EQ(redun_stints_add(&st, 100, false), ERR_OK);
    CHECK_EQ(redun_stints_add(&st, 100, false), ERR_EXISTS);
    CHECK_EQ(redun_stints_add(&st, 101, true), ERR_OK);
    for (uint64_t i = 0; i < REDUN_WINDOW - 1; i++) {
        CHECK_EQ(redun_stints_valid(&st, false, &id), ERR_NOT_FOUND);
        CHECK_EQ(redun_stints_add(&st, i, false), ERR_OK);
    }
    // enough came after it, but one of them is still to be checked
    CHECK_EQ(redun_stints_valid(&st, false, &id), ERR_NOT_FOUND);
    CHECK_EQ(redun_stints_agreed(&st, 100, false), ERR_NOT_FOUND);
    CHECK_EQ(redun_stints_agreed(&st, 101, false), ERR_OK);
    CHECK_EQ(redun_stints_valid(&st, false, &id), ERR_OK);
    CHECK_EQ(id, 100);
    CHECK_EQ(redun_stints_valid(&st, false, &id), ERR_NOT_FOUND);
    while (st.n < REDUN_STINTS_MAX)
        CHECK_EQ(redun_stints_add(&st, st.n_ended + 1000, false), ERR_OK);
    CHECK_EQ(redun_stints_add(&st, 7777777, false), ERR_FULL);
}

// What a volunteer's check agreed with waits with its maker and its checker.
static void vouched_stints_are_held(void)
{
    static struct redun_stints maker, voucher;
    uint64_t id, ids[REDUN_STINTS_MAX];

    memset(&maker, 0, sizeof maker);
    memset(&voucher, 0, sizeof voucher);
    CHECK_EQ(redun_stints_add(&maker, 1, true), ERR_OK);
    CHECK_EQ(redun_stints_agreed(&maker, 1, true), ERR_OK);
    CHECK_EQ(redun_stints_vouch(&voucher, 1), ERR_OK);
    CHECK_EQ(redun_stints_vouch(&voucher, 1), ERR_EXISTS);
    CHECK_EQ(voucher.n_ended, 0);
    CHECK_EQ(redun_stints_undrawn(&maker), 0);
    CHECK_EQ(redun_stints_settle(&maker, 0, &id), ERR_NOT_FOUND);
    CHECK_EQ(redun_stints_valid(&maker, false, &id), ERR_NOT_FOUND);
    CHECK_EQ(redun_stints_valid(&voucher, false, &id), ERR_NOT_FOUND);
    CHECK_EQ(redun_stints_valid(&maker, true, &id), ERR_OK); // nothing is left
    for (uint64_t i = 0; i < REDUN_WINDOW; i++)
        CHECK_EQ(redun_stints_add(&voucher, 100 + i, false), ERR_OK);
    CHECK_EQ(redun_stints_valid(&voucher, false, &id), ERR_NOT_FOUND);
    // where the voucher is found wrong, it is checked, too
    CHECK_EQ(redun_stints_lost(&voucher, ids), REDUN_WINDOW + 1);
    CHECK_EQ(ids[REDUN_WINDOW], 1);
    CHECK_EQ(redun_stints_valid(&voucher, true, &id), ERR_NOT_FOUND);
    redun_stints_drop(&voucher, 1);
    CHECK_EQ(redun_stints_agreed(&voucher, 1, false), ERR_NOT_FOUND);
}

static void a_lie_draws_what_is_pending(void)
{
    static struct redun_stints st;
    uint64_t ids[REDUN_STINTS_MAX], id;

    memset(&st, 0, sizeof st);
    for (uint64_t i = 0; i < 40; i++)
        CHECK_EQ(redun_stints_add(&st, i, i == 20), ERR_OK);
    redun_stints_drop(&st, 20); // wrong
    CHECK_EQ(redun_stints_lost(&st, ids), 39);
    CHECK_EQ(ids[0], 39); // the latest first
    CHECK_EQ(ids[38], 0);
    CHECK_EQ(redun_stints_lost(&st, ids), 0);
    for (uint64_t i = 0; i < 40; i++) {
        CHECK_EQ(redun_stints_valid(&st, false, &id), ERR_NOT_FOUND);
        CHECK_EQ(redun_stints_agreed(&st, i, false),
                 i == 20 ? ERR_NOT_FOUND : ERR_OK);
    }
    CHECK_EQ(st.n, 0);
}

static void more_checks_settle_the_rest(void)
{
    static struct redun_stints st;
    uint64_t id, other, ids[REDUN_STINTS_MAX];

    memset(&st, 0, sizeof st);
    CHECK_EQ(redun_stints_settle(&st, 5, &id), ERR_NOT_FOUND);
    for (uint64_t i = 0; i < 10; i++)
        CHECK_EQ(redun_stints_add(&st, i, false), ERR_OK);
    CHECK_EQ(redun_stints_settle(&st, UINT32_MAX, &id), ERR_OK);
    CHECK_EQ(id, 9);
    CHECK_EQ(redun_stints_settle(&st, 0, &other), ERR_OK);
    CHECK_EQ(other, 0);
    CHECK_EQ(redun_stints_add(&st, 10, false), ERR_OK); // not covered
    CHECK_EQ(redun_stints_agreed(&st, 9, false), ERR_OK);
    CHECK_EQ(redun_stints_valid(&st, false, &other), ERR_NOT_FOUND);
    CHECK_EQ(redun_stints_agreed(&st, 0, false), ERR_OK); // the other, too
    for (uint64_t i = 1; i < 9; i++) {
        CHECK_EQ(redun_stints_valid(&st, false, &other), ERR_OK);
        CHECK_EQ(other, i);
    }
    CHECK_EQ(redun_stints_valid(&st, false, &other), ERR_NOT_FOUND);
    // a settling check that is lost covers nothing
    CHECK_EQ(redun_stints_add(&st, 11, false), ERR_OK);
    CHECK_EQ(redun_stints_settle(&st, 0, &id), ERR_OK);
    CHECK_EQ(id, 10);
    redun_stints_drop(&st, id);
    CHECK_EQ(redun_stints_lost(&st, ids), 1);
    CHECK_EQ(ids[0], 11);
    CHECK_EQ(redun_stints_valid(&st, false, &other), ERR_NOT_FOUND);
}

static void the_policy_holds_against_sleepers(void)
{
    struct trust_sim sim = {1, 60, 40000, 4, 80, 17, 100, 100, 500};
    struct trust_sim_result r, honest;

    CHECK_EQ(trust_sim_run(&sim, &r), ERR_OK);
    CHECK_EQ(r.delivered, sim.n_stints);
    CHECK(trust_sim_extra(&r) < 0.15);
    CHECK(trust_sim_wrong(&r) < 0.001);
    CHECK(r.banned >= 2); // of four colluders; the others rest
    CHECK_EQ(r.banned_honest, 0);
    sim.colluders = sim.flaky = 0;
    CHECK_EQ(trust_sim_run(&sim, &honest), ERR_OK);
    CHECK_EQ(honest.delivered, sim.n_stints);
    CHECK_EQ(honest.wrong + honest.banned, 0);
    CHECK(trust_sim_extra(&honest) < 0.08);
}

int main(void)
{
    newcomers_are_always_checked();
    chances_fall_to_the_least();
    a_draw_is_as_likely_as_its_chance();
    checks_rise_where_lies_are_common();
    one_lie_alarms_a_small_grid();
    who_was_wrong_rests();
    strikes_ban_and_are_forgotten();
    undrawn_stints_wait_for_a_window();
    a_lie_draws_what_is_pending();
    more_checks_settle_the_rest();
    vouched_stints_are_held();
    the_policy_holds_against_sleepers();
    return 0;
}
