#include <string.h>

#include "cheat.h"

enum { THOUSAND = 1000, NUMBER_MAX = 1000000 };

static const char *const names[CHEAT_END] = {[CHEAT_NONE] = "none",
                                             [CHEAT_WEIGHTS4] = "weights4",
                                             [CHEAT_MATRIX4] = "matrix4",
                                             [CHEAT_LAYER] = "layer",
                                             [CHEAT_EXPONENTS] = "exponents",
                                             [CHEAT_KV] = "kv",
                                             [CHEAT_CONTEXT] = "context",
                                             [CHEAT_COLLUDE] = "collude",
                                             [CHEAT_RANDOM] = "random",
                                             [CHEAT_REPLAY] = "replay",
                                             [CHEAT_ECHO] = "echo",
                                             [CHEAT_FLIP] = "flip",
                                             [CHEAT_TOKEN] = "token",
                                             [CHEAT_PRINT] = "print",
                                             [CHEAT_SHORT] = "short",
                                             [CHEAT_UNIT] = "unit",
                                             [CHEAT_FRAME] = "frame",
                                             [CHEAT_INSTANT] = "instant",
                                             [CHEAT_HOLD] = "hold"};

const char *cheat_name(enum cheat_mode mode)
{
    return names[mode];
}

// A number up to NUMBER_MAX in front of a comma or the end.
static bool number(const char **text, uint32_t *out)
{
    uint32_t v = 0;
    const char *at = *text;

    for (; *at >= '0' && *at <= '9' && v <= NUMBER_MAX; at++)
        v = v * 10 + (uint32_t)(*at - '0');
    if (at == *text || v > NUMBER_MAX || (*at && *at != ','))
        return false;
    *text = at;
    *out = v;
    return true;
}

static bool option(const char **text, struct cheat_plan *plan)
{
    static const char *const keys[] = {
        ",after=", ",chance=", ",flip=", ",seed="};
    uint32_t v;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strncmp(*text, keys[i], strlen(keys[i])) != 0)
            continue;
        *text += strlen(keys[i]);
        if (!number(text, &v))
            return false;
        if (i == 0)
            plan->after = v;
        else if (i == 1)
            plan->chance = v;
        else if (i == 2)
            plan->flip = v;
        else
            plan->seed = v;
        return true;
    }
    return false;
}

enum err cheat_parse(const char *text, struct cheat_plan *out)
{
    struct cheat_plan plan = {.chance = THOUSAND, .flip = THOUSAND};
    size_t len = strcspn(text, ",");

    while (plan.mode < CHEAT_END && (strlen(names[plan.mode]) != len ||
                                     strncmp(text, names[plan.mode], len) != 0))
        plan.mode++;
    if (plan.mode == CHEAT_END)
        return ERR_NOT_FOUND;
    for (text += len; *text;)
        if (!option(&text, &plan))
            return ERR_FORMAT;
    *out = plan;
    return ERR_OK;
}
