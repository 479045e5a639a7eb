// ingest.h - reads batches' input files into the queue, a few lines a turn of
// the loop, under leased jobs whose cursors survive a crash. Some batches are
// read in at once and give way to others after a while; one of which enough
// lines are queued waits until most of these are done.
#ifndef API_INGEST_H
#define API_INGEST_H

#include "base/err.h"

struct api_ingest;
struct api_server;

MUST_USE enum err api_ingest_new(struct api_server *server,
                                 struct api_ingest **out);

// Jobs may be due: take as many as can be worked on.
void api_ingest_look(struct api_ingest *ingest);

// What is under way is left for later. End the store first. NULL is fine.
void api_ingest_free(struct api_ingest *ingest);

#endif
