// callback_kinds.h - which events a batch calls back for, as clients name them.
#ifndef API_CALLBACK_KINDS_H
#define API_CALLBACK_KINDS_H

#include <jansson.h>

#include "api/fields.h"

enum { API_CALLBACK_KINDS_MAX = 6 };

// The field callback_events, a list of names, as letters
// (scheduler/callback.h); those of the batch's end if it is absent.
void api_callback_kinds_read(struct api_fields *f,
                             char out[API_CALLBACK_KINDS_MAX + 1]);

// And as a list of names again; NULL: no memory.
json_t *api_callback_kinds_json(const char *letters);

#endif
