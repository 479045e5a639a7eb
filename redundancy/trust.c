#include "redundancy/trust.h"

void redun_season_add(struct redun_season *season, bool lost)
{
    season->checks++;
    season->lost += lost;
    if (season->checks >= REDUN_SEASON_CHECKS) {
        season->checks /= 2;
        season->lost = (season->lost + 1) / 2;
    }
}

uint32_t redun_draw_least(const struct redun_season *season)
{
    // Few checks say little: they count as if many more had found nothing.
    uint64_t checks = (uint64_t)season->checks + REDUN_SEASON_CHECKS / 16;
    uint64_t found = (uint64_t)season->lost * REDUN_DRAW_ALWAYS / checks;
    uint64_t least = REDUN_DRAW_LEAST;

    if (found > REDUN_SEASON_USUAL)
        least += (found - REDUN_SEASON_USUAL) * REDUN_SEASON_RISE;
    return least < REDUN_DRAW_MOST ? (uint32_t)least : REDUN_DRAW_MOST;
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

void redun_trust_lost(struct redun_trust *trust, int64_t now_ms)
{
    trust->strikes = redun_trust_strikes(trust, now_ms) + 1;
    trust->struck_ms = now_ms;
    trust->run = 0;
    if (trust->strikes >= REDUN_STRIKES_MAX)
        trust->banned = true;
}
