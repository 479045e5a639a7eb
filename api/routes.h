// routes.h - the table of all routes.
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include <stddef.h>

#include "api/request.h"

extern const struct api_route api_routes[];
extern const size_t api_n_routes;
extern const struct api_route api_route_page; // for GET of any other path

#endif
