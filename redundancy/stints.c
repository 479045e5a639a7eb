#include "redundancy/stints.h"

#include <string.h>

static void take_out(struct redun_stints *stints, size_t i)
{
    stints->n--;
    memmove(&stints->s[i], &stints->s[i + 1],
            (stints->n - i) * sizeof stints->s[0]);
}

// Index of a pending stint, or n.
static size_t find(const struct redun_stints *stints, uint64_t id)
{
    size_t i = 0;

    while (i < stints->n && stints->s[i].id != id)
        i++;
    return i;
}

// Is a drawn stint with from <= at <= to still to be checked?
static bool open_between(const struct redun_stints *stints, uint64_t from,
                         uint64_t to)
{
    for (size_t i = 0; i < stints->n; i++) {
        const struct redun_stint *s = &stints->s[i];

        if (s->state == REDUN_DRAWN && s->at >= from && s->at <= to)
            return true;
    }
    return false;
}

// Is another one still to be checked that was drawn for this one, too?
static bool open_covers(const struct redun_stints *stints, uint64_t covers)
{
    for (size_t i = 0; i < stints->n; i++)
        if (stints->s[i].state == REDUN_DRAWN && stints->s[i].covers == covers)
            return true;
    return false;
}

static enum err add(struct redun_stints *stints, struct redun_stint s)
{
    if (find(stints, s.id) < stints->n)
        return ERR_EXISTS;
    if (stints->n == REDUN_STINTS_MAX)
        return ERR_FULL;
    stints->s[stints->n++] = s;
    return ERR_OK;
}

enum err redun_stints_add(struct redun_stints *stints, uint64_t id, bool drawn)
{
    enum err err = add(
        stints, (struct redun_stint){id, stints->n_ended,
                                     drawn ? REDUN_DRAWN : REDUN_UNDRAWN, 0});

    stints->n_ended += !err;
    return err;
}

enum err redun_stints_vouch(struct redun_stints *stints, uint64_t id)
{
    return add(stints,
               (struct redun_stint){id, stints->n_ended, REDUN_HELD, 0});
}

enum err redun_stints_agreed(struct redun_stints *stints, uint64_t id,
                             bool held)
{
    size_t i = find(stints, id);
    uint64_t covers;

    if (i == stints->n || stints->s[i].state != REDUN_DRAWN)
        return ERR_NOT_FOUND;
    covers = stints->s[i].covers;
    if (held)
        stints->s[i].state = REDUN_HELD;
    else
        take_out(stints, i);
    if (covers && open_covers(stints, covers))
        return ERR_OK;
    for (i = 0; i < stints->n; i++)
        if (stints->s[i].at < covers && stints->s[i].state != REDUN_DRAWN)
            stints->s[i].state = REDUN_COVERED;
    return ERR_OK;
}

void redun_stints_drop(struct redun_stints *stints, uint64_t id)
{
    size_t i = find(stints, id);

    if (i < stints->n)
        take_out(stints, i);
}

size_t redun_stints_lost(struct redun_stints *stints,
                         uint64_t ids[REDUN_STINTS_MAX])
{
    size_t n = 0;

    for (size_t i = stints->n; i > 0; i--) {
        struct redun_stint *s = &stints->s[i - 1];

        s->covers = 0; // what it was drawn for is not covered any more
        if (s->state == REDUN_DRAWN)
            continue;
        s->state = REDUN_DRAWN;
        ids[n++] = s->id;
    }
    return n;
}

size_t redun_stints_undrawn(const struct redun_stints *stints)
{
    size_t n = 0;

    for (size_t i = 0; i < stints->n; i++)
        n += stints->s[i].state == REDUN_UNDRAWN;
    return n;
}

enum err redun_stints_settle(struct redun_stints *stints, uint32_t random,
                             uint64_t *id)
{
    size_t n = redun_stints_undrawn(stints);

    if (n == 0)
        return ERR_NOT_FOUND;
    n = (size_t)((uint64_t)random * n >> 32);
    for (size_t i = 0; i < stints->n; i++) {
        struct redun_stint *s = &stints->s[i];

        if (s->state != REDUN_UNDRAWN || n-- > 0)
            continue;
        s->state = REDUN_DRAWN;
        s->covers = stints->n_ended;
        *id = s->id;
        return ERR_OK;
    }
    return ERR_NOT_FOUND;
}

enum err redun_stints_valid(struct redun_stints *stints, bool rest,
                            uint64_t *id)
{
    for (size_t i = 0; i < stints->n; i++) {
        const struct redun_stint *s = &stints->s[i];
        bool waited = stints->n_ended > s->at + REDUN_WINDOW &&
                      !open_between(stints, s->at + 1, s->at + REDUN_WINDOW);

        if (s->state == REDUN_DRAWN || (s->state == REDUN_UNDRAWN && !waited) ||
            (s->state == REDUN_HELD && !waited && !rest))
            continue;
        *id = s->id;
        take_out(stints, i);
        return ERR_OK;
    }
    return ERR_NOT_FOUND;
}
