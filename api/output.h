// output.h - when all lines of a batch are final: writes its output file.
#ifndef API_OUTPUT_H
#define API_OUTPUT_H

#include "base/err.h"

struct api_output;
struct api_server;

MUST_USE enum err api_output_new(struct api_server *server,
                                 struct api_output **out);

// Jobs may be due: take one, unless one is being worked on.
void api_output_look(struct api_output *output);

// What is under way is left for later. End the store first. NULL is fine.
void api_output_free(struct api_output *output);

#endif
