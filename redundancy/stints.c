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

enum err redun_stints_add(struct redun_stints *stints, uint64_t id, bool drawn)
{
    if (find(stints, id) < stints->n)
        return ERR_EXISTS;
    if (stints->n == REDUN_STINTS_MAX)
        return ERR_FULL;
    stints->s[stints->n++] = (struct redun_stint){
        id, stints->n_ended++, drawn ? REDUN_DRAWN : REDUN_UNDRAWN, 0};
    return ERR_OK;
}

enum err redun_stints_agreed(struct redun_stints *stints, uint64_t id)
{
    size_t i = find(stints, id);
    uint64_t covers;

    if (i == stints->n || stints->s[i].state != REDUN_DRAWN)
        return ERR_NOT_FOUND;
    covers = stints->s[i].covers;
    take_out(stints, i);
    for (i = 0; i < stints->n; i++)
        if (stints->s[i].at < covers && stints->s[i].state == REDUN_UNDRAWN)
            stints->s[i].state = REDUN_COVERED;
    return ERR_OK;
}

size_t redun_stints_lost(struct redun_stints *stints, uint64_t id,
                         uint64_t ids[REDUN_WINDOW])
{
    size_t i = find(stints, id), n = 0;

    if (i < stints->n)
        take_out(stints, i);
    for (i = stints->n; i > 0 && n < REDUN_WINDOW; i--) {
        struct redun_stint *s = &stints->s[i - 1];

        if (s->state == REDUN_DRAWN) {
            s->covers = 0; // what it was drawn for is not covered any more
            continue;
        }
        s->state = REDUN_DRAWN;
        ids[n++] = s->id;
    }
    return n;
}

enum err redun_stints_settle(struct redun_stints *stints, uint32_t random,
                             uint64_t *id)
{
    size_t n = 0;

    for (size_t i = 0; i < stints->n; i++)
        n += stints->s[i].state == REDUN_UNDRAWN;
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

enum err redun_stints_valid(struct redun_stints *stints, uint64_t *id)
{
    for (size_t i = 0; i < stints->n; i++) {
        const struct redun_stint *s = &stints->s[i];
        bool waited = stints->n_ended > s->at + REDUN_WINDOW &&
                      !open_between(stints, s->at + 1, s->at + REDUN_WINDOW);

        if (s->state == REDUN_DRAWN || (s->state == REDUN_UNDRAWN && !waited))
            continue;
        *id = s->id;
        take_out(stints, i);
        return ERR_OK;
    }
    return ERR_NOT_FOUND;
}
