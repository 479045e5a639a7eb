// ingest.h - reads batches' input files into the queue, a few lines a turn of
// the loop, under a leased job whose cursor survives a crash.
#ifndef API_INGEST_H
#define API_INGEST_H

#include "base/err.h"

struct api_ingest;
struct api_server;

MUST_USE enum err api_ingest_new(struct api_server *server,
                                 struct api_ingest **out);

// Jobs may be due: take one, unless one is being worked on.
void api_ingest_look(struct api_ingest *ingest);

// What is under way is left for later. End the store first. NULL is fine.
void api_ingest_free(struct api_ingest *ingest);

#endif
