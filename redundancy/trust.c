#include "redundancy/trust.h"

void redun_season_add(struct redun_season *season, bool lost)
{
    season->checks++;
    season->lost += lost ? REDUN_SEASON_LOST : 0;
    if (season->checks >= REDUN_SEASON_CHECKS) {
        season->checks /= 2;
        season->lost = (season->lost + 1) / 2;
    }
}

void redun_season_ban(struct redun_season *season)
{
    season->lost -=
        season->lost < REDUN_SEASON_BANNED ? season->lost : REDUN_SEASON_BANNED;
}

uint32_t redun_draw_least(const struct redun_season *season)
{
    // Few checks say little: they count as if some more had found nothing.
    uint64_t checks = (uint64_t)season->checks + REDUN_SEASON_CHECKS / 32;
    uint64_t found = (uint64_t)season->lost * REDUN_DRAW_ALWAYS /
                     (checks * REDUN_SEASON_LOST);
    uint64_t least = REDUN_DRAW_LEAST;

    if (found > REDUN_SEASON_USUAL) {
        uint64_t more = found - REDUN_SEASON_USUAL;

        least +=
            more * REDUN_SEASON_RISE + more * more * REDUN_SEASON_STEEP / 100;
    }
    return least < REDUN_DRAW_ALWAYS ? (uint32_t)least : REDUN_DRAW_ALWAYS;
}

size_t redun_settle(size_t n, uint32_t least)
{
    uint64_t most = n < REDUN_SETTLE_MOST ? n : REDUN_SETTLE_MOST;
    uint64_t more = most * (least - REDUN_DRAW_LEAST) / REDUN_DRAW_ALWAYS;

    return n > more ? (size_t)more + 1 : n;
}

uint32_t redun_draw_chance(uint32_t run, uint32_t strikes, uint32_t least)
{
    uint32_t chance;

    if (strikes && least < REDUN_DRAW_STRUCK)
        least = REDUN_DRAW_STRUCK;

    if (!redun_trusted(run, strikes))
        return REDUN_DRAW_ALWAYS;
    chance = REDUN_DRAW_ALWAYS / run;
    return chance > least ? chance : least;
}

bool redun_draw(uint32_t run, uint32_t strikes, uint32_t least, uint32_t random)
{
    // random / 2^32 < chance / 10^6, without rounding.
    return (uint64_t)random * REDUN_DRAW_ALWAYS <
           (uint64_t)redun_draw_chance(run, strikes, least) << 32;
}

void redun_trust_agreed(struct redun_trust *trust)
{
    if (trust->run < UINT32_MAX)
        trust->run++;
}

uint32_t redun_trust_strikes(const struct redun_trust *trust, int64_t now_ms)
{
    int64_t since = now_ms - trust->struck_ms;
    int64_t forgotten = since > 0 ? since / REDUN_STRIKE_MS : 0;

    return forgotten < trust->strikes ? trust->strikes - (uint32_t)forgotten
                                      : 0;
}

bool redun_trust_rests(const struct redun_trust *trust, int64_t now_ms)
{
    return trust->strikes > 0 && now_ms - trust->struck_ms < REDUN_REST_MS;
}

void redun_trust_lost(struct redun_trust *trust, int64_t now_ms)
{
    trust->strikes = redun_trust_strikes(trust, now_ms) + 1;
    trust->struck_ms = now_ms;
    trust->run = 0;
    if (trust->strikes >= REDUN_STRIKES_MAX)
        trust->banned = true;
}
