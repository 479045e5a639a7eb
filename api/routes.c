#include "api/routes.h"

#include "api/accounts.h"
#include "api/ask.h"
#include "api/batches.h"
#include "api/callback_routes.h"
#include "api/file_routes.h"
#include "api/file_upload.h"
#include "api/key_routes.h"
#include "api/model_routes.h"
#include "api/overview.h"
#include "api/pages.h"
#include "api/plan.h"
#include "api/presence.h"
#include "api/receipt_routes.h"
#include "api/results.h"
#include "api/stats.h"
#include "api/volunteers.h"
#include "base/syn1.h"

#define V "/v1/volunteers"

const struct api_route api_routes[] = {
    {"POST", V "/{}/work", SYN1_FRAME_MAX, api_volunteer_work, NULL, NULL},
    {"POST", V "/{}/progress", API_BODY_JSON_MAX, api_volunteer_progress, NULL,
     NULL},
    {"POST", V "/{}/leave", API_BODY_JSON_MAX, api_volunteer_leave, NULL, NULL},
    {"GET", V "/{}/presence", API_BODY_JSON_MAX, api_presence_open, NULL, NULL},
    {"POST", V, API_BODY_JSON_MAX, api_volunteer_join, NULL, NULL},

    {"GET", "/v1/models", API_BODY_JSON_MAX, api_model_list, NULL, ""},
    {"GET", "/v1/models/{}", API_BODY_JSON_MAX, api_model_get, NULL, ""},
    {"GET", "/v1/models/{}/manifest.json", API_BODY_JSON_MAX,
     api_model_manifest, NULL, ""},
    {"GET", "/v1/models/{}/shards/{}", API_BODY_JSON_MAX, api_model_shard, NULL,
     ""},

    {"POST", "/v1/batches", 0, api_batch_create, &api_batch_sink, ""},
    {"GET", "/v1/batches", API_BODY_JSON_MAX, api_batch_list, NULL,
     "after limit"},
    {"GET", "/v1/batches/{}", API_BODY_JSON_MAX, api_batch_get, NULL, ""},
    {"POST", "/v1/batches/{}/cancel", API_BODY_JSON_MAX, api_batch_cancel, NULL,
     ""},
    {"GET", "/v1/batches/{}/results", API_BODY_JSON_MAX, api_result_list, NULL,
     "after limit"},
    {"GET", "/v1/batches/{}/callbacks", API_BODY_JSON_MAX, api_callback_log,
     NULL, "limit"},
    {"POST", "/v1/batches/{}/callbacks/redeliver", API_BODY_JSON_MAX,
     api_callback_redeliver, NULL, ""},
    {"POST", "/v1/batches/{}/callbacks/secret", API_BODY_JSON_MAX,
     api_callback_rotate, NULL, ""},

    {"POST", "/v1/files", API_UPLOAD_BODY_MAX, api_file_create_done,
     &api_file_sink, ""},
    {"GET", "/v1/files", API_BODY_JSON_MAX, api_file_list, NULL,
     "after limit order purpose"},
    {"GET", "/v1/files/{}", API_BODY_JSON_MAX, api_file_get, NULL, ""},
    {"DELETE", "/v1/files/{}", API_BODY_JSON_MAX, api_file_delete, NULL, ""},
    {"GET", "/v1/files/{}/content", API_BODY_JSON_MAX, api_file_content, NULL,
     ""},

    {"POST", "/v1/completions", API_ASK_BODY_MAX, api_ask_text, &api_ask_sink,
     ""},
    {"POST", "/v1/chat/completions", API_ASK_BODY_MAX, api_ask_chat,
     &api_ask_sink, ""},

    {"GET", "/v1/keys", API_BODY_JSON_MAX, api_key_list, NULL, ""},
    {"GET", "/v1/overview", API_BODY_JSON_MAX, api_overview_get, NULL, ""},
    {"GET", "/v1/accounts/{}", API_BODY_JSON_MAX, api_account_get, NULL, ""},
    {"GET", "/v1/receipts/key", API_BODY_JSON_MAX, api_receipt_key, NULL, ""},

    {"GET", "/v1/plan", API_BODY_JSON_MAX, api_plan_get, NULL, ""},
    {"POST", "/v1/plan", API_BODY_JSON_MAX, api_plan_pin, NULL, ""},
    {"GET", "/v1/leaderboard", API_BODY_JSON_MAX, api_stats_ranks, NULL,
     "offset limit"},
    {"GET", "/v1/stats", API_BODY_JSON_MAX, api_stats_get, NULL, ""},
    {"GET", "/metrics", API_BODY_JSON_MAX, api_stats_metrics, NULL, NULL},
    {"GET", "/healthz", API_BODY_JSON_MAX, api_stats_health, NULL, NULL},
};

const size_t api_n_routes = sizeof api_routes / sizeof api_routes[0];

const struct api_route api_route_page = {
    "GET", "", API_BODY_JSON_MAX, api_page_serve, NULL, NULL};
