#include "api/callback_kinds.h"

#include <stdio.h>
#include <string.h>

#include "scheduler/callback.h"

static const struct {
    const char *name;
    char letter;
} kinds[API_CALLBACK_KINDS_MAX] = {
    {"batch.completed", SCHED_CALLBACK_COMPLETED},
    {"batch.failed", SCHED_CALLBACK_FAILED},
    {"batch.expired", SCHED_CALLBACK_EXPIRED},
    {"batch.cancelled", SCHED_CALLBACK_CANCELLED},
    {"batch.progress", SCHED_CALLBACK_PROGRESS},
    {"request.completed", SCHED_CALLBACK_REQUEST},
};

// The letter of a name, or 0.
static char letter_of(const json_t *name)
{
    for (size_t i = 0; json_is_string(name) && i < API_CALLBACK_KINDS_MAX; i++)
        if (strcmp(json_string_value(name), kinds[i].name) == 0)
            return kinds[i].letter;
    return '\0';
}

void api_callback_kinds_read(struct api_fields *f,
                             char out[API_CALLBACK_KINDS_MAX + 1])
{
    const json_t *v = api_fields_get(f, "callback_events");
    size_t n = json_array_size(v);

    snprintf(out, API_CALLBACK_KINDS_MAX + 1, "%s", SCHED_CALLBACK_ENDS);
    if (!v)
        return;
    memset(out, 0, API_CALLBACK_KINDS_MAX + 1);
    for (size_t i = 0; i < n && i < API_CALLBACK_KINDS_MAX; i++) {
        char letter = letter_of(json_array_get(v, i));

        if (letter && !strchr(out, letter))
            out[i] = letter;
    }
    if (n == 0 || strlen(out) != n)
        api_fields_wrong(f, "callback_events",
                         "callback_events must be a list of some of "
                         "batch.completed, batch.failed, batch.expired, "
                         "batch.cancelled, batch.progress and "
                         "request.completed, each once");
}

json_t *api_callback_kinds_json(const char *letters)
{
    json_t *list = json_array();

    for (size_t i = 0; list && i < API_CALLBACK_KINDS_MAX; i++)
        if (strchr(letters, kinds[i].letter))
            json_array_append_new(list, json_string(kinds[i].name));
    return list;
}
