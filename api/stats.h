// stats.h - what machines read: the grid's state, the leaderboard, metrics.
#ifndef API_STATS_H
#define API_STATS_H

#include "api/request.h"

void api_stats_get(struct api_request *req);     // GET /v1/stats
void api_stats_ranks(struct api_request *req);   // GET /v1/leaderboard
void api_stats_metrics(struct api_request *req); // GET /metrics
void api_stats_health(struct api_request *req);  // GET /healthz

#endif
