// receipt_routes.h - the grid's signing key: fetched from the store, told to
// whoever asks.
#ifndef API_RECEIPT_ROUTES_H
#define API_RECEIPT_ROUTES_H

#include "api/request.h"

struct api_server;

// Have server->signer made from the store's key. Call it at each connect,
// before anything that could make a receipt; a failure is logged.
void api_signer_load(struct api_server *server);

void api_receipt_key(struct api_request *req); // GET /v1/receipts/key

#endif
